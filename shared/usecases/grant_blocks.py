"""Rights to put blocks straight into storage, past the gateway.

Each missing block gets a name of its own in the staging container, and an address that can create a blob of that name
once, for a quarter of an hour. Nothing that lands there is trusted or readable before `AdmitStagedBlock` has hashed it.
Asking again for a block that was granted gives the same name again, so that a client that lost an answer reserves
nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller
from shared.domain.blocks import BlockRef, Sha256
from shared.domain.errors import TooManyRequests
from shared.domain.ids import BlobId, NamespaceId
from shared.ports.block_store import BlockStore
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_staging import Staged, StagingState
from shared.usecases.admit_block import check_room
from shared.usecases.authority import writer

MAX_OUTSTANDING = 1000
"""Blocks that a user may have been granted and not delivered: ten full requests' worth."""

_WORTH_REUSING = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Grant:
    """`url` takes one Put Blob of the block's plain bytes, until `expires_at`."""

    block: BlockRef
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class GrantBlocks:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    ids: Ids
    lifetime: timedelta

    async def __call__(
        self, caller: Caller, namespace: NamespaceId | None, wanted: Sequence[BlockRef]
    ) -> list[Grant]:
        """A grant for each block of `wanted` that is missing, each block once.

        Raises QuotaExceeded, TooManyRequests, and what `writer` raises.
        """
        now = self.clock.now()
        distinct = {block.sha256: block for block in wanted}
        names = {sha256: BlobId(self.ids.new()) for sha256 in distinct}

        def work(tx: Transaction) -> list[Staged]:
            uploader = writer(tx, caller, namespace)
            there = tx.blocks.usable(uploader.namespace, list(distinct), uploader.user_id)
            missing = {sha256: block for sha256, block in distinct.items() if sha256 not in there}
            again = self._granted_before(tx, uploader.namespace, caller, missing, now + _WORTH_REUSING)
            fresh = [block for sha256, block in missing.items() if sha256 not in again]
            if tx.staging.outstanding(uploader.user_id).count + len(fresh) > MAX_OUTSTANDING:
                raise TooManyRequests(
                    "too many granted blocks have not arrived yet; send those first", retry_after=30
                )
            check_room(tx, uploader, sum(block.size for block in fresh), now=now)
            granted = [
                Staged(
                    names[block.sha256],
                    uploader.namespace,
                    uploader.user_id,
                    block,
                    StagingState.GRANTED,
                    now,
                    now + self.lifetime,
                )
                for block in fresh
            ]
            tx.staging.add(granted)
            return [*again.values(), *granted]

        return [
            Grant(
                staged.block,
                await self.store.put_url(staged.id, expires_at=staged.expires_at),
                staged.expires_at,
            )
            for staged in await self.metadata.write(work)
        ]

    def _granted_before(
        self,
        tx: Transaction,
        namespace: NamespaceId,
        caller: Caller,
        missing: dict[Sha256, BlockRef],
        until: datetime,
    ) -> dict[Sha256, Staged]:
        found = tx.staging.granted(namespace, caller.user_id, list(missing), until=until)
        return {
            staged.block.sha256: staged for staged in found if staged.block == missing[staged.block.sha256]
        }
