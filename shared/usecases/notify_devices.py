"""What an event does: wake the devices that wait, and leave a hint to those that are away.

A device that is away gets one hint and no more until it has come for it, however many changes there are meanwhile: a
hint says "look", and once is enough. The note of it, in the database, is worth something for half of a hint's life:
should a hint be lost there comes another, and hardly ever more than two lie there for a device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.events import FileEvent, Hint
from shared.domain.ids import DeviceId
from shared.ports.event_bus import EventBus
from shared.ports.metadata import Metadata
from shared.ports.presence import Presence
from shared.ports.system import Clock
from shared.ports.wakeups import Wakeups

RENEW = timedelta(days=7)
"""After so long a hint is left once more; on the bus it lives for twice as long."""

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Notified:
    """How many devices were left a hint."""

    hinted: int


@dataclass(frozen=True)
class NotifyDevices:
    """`returning` is how long after its last login or renewal a device can still come back without a new login."""

    metadata: Metadata
    wakeups: Wakeups
    presence: Presence
    bus: EventBus
    clock: Clock
    returning: timedelta

    async def __call__(self, event: FileEvent) -> Notified:
        """May be called again for the same event, and for events in any order.

        Raises Unavailable when a hint could not be left, or the database is away.
        """
        await self.wakeups.ring([event.namespace])
        now = self.clock.now()
        without = await self.metadata.read(
            lambda tx: tx.backlogs.without_hint(
                event.namespace,
                but=event.device,
                seen_since=now - self.returning,
                hinted_before=now - RENEW,
            )
        )
        present = await self.presence.present(without)
        away = [device for device in without if device not in present]
        for start in range(0, len(away), AT_ONCE):
            await self._leave(away[start : start + AT_ONCE], event, now)
        return Notified(len(away))

    async def _leave(self, devices: Sequence[DeviceId], event: FileEvent, now: datetime) -> None:
        # First the hint, then the note: killed in between, this leaves another hint, and never a note alone.
        await self.bus.leave(
            [Hint(device=device, namespace=event.namespace, seq=event.seq) for device in devices]
        )
        await self.metadata.write(lambda tx: tx.backlogs.note(devices, now=now))
