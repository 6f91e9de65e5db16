"""Comparing what the database believes to be stored with what the store has.

A store that was restored, or one that is killed before it writes its own index, may lack blobs that the database
knows. They are noted as bad: the blocks in them count as missing, so the next upload of the same bytes heals them.
Nothing is deleted here. Both sides are read in ascending order and side by side, so memory stays small.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shared.domain.ids import BlobId
from shared.ports.block_store import BlockStore, Container
from shared.ports.metadata import Metadata
from shared.ports.system import Clock

PAGE = 1000


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

    async def __call__(self) -> Reconciled:
        """Compare all containers; raises Unavailable."""
        known = missing = unknown = 0
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
                missing += await self._mark(container, suspects)
            while name is not None:
                unknown += 1
                name = await anext(present, None)
        unreadable = await self.metadata.read(lambda tx: tx.blocks.bad_blocks())
        return Reconciled(known, missing, unknown, unreadable)

    async def _known(self, container: Container) -> AsyncIterator[Sequence[BlobId]]:
        page = await self._page(container, None)
        while page:
            yield page
            page = await self._page(container, page[-1])

    async def _page(self, container: Container, after: BlobId | None) -> Sequence[BlobId]:
        return await self.metadata.read(lambda tx: tx.blocks.stored_blobs(container, after=after, limit=PAGE))

    async def _mark(self, container: Container, suspects: list[BlobId]) -> int:
        # One that was written since the listing passed its name is not lost: ask for each before it is marked.
        lost = [blob for blob in suspects if not await self.store.exists(container, blob)]
        if not lost:
            return 0
        now = self.clock.now()
        return await self.metadata.write(lambda tx: tx.blocks.mark_bad(lost, now=now))
