"""Deleting rows that time has made useless: refresh tokens and kept replies. Nothing depends on their going."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.usecases.leased_job import LeasedJob, Turn

JOB = "expire_tokens"
KEEP = timedelta(days=7)
"""How long an expired token is kept: a family that ended by theft can be told from one that never was."""

BATCH, BATCHES = 500, 20


@dataclass(frozen=True, slots=True)
class Expired:
    """Counts of one run; `ran` is False when another run was at it."""

    ran: bool
    tokens: int
    replies: int


@dataclass(frozen=True)
class ExpireTokens:
    metadata: Metadata
    clock: Clock
    jobs: LeasedJob

    async def __call__(self) -> Expired:
        """Run once; raises Unavailable, and the next run goes on."""
        now = self.clock.now()
        tokens = replies = 0

        async def work(turn: Turn) -> None:
            nonlocal tokens, replies
            tokens = await self._in_batches(
                turn, lambda tx: tx.jobs.forget_tokens(expired_before=now - KEEP, limit=BATCH)
            )
            replies = await self._in_batches(
                turn, lambda tx: tx.jobs.forget_replies(expired_before=now, limit=BATCH)
            )

        ran = await self.jobs.run(JOB, work)
        return Expired(ran, tokens, replies)

    async def _in_batches(self, turn: Turn, forget: Callable[[Transaction], int]) -> int:
        def batch(tx: Transaction) -> int:
            turn.check(tx)
            return forget(tx)

        total = 0
        for _ in range(BATCHES):
            await self.jobs.keep(turn)
            gone = await self.metadata.write(batch)
            total += gone
            if gone < BATCH:
                break
        return total
