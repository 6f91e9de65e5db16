"""A bus within one process: the strict fake of the others.

What a test may look at: `published` events that nobody has taken, `backlogs` by device, and `dead` letters. A
backlog that is `held` is somebody else's to collect.
"""

from collections import defaultdict
from collections.abc import Sequence

from shared.domain.errors import Unavailable
from shared.domain.events import FileEvent, Hint, Unreadable, read_event, read_hint, write_event, write_hint
from shared.domain.ids import DeviceId
from shared.ports.event_bus import Collected, Letter

_MOST = 100


class MemoryEventBus:
    """Implements the EventBus port. While `away`, every call raises Unavailable."""

    def __init__(self) -> None:
        self.away = False
        self.published: list[FileEvent] = []
        self.backlogs: dict[DeviceId, list[bytes]] = defaultdict(list)
        self.held: set[DeviceId] = set()
        self.dead: list[tuple[Letter, str]] = []
        self._seen: set[str] = set()
        self._answering = True

    @property
    def is_answering(self) -> bool:
        return self._answering

    async def publish(self, events: Sequence[FileEvent]) -> None:
        self._ask(len(events))
        for event in events:
            if event.message_id not in self._seen:
                self._seen.add(event.message_id)
                self.published.append(read_event(write_event(event)))

    async def leave(self, hints: Sequence[Hint]) -> None:
        self._ask(len(hints))
        for hint in hints:
            self.backlogs[hint.device].append(write_hint(hint))

    async def collect(self, device: DeviceId) -> Collected:
        self._ask()
        if device in self.held:
            return Collected([], busy=True)
        hints, refused = [], 0
        for body in self.backlogs.pop(device, []):
            try:
                hints.append(read_hint(device, body))
            except Unreadable as why:
                refused += 1
                self.dead.append((Letter("device-backlog/devices", "", body, {}), why.reason))
        return Collected(hints, refused)

    async def set_aside(self, letter: Letter, why: Unreadable) -> None:
        self._ask()
        self.dead.append((letter, why.reason))

    async def close(self) -> None:
        return None

    def _ask(self, messages: int = 0) -> None:
        if messages > _MOST:
            raise ValueError(f"at most {_MOST} messages go at once")
        self._answering = not self.away
        if self.away:
            raise Unavailable("the bus is away")
