"""The outbox: an event for each seq of a journal, until the bus has it.

`Journal.record` puts it there, in the transaction of the change: no change is without its event, and no event tells
of a change that was taken back. Whoever relays an event removes it afterwards, so one may be sent twice, never not at
all.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.events import FileEvent
from shared.domain.ids import NamespaceId

EventKey = tuple[NamespaceId, int]
"""Namespace and seq."""


@dataclass(frozen=True, slots=True)
class Backed:
    """How many events wait to be relayed, and since when the oldest; None when there is none."""

    count: int
    since: datetime | None


class Outbox(Protocol):
    def waiting(self, *, created_until: datetime, limit: int) -> Sequence[FileEvent]:
        """Up to `limit` events of this time or before, oldest first."""
        ...

    def find(self, keys: Collection[EventKey]) -> Sequence[FileEvent]:
        """Those of these events that still wait, in order of namespace and seq."""
        ...

    def remove(self, keys: Collection[EventKey]) -> None:
        """Take them out; one that is gone already is no error."""
        ...

    def forget(self, *, created_before: datetime, limit: int) -> int:
        """Delete up to `limit` events that nobody came to relay; returns how many."""
        ...

    def backed(self, *, limit: int) -> Backed:
        """What waits; at most `limit` is counted."""
        ...
