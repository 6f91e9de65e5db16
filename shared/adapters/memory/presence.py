"""Presence within one process: for one that is alone, and as the strict fake of the others."""

from collections.abc import Callable, Collection
from time import monotonic

from shared.domain.ids import DeviceId
from shared.ports.presence import WaitId


class MemoryPresence:
    """Implements the Presence port where all devices wait at this process. `now` is in seconds."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._here: dict[DeviceId, tuple[WaitId, float]] = {}

    async def arrive(self, device: DeviceId, wait: WaitId, *, seconds: float) -> None:
        now = self._now()
        for gone in [each for each, (_, until) in self._here.items() if until <= now]:
            del self._here[gone]
        self._here[device] = (wait, now + seconds)

    async def counts(self, device: DeviceId, wait: WaitId) -> bool:
        known = self._here.get(device)
        return known is None or known[0] == wait or known[1] <= self._now()

    async def present(self, devices: Collection[DeviceId]) -> frozenset[DeviceId]:
        now = self._now()
        return frozenset(each for each in devices if each in self._here and self._here[each][1] > now)

    async def forget(self, device: DeviceId) -> None:
        self._here.pop(device, None)

    async def close(self) -> None:
        return None
