"""Wakeups within one process: for one that is alone, and as the strict fake of the others."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared.adapters.bells import LocalBell, LocalBells
from shared.ports.wakeups import Bell, Rung


class MemoryWakeups:
    """Implements the Wakeups port where all commits are made by this process."""

    def __init__(self) -> None:
        self._bells = LocalBells()

    async def ring(self, rung: Collection[Rung]) -> None:
        for each in rung:
            self._bells.ring(each)

    @asynccontextmanager
    async def listen(self, rung: Collection[Rung]) -> AsyncIterator[Bell]:
        with self._bells.hung(rung, LocalBell(lambda: True)) as bell:
            yield bell

    async def close(self) -> None:
        return None
