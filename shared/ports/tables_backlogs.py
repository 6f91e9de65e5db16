"""Which devices have a hint waiting for them on the bus.

A device that is away for a month must not fill the bus: while one hint waits for it, no second is sent. So that a hint
that has expired there doesn't silence all later ones, a note is worth something for a limited time only.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from shared.domain.ids import DeviceId, NamespaceId


class Backlogs(Protocol):
    def without_hint(
        self, namespace: NamespaceId, *, but: DeviceId, seen_since: datetime, hinted_before: datetime
    ) -> Sequence[DeviceId]:
        """The devices of the namespace's members that should have a hint and have none, by id.

        Not the device `but`, none that was ended, none that last signed in before `seen_since`; with a hint that was
        noted before `hinted_before` as if there was none.
        """
        ...

    def note(self, devices: Collection[DeviceId], *, now: datetime) -> None:
        """A hint waits for each of these."""
        ...

    def is_noted(self, device: DeviceId) -> bool: ...

    def clear(self, device: DeviceId) -> None:
        """Nothing waits for the device any more."""
        ...
