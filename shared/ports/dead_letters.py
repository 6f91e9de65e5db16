"""Messages that nobody could do anything with, for an operator: to look at, and to send once more."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`place` is where it lies and `source` where it came from, as topic/subscription; `session` is a device's id."""

    place: str
    source: str
    sequence: int
    message_id: str
    session: str | None
    reason: str
    description: str
    enqueued_at: datetime | None
    size: int


class DeadLetters(Protocol):
    """All calls raise Unavailable when the bus is away, and NotFound for a place that isn't one of `places`."""

    @property
    def places(self) -> Sequence[str]: ...

    def look(self, place: str, *, limit: int) -> AsyncIterator[DeadLetter]:
        """Up to `limit` dead letters of a place, oldest first. They stay where they are."""
        ...

    async def redrive(self, place: str, *, limit: int) -> int:
        """Send up to `limit` dead letters to the subscription that they came from, and to no other; returns how many.

        Each is gone from here once it is there. Breaking off in between sends one twice at most.
        """
        ...
