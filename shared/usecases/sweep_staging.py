"""Healing what events missed in the staging container.

A grant whose blob is there and whose event was lost is driven through the door again. One whose blob never came is
ended some time after its address has, which gives its reservation back. What nobody was granted is deleted.
Each run is bounded, and the next goes on where it stopped.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import Unavailable
from shared.domain.ids import BlobId
from shared.ports.block_store import BlobChanged, BlockStore, Container
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.ports.tables_staging import Staged, StagingState
from shared.usecases.admit_staged_block import AdmitStagedBlock, Outcome
from shared.usecases.leased_job import LeasedJob, Turn

_log = logging.getLogger(__name__)

JOB = "sweep_staging"
LATENESS = timedelta(minutes=30)
"""How long after an address has ended an upload that it began may still arrive."""

KEEP = timedelta(days=7)
"""How long settled grants are kept, for questions about what became of them."""

PAGE, PAGES = 100, 20

FAILURES_IN_A_ROW = 3
"""Grants that may fail one after the other: fewer are their own trouble, more are the store's or the database's."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Counts of one run; `ran` is False when another run was at it, `failed` what a later run tries again."""

    ran: bool
    admitted: int = 0
    refused: int = 0
    failed: int = 0
    expired: int = 0
    orphans: int = 0
    forgotten: int = 0


@dataclass
class _Counts:
    admitted: int = 0
    refused: int = 0
    failed: int = 0
    expired: int = 0
    orphans: int = 0
    forgotten: int = 0


@dataclass(frozen=True)
class SweepStaging:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    jobs: LeasedJob
    admit_staged_block: AdmitStagedBlock
    patience: timedelta

    async def __call__(self) -> Swept:
        """Run once; raises Unavailable when several grants in a row fail, and the next run goes on.

        An event that is not there after `patience` counts as lost.
        """
        counts = _Counts()

        async def work(turn: Turn) -> str | None:
            cursor = await self._waiting(turn, counts)
            await self._orphans(turn, counts)
            old = self.clock.now() - KEEP
            counts.forgotten = await self.metadata.write(
                lambda tx: _checked(tx, turn).staging.forget(created_before=old, limit=PAGE * PAGES)
            )
            return cursor

        ran = await self.jobs.run(JOB, work)
        return Swept(ran, **vars(counts))

    async def _waiting(self, turn: Turn, counts: _Counts) -> str | None:
        """Drive waiting grants, page by page; returns where to go on, None when the end was reached."""
        created_before = self.clock.now() - self.patience
        after = BlobId(turn.cursor) if turn.cursor else None
        failures = 0
        for _ in range(PAGES):
            page = await self._page(created_before, after)
            for staged in page:
                await self.jobs.keep(turn)
                try:
                    await self._drive(turn, staged, counts)
                except Unavailable:
                    failures += 1
                    if failures == FAILURES_IN_A_ROW:
                        raise
                    # One blob that can't be looked at must not keep all that come behind it waiting for ever.
                    _log.warning("staged blob %s is left for a later run", staged.id, exc_info=True)
                    counts.failed += 1
                else:
                    failures = 0
            if len(page) < PAGE:
                return None
            after = page[-1].id
        return after

    async def _drive(self, turn: Turn, staged: Staged, counts: _Counts) -> None:
        try:
            outcome = await self.admit_staged_block(staged.id)
        except BlobChanged:
            return
        if outcome is Outcome.ADMITTED:
            counts.admitted += 1
        elif outcome is Outcome.REFUSED:
            counts.refused += 1
        elif outcome is Outcome.ABSENT and staged.expires_at + LATENESS < self.clock.now():
            counts.expired += await self.metadata.write(
                lambda tx: _checked(tx, turn).staging.settle(staged.id, StagingState.EXPIRED)
            )

    async def _orphans(self, turn: Turn, counts: _Counts) -> None:
        """Delete blobs that no open grant waits for; bounded, since deleted ones make room for the next run."""
        looked_at = 0
        async for name in self.store.names(Container.STAGING):
            looked_at += 1
            if looked_at > PAGE * PAGES:
                return
            await self.jobs.keep(turn)
            if not await self._is_awaited(name):
                await self.store.delete(Container.STAGING, name)
                counts.orphans += 1

    async def _page(self, created_before: datetime, after: BlobId | None) -> Sequence[Staged]:
        return await self.metadata.read(
            lambda tx: tx.staging.waiting(created_before=created_before, after=after, limit=PAGE)
        )

    async def _is_awaited(self, name: BlobId) -> bool:
        staged = await self.metadata.read(lambda tx: tx.staging.get(name))
        return staged is not None and staged.state is StagingState.GRANTED


def _checked(tx: Transaction, turn: Turn) -> Transaction:
    turn.check(tx)
    return tx
