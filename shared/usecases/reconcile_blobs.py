"""Comparing what the database believes to be stored with what the store has.

A store that was restored, or one that is killed before it writes its own index, may lack blobs that the database
knows. They are noted as bad: the blocks in them count as missing, so the next upload of the same bytes heals them.
Nothing is deleted here. Both sides are read in ascending order and side by side, so memory stays small.

A store that lacks most of what it should have is more likely the wrong store, or one that is still being restored, than
one that lost it all. Marking every block as missing would then make every client send everything again, so that needs
an operator's word.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shared.domain.errors import Unacceptable
from shared.domain.ids import BlobId
from shared.ports.block_store import BlockStore, Container
from shared.ports.metadata import Metadata
from shared.ports.system import Clock

PAGE = 1000

SUSPICIOUS = 100
"""Blobs that may be missing without a question, whatever their share."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Counts of blobs: known and looked at, found missing now, present but unknown; and of unreadable blocks
    that some version has."""

    known: int
    missing: int
    unknown: int
    unreadable_blocks: int


@dataclass(frozen=True)
class ReconcileBlobs:
    metadata: Metadata
    store: BlockStore
    clock: Clock

    async def __call__(self, *, accept_losses: bool = False) -> Reconciled:
        """Compare all containers, then mark what is lost.

        Raises Unacceptable, and marks nothing, when more than half is missing and that was not accepted; Unavailable.
        """
        known = unknown = 0
        lost: list[BlobId] = []
        for container in Container:
            present = aiter(self.store.names(container))
            name = await anext(present, None)
            async for page in self._known(container):
                suspects: list[BlobId] = []
                for blob in page:
                    while name is not None and name < blob:
                        unknown += 1
                        name = await anext(present, None)
                    if name == blob:
                        name = await anext(present, None)
                    else:
                        suspects.append(blob)
                known += len(page)
                lost += await self._really_lost(container, suspects)
            while name is not None:
                unknown += 1
                name = await anext(present, None)
        found = lost
        lost = list(await self.metadata.read(lambda tx: tx.blocks.not_bad(found)))
        if len(lost) > max(SUSPICIOUS, known // 2) and not accept_losses:
            raise Unacceptable(
                f"{len(lost)} of {known} blobs are missing: is this the right store? Nothing was marked; "
                "python -m tools.ops.reconcile --accept-losses marks them"
            )
        missing = await self._mark(lost)
        unreadable = await self.metadata.read(lambda tx: tx.blocks.bad_blocks())
        return Reconciled(known, missing, unknown, unreadable)

    async def _known(self, container: Container) -> AsyncIterator[Sequence[BlobId]]:
        page = await self._page(container, None)
        while page:
            yield page
            page = await self._page(container, page[-1])

    async def _page(self, container: Container, after: BlobId | None) -> Sequence[BlobId]:
        return await self.metadata.read(lambda tx: tx.blocks.stored_blobs(container, after=after, limit=PAGE))

    async def _really_lost(self, container: Container, suspects: list[BlobId]) -> list[BlobId]:
        # One that was written since the listing passed its name is not lost: ask for each.
        return [blob for blob in suspects if not await self.store.exists(container, blob)]

    async def _mark(self, lost: list[BlobId]) -> int:
        if not lost:
            return 0
        now = self.clock.now()
        return await self.metadata.write(lambda tx: tx.blocks.mark_bad(lost, now=now))
