"""Which parts answer, what works without those that don't, and when each timer last succeeded."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import Unavailable
from shared.domain.ids import BlobId
from shared.ports.block_store import BlockStore, Container
from shared.ports.metadata import Metadata
from shared.usecases import expire_tokens, sweep_staging

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

TIMERS = (expire_tokens.JOB, sweep_staging.JOB)


@dataclass(frozen=True, slots=True)
class Health:
    """`parts` says which parts answer, `works` what can be done with those.

    `timers` has each timer's last success, None for one that never succeeded; nothing while the database is away.
    """

    parts: Mapping[str, bool]
    works: Mapping[str, bool]
    timers: Mapping[str, datetime | None]

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
    metadata: Metadata
    store: BlockStore

    async def __call__(self) -> Health:
        """Ask every part at once; never raises for a part that is away."""
        timers: dict[str, datetime | None] = {}

        async def ask_database() -> None:
            found = await self.metadata.read(lambda tx: tx.jobs.last_successes())
            # One that fails each time must be seen too.
            timers.update({name: found.get(name) for name in TIMERS})

        async def ask_store() -> None:
            await self.store.exists(Container.BLOCKS, _NO_BLOB)

        database, store = await asyncio.gather(_answers(ask_database()), _answers(ask_store()))
        parts = {"database": database, "store": store}
        away = {name for name, there in parts.items() if not there}
        works = {kind: not needs & away for kind, needs in NEEDS.items()}
        return Health(parts, works, timers)


async def _answers(question: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(question, PATIENCE)
    except (Unavailable, TimeoutError):
        return False
    return True
