"""Work that a timer starts, in one place at a time.

Timers run late, twice or not at all. The lease keeps two runs apart; should one stand still until its lease
has ended, its fence is old, and what it still wants to write is refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock


class LeaseLost(Exception):
    """Another run has taken the job over; this one has nothing more to say."""


@dataclass
class Turn:
    """The right to run a job now; `cursor` is where the last run stopped, `until` when the lease ends."""

    job: str
    fence: int
    cursor: str | None
    until: datetime

    def check(self, tx: Transaction) -> None:
        """Raise LeaseLost in a transaction of a run that another has replaced."""
        if not tx.jobs.holds(self.job, self.fence):
            raise LeaseLost(self.job)


@dataclass(frozen=True)
class LeasedJob:
    """`lease` is short, so that a killed run is soon followed by another; a run at work prolongs it."""

    metadata: Metadata
    clock: Clock
    lease: timedelta

    async def run(self, job: str, work: Callable[[Turn], Awaitable[str | None]]) -> bool:
        """Run `work`, which returns the next run's cursor, unless the job is running; False when it is.

        A run that fails keeps its lease until the lease ends: at once again would most likely fail again.
        """
        now = self.clock.now()
        until = now + self.lease

        def take(tx: Transaction) -> Turn | None:
            fence = tx.jobs.take(job, now=now, until=until)
            return None if fence is None else Turn(job, fence, tx.jobs.cursor(job), until)

        turn = await self.metadata.write(take)
        if turn is None:
            return False
        cursor = await work(turn)
        done = self.clock.now()
        finished = await self.metadata.write(
            lambda tx: tx.jobs.finish(job, turn.fence, now=done, cursor=cursor)
        )
        if not finished:
            raise LeaseLost(job)
        return True

    async def keep(self, turn: Turn) -> None:
        """Prolong the lease of a run that is at work, once half of it is gone; raises LeaseLost."""
        now = self.clock.now()
        if turn.until - now > self.lease / 2:
            return
        until = now + self.lease
        if not await self.metadata.write(lambda tx: tx.jobs.prolong(turn.job, turn.fence, until=until)):
            raise LeaseLost(turn.job)
        turn.until = until
