"""Waiting until there is something new: first listen, then look, then wait.

In this order a change between any two steps is never missed: one that comes before the look is seen by it, one that
comes behind it rings a bell that hangs already. A ring is only a hint, so whoever is woken looks again, and whoever
isn't looks now and then.

A device that was away collects its backlog before all that. A hint that comes meanwhile tells of a change that the look
sees, too.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.accounts import Caller
from shared.domain.events import Hint
from shared.domain.ids import NamespaceId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.presence import Presence, WaitId
from shared.ports.system import Ids
from shared.ports.wakeups import Bell, Wakeups
from shared.usecases.authority import reader
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.follow_changes import FollowChanges

GRACE = 10.0
"""Seconds that a device counts as present after a wait: as long as it may take to begin the next."""


@dataclass(frozen=True, slots=True)
class Waited:
    """The namespaces whose journals go on behind the cursor, each with its last seq; none when the time was up.

    `superseded` when the same device has begun to wait anew meanwhile; `backlog` is what was kept while it was away.
    """

    behind: Sequence[tuple[NamespaceId, int]]
    superseded: bool = False
    backlog: Sequence[Hint] = ()


@dataclass(frozen=True)
class WaitForChanges:
    """`look_every`, `look_often`: seconds after which to look without a ring, where rings arrive and where not.

    Without `collect_backlog` there is no bus, and no backlog.
    """

    metadata: Metadata
    wakeups: Wakeups
    presence: Presence
    follow_changes: FollowChanges
    ids: Ids
    collect_backlog: CollectBacklog | None = None
    look_every: float = 60.0
    look_often: float = 3.0

    async def __call__(self, caller: Caller, *, cursor: str, wait: float) -> Waited:
        """Return as soon as something is behind `cursor`, at latest after `wait` seconds and the time for a backlog.

        A newer call of the same device, wherever it is made, ends an older one. Raises as `FollowChanges` for the
        cursor, and InvalidToken at once when the device is ended meanwhile.
        """
        clock = asyncio.get_running_loop()
        deadline = clock.time() + wait
        device, this = caller.device_id, WaitId(self.ids.new())
        namespaces, hinted = await self.metadata.read(lambda tx: _seen_by(tx, caller))
        backlog: Sequence[Hint] = []
        if hinted and self.collect_backlog is not None:
            backlog = await self.collect_backlog(device)
        # Of two calls at once, the one that arrives first listens before it asks whether it still counts.
        await self.presence.arrive(device, this, seconds=max(0.0, deadline - clock.time()) + GRACE)
        await self.wakeups.ring([device])
        async with self.wakeups.listen([*namespaces, device]) as bell:
            while True:
                behind = await self.follow_changes.behind(caller, cursor)
                left = deadline - clock.time()
                if behind or left <= 0:
                    return Waited(behind, backlog=backlog)
                if not await self.presence.counts(device, this):
                    return Waited([], True, backlog)
                await bell.heard(min(left, self._pause(bell)))

    def _pause(self, bell: Bell) -> float:
        return self.look_every if bell.sure else self.look_often


def _seen_by(tx: Transaction, caller: Caller) -> tuple[list[NamespaceId], bool]:
    """The namespaces to listen to, and whether a backlog waits."""
    reader(tx, caller, None)
    namespaces = [standing.id for standing in tx.namespaces.seen_by(caller.user_id)]
    return namespaces, tx.backlogs.is_noted(caller.device_id)
