"""Which parts answer, what works without those that don't, and when each timer last succeeded."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.errors import Unavailable
from shared.domain.ids import BlobId
from shared.ports.block_store import BlockStore, Container
from shared.ports.event_bus import EventBus
from shared.ports.metadata import Metadata
from shared.ports.system import Clock
from shared.ports.tables_outbox import Backed
from shared.usecases import expire_tokens, relay_events, sweep_staging
from shared.usecases.remembering import Remembering

PATIENCE = 5
"""Seconds that a part may take to answer."""

_NO_BLOB = BlobId("0" * 32)

NEEDS: Mapping[str, frozenset[str]] = {
    "signing in": frozenset({"database"}),
    "listing, deleting": frozenset({"database"}),
    "uploading, committing": frozenset({"database", "store"}),
    "downloading": frozenset({"database", "store"}),
}
"""What each kind of work needs to be there."""

TIMERS = (expire_tokens.JOB, relay_events.JOB, sweep_staging.JOB)

LATE = timedelta(minutes=5)
"""Older events in the outbox mean that nobody brings them to the bus, whatever this process has seen of it."""

COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Relaying:
    """`relayed` is False without a bus. `waiting` events of the outbox (COUNTED at most), and the oldest of them."""

    relayed: bool
    waiting: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class CacheHealth:
    """Whether the cache is `there` or `away`, or `off` when there is none, and what it did since the process began.

    `checked` of the hits were compared with the database; a count of `mismatches` other than 0 is a fault.
    """

    state: str
    hits: int
    misses: int
    checked: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Health:
    """`parts` says which parts answer, `works` what can be done with those.

    `timers` has each timer's last success, None for one that never succeeded; nothing while the database is away.
    `cache` is about this process alone, and nothing depends on it.
    """

    parts: Mapping[str, bool]
    works: Mapping[str, bool]
    timers: Mapping[str, datetime | None]
    cache: "CacheHealth"
    events: Relaying

    @property
    def is_ready(self) -> bool:
        """Whether anything at all can be done: without the database, nothing can."""
        return self.parts["database"]

    @property
    def status(self) -> str:
        if not self.is_ready:
            return "unavailable"
        return "ready" if all(self.parts.values()) else "degraded"


@dataclass(frozen=True)
class CheckHealth:
    """Without a `bus`, events wait in the outbox for nothing, and that is no fault."""

    metadata: Metadata
    store: BlockStore
    remembering: Remembering
    clock: Clock
    bus: EventBus | None = None

    async def __call__(self) -> Health:
        """Ask every part at once; never raises for a part that is away."""
        timers: dict[str, datetime | None] = {}
        backed = Backed(0, None)

        async def ask_database() -> None:
            nonlocal backed
            found, backed = await self.metadata.read(
                lambda tx: (tx.jobs.last_successes(), tx.outbox.backed(limit=COUNTED))
            )
            # One that fails each time must be seen too.
            timers.update({name: found.get(name) for name in TIMERS})

        async def ask_store() -> None:
            await self.store.exists(Container.BLOCKS, _NO_BLOB)

        database, store = await asyncio.gather(_answers(ask_database()), _answers(ask_store()))
        parts = {"database": database, "store": store}
        if self.bus is not None:
            # A question to the bus would cost, each time, what a message costs; what it was last used for is known.
            late = backed.since is not None and self.clock.now() - backed.since > LATE
            parts["events"] = self.bus.is_answering and not late
        away = {name for name, there in parts.items() if not there}
        works = {kind: not needs & away for kind, needs in NEEDS.items()}
        counts, used = self.remembering.counts, self.remembering.cache
        state = "off" if used is None else "there" if used.is_there else "away"
        cache = CacheHealth(state, counts.hits, counts.misses, counts.checked, counts.mismatches)
        relaying = Relaying(self.bus is not None, backed.count, backed.since)
        return Health(parts, works, timers, cache, relaying)


async def _answers(question: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(question, PATIENCE)
    except (Unavailable, TimeoutError):
        return False
    return True
