"""What a client put into the staging container, on its way through the one door.

An event says only that something is there now, or was. It may come late, twice, out of order or never, so
everything is asked anew: is there a grant that is still open, is it a block blob of the granted size (if not, it is
deleted unread), are these bytes the ones that were looked at (If-Match), and do they have the granted hash.
Doing it again changes nothing.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.codecs import Codec
from shared.domain.errors import Forbidden, HashMismatch, NotFound
from shared.domain.ids import BlobId
from shared.ports.block_store import BlobMissing, BlobUnreadable, BlockStore, Container
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_staging import Staged, StagingState
from shared.usecases.admit_block import AdmitBlock
from shared.usecases.authority import Uploader, still_writer

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a staged blob; it is gone from staging afterwards, but for ABSENT."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ABSENT = "absent"


@dataclass(frozen=True)
class AdmitStagedBlock:
    metadata: Metadata
    store: BlockStore
    admit_block: AdmitBlock

    async def __call__(self, name: BlobId) -> Outcome:
        """Admit or refuse what is under `name` in staging; raises BlobChanged and Unavailable, to be tried again."""
        staged = await self.metadata.read(lambda tx: tx.staging.get(name))
        if staged is None or staged.state is not StagingState.GRANTED:
            # Nobody was granted this, or it is settled already: a second event, or a second use of the address.
            await self.store.delete(Container.STAGING, name)
            return Outcome.UNKNOWN
        try:
            refusal = await self._admit(staged)
        except BlobMissing:
            return Outcome.ABSENT
        except BlobUnreadable as error:
            # Trying again would not help, and would keep the sweep from all that comes behind it.
            refusal = str(error)
        state = StagingState.REFUSED if refusal else StagingState.ADMITTED
        await self.metadata.write(lambda tx: tx.staging.settle(name, state))
        await self.store.delete(Container.STAGING, name)
        if refusal:
            _log.warning("staged blob %s is refused: %s", name, refusal)
            return Outcome.REFUSED
        return Outcome.ADMITTED

    async def _admit(self, staged: Staged) -> str | None:
        """Why the blob is refused, None when its block is admitted."""
        arrived = await self.store.arrived(staged.id)
        if not arrived.plain_kind:
            return "it is not a block blob"
        if arrived.size != staged.block.size:
            return f"it has {arrived.size} bytes instead of {staged.block.size}"
        body = await self.store.read_arrived(staged.id, arrived)

        def authorize(tx: Transaction) -> Uploader:
            return still_writer(tx, staged.user_id, staged.namespace)

        try:
            await self.admit_block.admit(
                authorize, body, codec=Codec.NONE, stated=staged.block.sha256, reserved=True
            )
        except (HashMismatch, NotFound, Forbidden) as error:
            return str(error)
        return None
