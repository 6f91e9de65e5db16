"""The bus: events for whoever subscribes to them, and a backlog for each device that is away.

Everything on it is a hint. It is delivered at least once, in any order, perhaps late, perhaps (after a disaster) not at
all; whoever acts on a message asks the database what is true. All calls raise Unavailable when the bus is away, within
seconds, and without asking it again right after a failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.events import FileEvent, Hint, Unreadable
from shared.domain.ids import DeviceId


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it came; `source` is the subscription that it came from, as topic/subscription."""

    source: str
    message_id: str
    body: bytes
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was taken out of a backlog; `refused` messages could not be read and are dead letters now.

    `busy` when another receiver is at it: then nothing was taken.
    """

    hints: Sequence[Hint]
    refused: int = 0
    busy: bool = False


class EventBus(Protocol):
    @property
    def is_answering(self) -> bool:
        """False for a while after a failure, until a call succeeds. Asks nobody."""
        ...

    async def publish(self, events: Sequence[FileEvent]) -> None:
        """Hand events to every subscription; they are durable when this returns. At most 100.

        An event that comes again within ten minutes is dropped, so repeating after a failure is harmless. All are sent
        or none.
        """
        ...

    async def leave(self, hints: Sequence[Hint]) -> None:
        """Put each hint into the backlog of its device, where it is kept for fourteen days. At most 100."""
        ...

    async def collect(self, device: DeviceId) -> Collected:
        """Take everything out of a device's backlog, and let it go; takes two seconds at most.

        Nobody else can collect it at the same time. What can't be read becomes a dead letter with the reason, and
        blocks nothing behind it.
        """
        ...

    async def set_aside(self, letter: Letter, why: Unreadable) -> None:
        """Make a dead letter, with the reason, of a message that this application received and can't read."""
        ...

    async def close(self) -> None: ...
