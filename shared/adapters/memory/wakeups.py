"""Wakeups within one process: for one that is alone, and as the strict fake of the others."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared.adapters.bells import LocalBell, LocalBells
from shared.domain.ids import NamespaceId
from shared.ports.wakeups import Bell


class MemoryWakeups:
    """Implements the Wakeups port where all commits are made by this process."""

    def __init__(self) -> None:
        self._bells = LocalBells()

    async def ring(self, namespaces: Collection[NamespaceId]) -> None:
        for namespace in namespaces:
            self._bells.ring(namespace)

    @asynccontextmanager
    async def listen(self, namespaces: Collection[NamespaceId]) -> AsyncIterator[Bell]:
        with self._bells.hung(namespaces, LocalBell(lambda: True)) as bell:
            yield bell

    async def close(self) -> None:
        return None
