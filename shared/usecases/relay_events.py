"""Bringing events from the outbox to the bus: soon after the commit, and by a timer whatever happens.

    commit ──(event in its transaction)──> outbox ──relay──> bus ──confirmed──> out of the outbox

Whoever commits tells `RelaySoon` which events it made, and goes on; those are sent together a moment later. It may be
killed, or the bus may be away: then the timer finds what is left. An event is taken out only when the bus has it, so it
may be sent twice, which the bus notices by its id, and is never forgotten.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.errors import Unavailable
from shared.domain.events import FileEvent
from shared.ports.event_bus import EventBus
from shared.ports.metadata import Metadata
from shared.ports.system import Clock
from shared.ports.tables_outbox import EventKey
from shared.usecases.leased_job import LeasedJob, Turn

_log = logging.getLogger(__name__)

JOB = "relay_events"
PAGE, PAGES = 100, 100

KEEP = timedelta(days=14)
"""How long an event waits for a bus. Who follows the journal has heard of it long ago."""

LINGER = 0.2
"""Seconds that an event waits for company after its commit: the bell has been rung already."""

MOST_NOTED = 10_000


@dataclass(frozen=True, slots=True)
class Relayed:
    """Counts of one run; `ran` is False when another run was at it, `dropped` waited too long for a bus."""

    ran: bool
    sent: int = 0
    dropped: int = 0


async def relay(metadata: Metadata, bus: EventBus, events: Sequence[FileEvent]) -> None:
    """Send at most PAGE events and take them out; raises Unavailable."""
    await bus.publish(events)
    keys = [(event.namespace, event.seq) for event in events]
    await metadata.write(lambda tx: tx.outbox.remove(keys))


@dataclass(frozen=True)
class RelayEvents:
    """The timer's part: the guarantee. Without a bus it only drops what is too old.

    Events younger than `patience` are on their way, most likely, and left to who committed them.
    """

    metadata: Metadata
    bus: EventBus | None
    clock: Clock
    jobs: LeasedJob
    patience: timedelta

    async def __call__(self) -> Relayed:
        """Run once; raises Unavailable when the bus or the database is away, and the next run goes on."""
        sent = dropped = 0

        async def work(turn: Turn) -> None:
            nonlocal sent, dropped
            dropped = await self._drop(turn)
            if self.bus is None:
                return
            until = self.clock.now() - self.patience
            for _ in range(PAGES):
                await self.jobs.keep(turn)
                events = await self.metadata.read(
                    lambda tx: tx.outbox.waiting(created_until=until, limit=PAGE)
                )
                if events:
                    await relay(self.metadata, self.bus, events)
                    sent += len(events)
                if len(events) < PAGE:
                    return

        ran = await self.jobs.run(JOB, work)
        return Relayed(ran, sent, dropped)

    async def _drop(self, turn: Turn) -> int:
        old, dropped = self.clock.now() - KEEP, 0
        for _ in range(PAGES):
            await self.jobs.keep(turn)
            gone = await self.metadata.write(lambda tx: tx.outbox.forget(created_before=old, limit=PAGE))
            dropped += gone
            if gone < PAGE:
                break
        if dropped and self.bus is not None:
            _log.warning("%d events have waited for the bus in vain for %s and are dropped", dropped, KEEP)
        return dropped


@dataclass
class RelaySoon:
    """What follows a commit: nobody waits for it, and whatever goes wrong is left to the timer."""

    metadata: Metadata
    bus: EventBus
    linger: float = LINGER
    _noted: set[EventKey] = field(default_factory=set, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def note(self, keys: Collection[EventKey]) -> None:
        """These are committed. Returns at once; must be called where an event loop runs."""
        if len(self._noted) < MOST_NOTED:
            self._noted |= set(keys)
        if self._noted and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Give up what isn't sent yet: the timer of another process finds it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _send(self) -> None:
        try:
            while self._noted:
                await asyncio.sleep(self.linger)
                keys = sorted(self._noted)[:PAGE]
                self._noted.difference_update(keys)
                await self._send_some(keys)
        except Unavailable as error:
            self._noted.clear()
            _log.warning("events are left to the timer: %s", error)
        except Exception:  # noqa: BLE001 (told here, since nobody awaits this task)
            self._noted.clear()
            _log.exception("events are left to the timer")

    async def _send_some(self, keys: Collection[EventKey]) -> None:
        events = await self.metadata.read(lambda tx: tx.outbox.find(keys))
        if events:
            await relay(self.metadata, self.bus, events)
