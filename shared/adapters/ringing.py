"""Metadata that tells: whoever waits for a namespace hears of each change that was committed to it.

The journal is where every change passes, so it is also where is seen which namespaces a transaction has changed, as
the tables of accounts are for the devices that it has ended. All is told after the commit, never before: who is woken
looks at once.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, TypeVar, cast

from shared.domain.ids import DeviceId, NamespaceId, UserId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_accounts import Accounts
from shared.ports.tables_journal import Change, Journal
from shared.ports.tables_outbox import EventKey
from shared.ports.wakeups import Rung, Wakeups

T = TypeVar("T")


class RingingMetadata:
    """Implements the Metadata port over another one.

    `committed` is told of the events that a transaction has put into the outbox; it must return at once.
    """

    def __init__(
        self,
        metadata: Metadata,
        wakeups: Wakeups,
        committed: Callable[[Collection[EventKey]], None] | None = None,
    ) -> None:
        self._metadata, self._wakeups, self._committed = metadata, wakeups, committed

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._metadata.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        seen = _Seen()

        def noting(tx: Transaction) -> T:
            seen.forget()  # the transaction may be run again
            return work(cast(Transaction, _Noting(tx, seen)))

        result = await self._metadata.write(noting)
        if seen.events and self._committed is not None:
            self._committed(seen.events)
        if rung := {namespace for namespace, _ in seen.events} | seen.ended:
            await self._wakeups.ring(rung)
        return result

    async def close(self) -> None:
        await self._metadata.close()


class _Seen:
    """What a transaction has done that others should hear of."""

    def __init__(self) -> None:
        self.events: set[EventKey] = set()
        self.ended: set[Rung] = set()

    def forget(self) -> None:
        self.events.clear()
        self.ended.clear()


class _Noting:
    """A transaction that is listened to."""

    def __init__(self, tx: Transaction, seen: _Seen) -> None:
        self._tx = tx
        self.journal = _NotingJournal(tx.journal, seen)
        self.accounts = _NotingAccounts(tx.accounts, seen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class _NotingJournal:
    def __init__(self, journal: Journal, seen: _Seen) -> None:
        self._journal, self._seen = journal, seen

    def record(self, namespace: NamespaceId, seq: int, changes: Iterable[Change], *, now: datetime) -> None:
        self._seen.events.add((namespace, seq))
        self._journal.record(namespace, seq, changes, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class _NotingAccounts:
    """Accounts whose devices hear that their tokens are worth nothing any more, wherever they wait."""

    def __init__(self, accounts: Accounts, seen: _Seen) -> None:
        self._accounts, self._seen = accounts, seen

    def revoke_device(self, device: DeviceId, user: UserId, *, now: datetime) -> bool:
        self._seen.ended.add(device)
        return self._accounts.revoke_device(device, user, now=now)

    def advance_epoch(self, user: UserId) -> int:
        self._seen.ended.update(seen.device.id for seen in self._accounts.devices(user))
        return self._accounts.advance_epoch(user)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._accounts, name)
