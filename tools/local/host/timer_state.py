"""What a timer remembers while its host is down, and who may run it.

Both are files of the state directory, one of each for a timer: `<function>.json` says when it ran last and when it is
due next; `<function>.lock` is held by the one host that runs it. A second host over the same directory waits, and
takes over when the first one ends, however it ends: the kernel lets go of a lock with its process.

The members of the status and the rule for a missed run are Microsoft's (`ScheduleMonitor.CheckPastDueAsync` in
azure-webjobs-sdk-extensions); there the status is a blob, and the lock a lease.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tools.local.host.keys import write_private
from tools.local.host.schedule import Schedule


@dataclass(frozen=True, slots=True)
class TimerStatus:
    """`last` is the start of the last run, None before the first one; `due` is the next; `updated` says as of when."""

    last: datetime | None
    due: datetime
    updated: datetime

    def to_json(self) -> dict[str, str]:
        """As Microsoft's host writes it and as a function gets it; .NET spells "never" as the year 1."""
        last = self.last.isoformat() if self.last else "0001-01-01T00:00:00+00:00"
        return {"Last": last, "LastUpdated": self.updated.isoformat(), "Next": self.due.isoformat()}


def ran(schedule: Schedule, at: datetime) -> TimerStatus:
    """Return the status after a run that began at that moment."""
    return TimerStatus(at, schedule.after(at), at)


def resume(stored: TimerStatus | None, schedule: Schedule, now: datetime) -> tuple[TimerStatus, bool]:
    """Return the status to go on with, and whether a run was missed while nobody watched.

    A schedule that was changed in between is not past due: nobody has missed a run that was never planned.
    """
    if stored is None:
        return TimerStatus(None, schedule.after(now), now), False
    planned = schedule.after(stored.last or stored.updated)
    if planned != stored.due:
        return TimerStatus(stored.last, planned if planned > now else schedule.after(now), now), False
    return stored, now > stored.due


def read_status(path: Path) -> TimerStatus | None:
    """Return what was stored; None when there is nothing, or nothing that can be understood."""
    try:
        document = json.loads(path.read_text())
        last, due, updated = (
            datetime.fromisoformat(document[key]) for key in ("Last", "Next", "LastUpdated")
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if due.tzinfo is None or last.tzinfo is None or updated.tzinfo is None:
        return None
    return TimerStatus(last if last.year > 1 else None, due, updated)


def write_status(path: Path, status: TimerStatus) -> None:
    write_private(path, json.dumps(status.to_json()))


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Give whether the lock could be had; it is held until the block ends, and never waited for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
