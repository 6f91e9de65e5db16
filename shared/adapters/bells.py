"""Bells of one process, by what they listen to."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from shared.ports.wakeups import Rung


class LocalBell:
    """Implements the Bell port: an event, and somebody who knows whether rings arrive."""

    def __init__(self, sure: Callable[[], bool]) -> None:
        self._sure = sure
        self._rung = asyncio.Event()

    @property
    def sure(self) -> bool:
        return self._sure()

    async def heard(self, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def ring(self) -> None:
        self._rung.set()


class LocalBells:
    """The bells that hang in this process."""

    def __init__(self) -> None:
        self._hanging: dict[Rung, set[LocalBell]] = defaultdict(set)

    def ring(self, rung: Rung) -> None:
        for bell in self._hanging.get(rung, ()):
            bell.ring()

    def ring_all(self) -> None:
        for bells in self._hanging.values():
            for bell in bells:
                bell.ring()

    def listened(self) -> frozenset[Rung]:
        return frozenset(self._hanging)

    @contextmanager
    def hung(self, rung: Collection[Rung], bell: LocalBell) -> Iterator[LocalBell]:
        for each in rung:
            self._hanging[each].add(bell)
        try:
            yield bell
        finally:
            for each in rung:
                bells = self._hanging[each]
                bells.discard(bell)
                if not bells:
                    del self._hanging[each]
