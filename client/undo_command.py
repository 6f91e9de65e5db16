"""`strata undo`: what one device did in some time is shown, and taken back on a yes."""

import re
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Annotated

from client.arguments import Option
from client.asking import ask
from client.connection import logged_in
from client.device_command import find
from client.errors import Misuse
from client.options import Common
from client.screen import Document, Screen
from client.wire import Undone

ID_LENGTH = 32

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def undo(
    common: Common,
    since: Annotated[
        str, Option("--since", metavar="TIME", help="From when on: `30m`, `2h`, `3d`, or a time.")
    ],
    until: Annotated[str | None, Option("--until", metavar="TIME", help="Up to when; default: now.")] = None,
    device: Annotated[
        str | None, Option("--device", metavar="DEVICE", help="Whose changes; default: this device's.")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="Only show what would be done.")] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Take back what one device did in some time: edits, moves, deletions and new files.

    Old contents become current again as new versions, deleted things come back, new ones go to the trash, moved ones
    go back. What somebody else has changed since stays, and is named. Nothing is lost: an undo can be undone.

    Examples:

      strata undo --since 2h --dry-run

      strata undo --since 2026-11-22T14:00 --until 2026-11-22T15:30 --device 4f1c…
    """
    screen = common.screen
    now = datetime.now(UTC)
    start, end = parse_moment(since, now), parse_moment(until, now) if until else now
    if end < start:
        raise Misuse("--until is before --since")
    with logged_in(common.place, Event()) as api:
        # What an ended device did can be undone too: it is in no list any more, so a whole id is taken as it is.
        whole = device is None or len(device) == ID_LENGTH
        whose = (device or api.device_id) if whole else find(api.devices(), device or "").device_id
        planned = api.undo(whose, start, end, dry_run=True)
        if dry_run or not planned.undone_count:
            _show(screen, planned, done=False)
            return
        if not yes:
            _confirm(screen, planned)
        _show(screen, api.undo(whose, start, end, dry_run=False), done=True)


def parse_moment(text: str, now: datetime) -> datetime:
    """A time in UTC: a span back from `now` (`90s`, `30m`, `2h`, `3d`, `1w`), or an ISO 8601 time, by default local.

    Raises Misuse for anything else.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misuse(f"{text!r} is no time: write 30m, 2h, 3d, or 2026-01-31T14:00") from None


def _confirm(screen: Screen, planned: Undone) -> None:
    if screen.as_json or not screen.at_terminal:
        raise Misuse("there is nobody to ask: look at it with --dry-run, then say --yes")
    _show(screen, planned, done=False)
    if ask(f"Undo these {planned.undone_count:,}? [y/N]: ").lower() not in ("y", "yes"):
        raise Misuse("nothing was done")


def _show(screen: Screen, told: Undone, *, done: bool) -> None:
    if screen.as_json:
        screen.result(_document(told, done=done))
        return
    rows = [
        (", ".join(one.did), one.was or "(in the trash)", (one.path or "(in the trash)") if done else "")
        for one in told.undone
    ]
    columns = ("Done", "Was", "Is now") if done else ("Would be", "Is now")
    if rows:
        screen.table(columns, [row[: len(columns)] for row in rows])
    for one in told.kept:
        screen.note(f"{one.path or one.id} stays: {one.reason}")
    hidden = told.undone_count - len(told.undone) + told.kept_count - len(told.kept)
    if hidden:
        screen.note(f"and {hidden:,} more")
    if not told.undone_count:
        screen.note("there is nothing to undo")


def _document(told: Undone, *, done: bool) -> Document:
    return {
        "done": done,
        "undone_count": told.undone_count,
        "kept_count": told.kept_count,
        "undone": [
            {"id": one.id, "kind": one.kind, "was": one.was, "path": one.path, "did": list(one.did)}
            for one in told.undone
        ],
        "kept": [{"id": one.id, "path": one.path, "reason": one.reason} for one in told.kept],
    }
