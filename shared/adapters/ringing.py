"""Metadata that rings: whoever waits for a namespace hears of each change that was committed to it.

The journal is where every change passes, so it is also where is seen which namespaces a transaction has changed. The
bell is rung after the commit, never before: who is woken looks at once.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, cast

from shared.domain.ids import NamespaceId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_journal import Change, Journal
from shared.ports.wakeups import Wakeups

T = TypeVar("T")


class RingingMetadata:
    """Implements the Metadata port over another one."""

    def __init__(self, metadata: Metadata, wakeups: Wakeups) -> None:
        self._metadata = metadata
        self._wakeups = wakeups

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._metadata.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        changed: set[NamespaceId] = set()

        def noting(tx: Transaction) -> T:
            changed.clear()  # the transaction may be run again
            return work(cast(Transaction, _Noting(tx, changed)))

        result = await self._metadata.write(noting)
        if changed:
            await self._wakeups.ring(changed)
        return result

    async def close(self) -> None:
        await self._metadata.close()


class _Noting:
    """A transaction whose journal is listened to."""

    def __init__(self, tx: Transaction, changed: set[NamespaceId]) -> None:
        self._tx = tx
        self.journal = _NotingJournal(tx.journal, changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class _NotingJournal:
    def __init__(self, journal: Journal, changed: set[NamespaceId]) -> None:
        self._journal = journal
        self._changed = changed

    def record(self, namespace: NamespaceId, seq: int, changes: Iterable[Change], *, now: datetime) -> None:
        self._changed.add(namespace)
        self._journal.record(namespace, seq, changes, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)
