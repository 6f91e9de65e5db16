"""The way of staged blocks in a world: grants, arrivals, events and timers, each at the test's word."""

from dataclasses import dataclass
from datetime import timedelta

from shared.domain.ids import BlobId
from shared.ports.block_store import Container
from shared.usecases.admit_staged_block import AdmitStagedBlock
from shared.usecases.check_health import CheckHealth
from shared.usecases.expire_tokens import ExpireTokens
from shared.usecases.grant_blocks import Grant, GrantBlocks
from shared.usecases.leased_job import LeasedJob
from shared.usecases.sweep_staging import SweepStaging
from tests.support.world import World

LEASE = timedelta(minutes=1)


@dataclass
class StagingWorld:
    """The use cases of staging over a world's ports."""

    world: World

    def __post_init__(self) -> None:
        w = self.world
        self.grant = GrantBlocks(w.metadata, w.store, w.clock, w.ids, timedelta(minutes=15))
        self.admit = AdmitStagedBlock(w.metadata, w.store, w.admit_block)
        self.jobs = LeasedJob(w.metadata, w.clock, LEASE)
        self.sweep = SweepStaging(w.metadata, w.store, w.clock, self.jobs, self.admit, timedelta(minutes=1))
        self.expire = ExpireTokens(w.metadata, w.clock, self.jobs)
        self.health = CheckHealth(w.metadata, w.store, w.remembering, w.clock)

    def arrive(self, grant: Grant, content: bytes) -> BlobId:
        """What a client's PUT to the granted address leaves in the store."""
        blob = BlobId(grant.url.partition("?")[0].rpartition("/")[2])
        self.world.memory.blobs[Container.STAGING, blob] = content
        return blob

    def staged(self) -> list[BlobId]:
        return [blob for room, blob in self.world.memory.blobs if room is Container.STAGING]

    def states(self) -> dict[str, int]:
        rows = self.world.sql("SELECT state, COUNT(*) FROM staging GROUP BY state")
        return dict(rows)
