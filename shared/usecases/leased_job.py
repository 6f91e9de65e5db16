"""Work that a timer starts, in one place at a time.

Timers run late, twice or not at all. The lease keeps two runs apart; should one stand still until its lease
has ended, its fence is old, and what it still wants to write is refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock

LEASE = timedelta(minutes=10)
"""Longer than any bounded pass takes, short enough that a killed one is soon followed by another."""


class LeaseLost(Exception):
    """Another run has taken the job over; this one has nothing more to say."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to run a job now; `cursor` is where the last run stopped."""

    job: str
    fence: int
    cursor: str | None

    def check(self, tx: Transaction) -> None:
        """Raise LeaseLost in a transaction of a run that another has replaced."""
        if not tx.jobs.holds(self.job, self.fence):
            raise LeaseLost(self.job)


@dataclass(frozen=True)
class LeasedJob:
    metadata: Metadata
    clock: Clock

    async def run(self, job: str, work: Callable[[Turn], Awaitable[str | None]]) -> bool:
        """Run `work`, which returns the next run's cursor, unless the job is running; False when it is.

        A run that fails keeps its lease until the lease ends: at once again would most likely fail again.
        """
        now = self.clock.now()

        def take(tx: Transaction) -> Turn | None:
            fence = tx.jobs.take(job, now=now, until=now + LEASE)
            return None if fence is None else Turn(job, fence, tx.jobs.cursor(job))

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
