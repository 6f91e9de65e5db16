"""Waking those who wait for a namespace to change, or for something that concerns their device.

A ring says "look again" and nothing else: what changed is read from the journal. So a ring that is lost costs time and
nothing more, and whoever waits looks now and then without one. Ringing is best effort: it never raises and never takes
longer than a moment, since a commit is acknowledged behind it.
"""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from shared.domain.ids import DeviceId, NamespaceId

Rung = NamespaceId | DeviceId
"""What rings: a namespace when it has changed, a device when it should look at what became of it."""


class Bell(Protocol):
    """What one waiter hears. A ring that came since the last `heard` is not forgotten."""

    @property
    def sure(self) -> bool:
        """Whether rings arrive at all now; without, the waiter has to look more often."""
        ...

    async def heard(self, timeout: float) -> bool:
        """Wait for a ring, at most `timeout` seconds; whether one came, or `sure` has changed. Look in any case."""
        ...

    def ring(self) -> None:
        """Wake this waiter alone."""
        ...


class Wakeups(Protocol):
    async def ring(self, rung: Collection[Rung]) -> None:
        """Wake everybody who listens to one of these, in every process."""
        ...

    def listen(self, rung: Collection[Rung]) -> AbstractAsyncContextManager[Bell]:
        """Hear rings for these from the moment that the context is entered, until it is left."""
        ...

    async def close(self) -> None: ...
