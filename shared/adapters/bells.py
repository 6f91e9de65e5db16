"""Bells of one process, by the namespaces that they listen to."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from shared.domain.ids import NamespaceId


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
        self._by_namespace: dict[NamespaceId, set[LocalBell]] = defaultdict(set)

    def ring(self, namespace: NamespaceId) -> None:
        for bell in self._by_namespace.get(namespace, ()):
            bell.ring()

    def ring_all(self) -> None:
        for bells in self._by_namespace.values():
            for bell in bells:
                bell.ring()

    def listened(self) -> frozenset[NamespaceId]:
        return frozenset(self._by_namespace)

    @contextmanager
    def hung(self, namespaces: Collection[NamespaceId], bell: LocalBell) -> Iterator[LocalBell]:
        for namespace in namespaces:
            self._by_namespace[namespace].add(bell)
        try:
            yield bell
        finally:
            for namespace in namespaces:
                bells = self._by_namespace[namespace]
                bells.discard(bell)
                if not bells:
                    del self._by_namespace[namespace]
