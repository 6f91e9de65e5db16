"""Ports that can be stopped between any two of their calls.

`WatchedMetadata` and `WatchedStore` tell a hook before and after each call of the port, down to the single call of a
table within a transaction. A hook may raise, which is a process killed there, or do what somebody else does meanwhile.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from typing import Any, TypeVar

from shared.domain.errors import Unavailable
from shared.ports.block_store import BlockStore, Container
from shared.ports.metadata import Metadata, Transaction

T = TypeVar("T")


class Moment(Enum):
    BEFORE = "before"
    AFTER = "after"


Hook = Callable[[Moment, str, Transaction | None], None]


class Cut(Unavailable):
    """The fault that was asked for."""


class CutAt:
    """A hook that breaks off before call `number`, or after it, when its effect is there and its answer is lost."""

    def __init__(self, number: int, moment: Moment) -> None:
        self._number, self._moment = number, moment
        self._passed = 0
        self._lock = threading.Lock()
        self.where: str | None = None

    def __call__(self, moment: Moment, call: str, tx: Transaction | None) -> None:
        if moment is not self._moment:
            return
        with self._lock:
            self._passed += 1
            if self._passed == self._number:
                self.where = f"{moment.value} call {self._number}, {call}"
                raise Cut(self.where)


def cuts(moment: Moment, *, step: int = 1) -> Iterator[tuple[int, CutAt]]:
    """A cut at each call in turn, with its number, until one lies behind the last call."""
    number = 0
    while True:
        number += step
        cut = CutAt(number, moment)
        yield number, cut
        if cut.where is None:
            return


class _Watched:
    """Any port or table group, with the hook around each of its calls."""

    def __init__(self, inner: object, name: str, hook: Hook, tx: Transaction) -> None:
        self._inner, self._name, self._hook, self._tx = inner, name, hook, tx

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        call = getattr(self._inner, attribute)

        def watched(*arguments: Any, **named: Any) -> Any:
            self._hook(Moment.BEFORE, f"{self._name}.{attribute}", self._tx)
            result = call(*arguments, **named)
            self._hook(Moment.AFTER, f"{self._name}.{attribute}", self._tx)
            return result

        return watched


class _WatchedTransaction:
    """A transaction, each of whose groups of tables is watched."""

    def __init__(self, tx: Transaction, hook: Hook) -> None:
        self._tx, self._hook = tx, hook

    def __getattr__(self, group: str) -> _Watched:
        return _Watched(getattr(self._tx, group), group, self._hook, self._tx)


class WatchedMetadata:
    """Implements the Metadata port by another's."""

    def __init__(self, inner: Metadata, hook: Hook) -> None:
        self._inner, self._hook = inner, hook

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(self._inner.read, "metadata.read", work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(self._inner.write, "metadata.write", work)

    async def close(self) -> None:
        await self._inner.close()

    async def _run(self, call: Any, name: str, work: Callable[[Transaction], T]) -> T:
        def watched(tx: Transaction) -> T:
            inside: Any = _WatchedTransaction(tx, self._hook)
            return work(inside)

        self._hook(Moment.BEFORE, name, None)
        result: T = await call(watched)
        self._hook(Moment.AFTER, name, None)
        return result


class WatchedStore:
    """Implements the BlockStore port by another's; listing is passed on as it is."""

    def __init__(self, inner: BlockStore, hook: Hook) -> None:
        self._inner, self._hook = inner, hook

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        call = getattr(self._inner, attribute)

        async def watched(*arguments: Any, **named: Any) -> Any:
            self._hook(Moment.BEFORE, f"store.{attribute}", None)
            result = await call(*arguments, **named)
            self._hook(Moment.AFTER, f"store.{attribute}", None)
            return result

        return watched

    def names(self, container: Container) -> AsyncIterator[str]:
        return self._inner.names(container)


class Inside:
    """Implements the Metadata port within a transaction that is open already: what somebody else does meanwhile."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return work(self._tx)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return work(self._tx)

    async def close(self) -> None:
        return None
