"""Which devices wait for news now, and for each of them the one wait that counts.

Known to all processes, and for a while only: who ended without a word is gone when its time has run out. It is never
the truth: not known is answered like absent, since a hint too many in a backlog costs one message, and one too few
would leave a device without its backlog. No call raises, and none takes longer than a moment.
"""

from collections.abc import Collection
from typing import NewType, Protocol

from shared.domain.ids import DeviceId

WaitId = NewType("WaitId", str)
"""One request of a device that waits."""


class Presence(Protocol):
    async def arrive(self, device: DeviceId, wait: WaitId, *, seconds: float) -> None:
        """The device is here for that long, unless it arrives again; of its waits, this one counts from now on."""
        ...

    async def counts(self, device: DeviceId, wait: WaitId) -> bool:
        """False when it is known that another wait of the device has come since."""
        ...

    async def present(self, devices: Collection[DeviceId]) -> frozenset[DeviceId]:
        """Those of the devices that are here."""
        ...

    async def forget(self, device: DeviceId) -> None:
        """The device is not here any more."""
        ...

    async def close(self) -> None: ...
