"""What a run that leaves nothing open keeps, so that the next one can see at a glance that nothing has changed."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from client.errors import Refused
from client.sync.database import Database
from client.sync.run_outcome import Outcome, PassedOver, shown_path


class Settled(NamedTuple):
    """The folder's digest, how many entries it had, and what was passed over: path, reason and refusal of each."""

    digest: str
    entries: int
    passed_over: Sequence[tuple[Sequence[str], str, str | None]] = ()

    def tell(self, outcome: Outcome) -> None:
        """It is still so."""
        outcome.settled = True
        outcome.entries = self.entries
        outcome.passed_over = [
            PassedOver(tuple(path), reason, Refused(refusal) if refusal else None)
            for path, reason, refusal in self.passed_over
        ]


def settled_as(digest: str, entries: int, passed_over: Sequence[PassedOver]) -> Settled:
    """What is to be kept of such a folder."""
    passed = [
        ([shown_path((name,)) for name in each.path], each.reason, str(each.error) if each.error else None)
        for each in passed_over
    ]
    return Settled(digest, entries, passed)


def keep(database: Database, state: Settled | None) -> None:
    """Note that a run has ended now, and how; None when something is open."""
    database.put(settled=json.dumps(state) if state else None, finished_at=_shown(datetime.now(UTC)))


def keep_as_it_is(lock: Path) -> None:
    """Note that a run has ended now, and that what was kept holds.

    Only a time has changed, and the database would wait for the disk: the time of the folder's lock file tells it.
    """
    os.utime(lock)


def finished_at(database: Database, lock: Path) -> str | None:
    """When the last run ended, in UTC; None when none has."""
    kept_at = database.get("finished_at")
    if kept_at is None:
        return None
    touched_at = _shown(datetime.fromtimestamp(lock.stat().st_mtime, UTC)) if lock.exists() else kept_at
    # Times of one form and zone: the later one is the greater text.
    return max(kept_at, touched_at)


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def kept(database: Database) -> Settled | None:
    """What was kept, unless the server has told of something since."""
    text = database.get("settled")
    if text is None:
        return None
    known = json.loads(text)
    # A run of an earlier version has kept it in another form: then the next run looks at everything.
    return Settled(*known) if isinstance(known, list) else None
