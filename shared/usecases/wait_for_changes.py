"""Waiting until there is something new: first listen, then look, then wait.

In this order a change between any two steps is never missed: one that comes before the look is seen by it, one that
comes behind it rings a bell that hangs already. A ring is only a hint, so whoever is woken looks again, and whoever
isn't looks now and then.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.domain.accounts import Caller
from shared.domain.ids import DeviceId, NamespaceId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.wakeups import Bell, Wakeups
from shared.usecases.authority import reader
from shared.usecases.follow_changes import FollowChanges


@dataclass(frozen=True, slots=True)
class Waited:
    """The namespaces whose journals go on behind the cursor, each with its last seq; none when the time was up.

    `superseded` when the same device has begun to wait anew meanwhile.
    """

    behind: Sequence[tuple[NamespaceId, int]]
    superseded: bool = False


@dataclass(frozen=True)
class WaitForChanges:
    """`look_every`, `look_often`: seconds after which to look without a ring, where rings arrive and where not."""

    metadata: Metadata
    wakeups: Wakeups
    follow_changes: FollowChanges
    look_every: float = 60.0
    look_often: float = 3.0
    waiting: dict[DeviceId, Bell] = field(default_factory=dict, init=False, repr=False)

    async def __call__(self, caller: Caller, *, cursor: str, wait: float) -> Waited:
        """Return as soon as something is behind `cursor`, at latest after `wait` seconds.

        A newer call of the same device ends an older one in this process. Raises as `FollowChanges` for the cursor.
        """
        deadline = asyncio.get_running_loop().time() + wait
        namespaces = await self.metadata.read(lambda tx: _seen_by(tx, caller))
        async with self.wakeups.listen(namespaces) as bell:
            older = self.waiting.get(caller.device_id)
            self.waiting[caller.device_id] = bell
            if older is not None:
                older.ring()
            try:
                return await self._wait(caller, cursor, bell, deadline)
            finally:
                if self.waiting.get(caller.device_id) is bell:
                    del self.waiting[caller.device_id]

    async def _wait(self, caller: Caller, cursor: str, bell: Bell, deadline: float) -> Waited:
        clock = asyncio.get_running_loop()
        while True:
            behind = await self.follow_changes.behind(caller, cursor)
            left = deadline - clock.time()
            superseded = self.waiting.get(caller.device_id) is not bell
            if behind or superseded or left <= 0:
                return Waited(behind, superseded)
            await bell.heard(min(left, self.look_every if bell.sure else self.look_often))


def _seen_by(tx: Transaction, caller: Caller) -> list[NamespaceId]:
    reader(tx, caller, None)
    return [standing.id for standing in tx.namespaces.seen_by(caller.user_id)]
