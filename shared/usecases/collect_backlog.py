"""Taking a device's backlog out of the bus: when it comes back, and when it is ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.errors import Unavailable
from shared.domain.events import Hint
from shared.domain.ids import DeviceId
from shared.ports.event_bus import EventBus
from shared.ports.metadata import Metadata


@dataclass(frozen=True)
class CollectBacklog:
    metadata: Metadata
    bus: EventBus

    async def __call__(self, device: DeviceId) -> Sequence[Hint]:
        """What waited for the device; nothing when the bus is away, or somebody else collects it: hints may be late.

        Takes about two seconds at most. Raises Unavailable when the database is away.
        """
        try:
            collected = await self.bus.collect(device)
        except Unavailable:
            # The note of it stays, so the device's next wait tries again.
            return []
        if not collected.busy:
            await self.metadata.write(lambda tx: tx.backlogs.clear(device))
        return collected.hints
