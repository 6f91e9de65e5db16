"""Manifests of many versions in one request: what a client needs that fetches many small files.

Many of them lie in the same few packs, so addresses are told once and referred to by number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller
from shared.domain.errors import FileNotFound, TooLarge
from shared.domain.ids import BlobId, NamespaceId, NodeId, VersionId
from shared.domain.versions import Version
from shared.ports.block_store import BlockStore
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.ports.tables_blocks import PlacedBlock
from shared.usecases.authority import reader
from shared.usecases.read_urls import read_urls

MOST_BLOCKS = 20_000
"""Blocks that one answer tells of, about 3 MB of JSON: a version that doesn't fit is asked for by itself."""


@dataclass(frozen=True, slots=True)
class VersionBlocks:
    """A version of a file and its blocks, in order."""

    file_id: NodeId
    version: Version
    blocks: Sequence[PlacedBlock]


@dataclass(frozen=True, slots=True)
class Manifests:
    """What was found, in the order of the questions, and where the blobs can be read until `expires_at`."""

    found: Sequence[VersionBlocks | FileNotFound | TooLarge]
    urls: dict[BlobId, str]
    expires_at: datetime


@dataclass(frozen=True)
class GetManifests:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    grant: timedelta

    async def __call__(
        self, caller: Caller, namespace: NamespaceId | None, wanted: Sequence[tuple[NodeId, VersionId]]
    ) -> Manifests:
        """Versions of files, living or deleted, whose content is kept; raises what `reader` raises, Unavailable."""

        def work(tx: Transaction) -> list[VersionBlocks | FileNotFound | TooLarge]:
            member = reader(tx, caller, namespace)
            versions = tx.files.versions_by_id(member.namespace, list({id for _, id in wanted}))
            counts = tx.blocks.count_of_versions(member.namespace, list(versions))
            # A version that is asked for many times is told many times, so each of them takes room.
            asked_for = Counter(id for _, id in wanted)
            fitting: set[VersionId] = set()
            room = MOST_BLOCKS
            for id, times in asked_for.items():
                cost = times * counts.get(id, 0)
                if id in versions and cost <= room:
                    room -= cost
                    fitting.add(id)
            placed = tx.blocks.of_versions(member.namespace, sorted(fitting))
            found: list[VersionBlocks | FileNotFound | TooLarge] = []
            for file, id in wanted:
                node, version = versions.get(id, (None, None))
                blocks = placed.get(id, ())
                if version is None or node != file:
                    found.append(FileNotFound("there is no such version of this file"))
                elif id not in fitting:
                    found.append(TooLarge("ask for this manifest by itself", limit=MOST_BLOCKS))
                elif sum(block.size for block in blocks) != version.size:
                    found.append(FileNotFound("this version of the file is not kept any more"))
                else:
                    found.append(VersionBlocks(file, version, blocks))
            return found

        found = await self.metadata.read(work)
        expires_at = self.clock.now() + self.grant
        blocks = [block for one in found if isinstance(one, VersionBlocks) for block in one.blocks]
        urls = await read_urls(self.store, blocks, expires_at=expires_at)
        return Manifests(found, urls, expires_at)
