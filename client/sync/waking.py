"""What makes a watched folder sync: something changed here, something changed on the server, or it is time to look.

Three sources, each in a thread, wake one sleeper. Hints may get lost (the operating system drops events when too many
come at once) or come for nothing; so they only decide *when* to look, never what is seen, and now and then a look is
taken without any.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Condition, Event, Thread
from time import monotonic
from typing import Protocol

from client.api import Api
from client.errors import CommandFailed, NotThere
from client.retrying import chance
from client.sync.cadence import Cadence
from client.sync.database import Database
from client.sync.ignoring import is_part

RESCAN = 600.0
"""Seconds after which a look is taken without a hint."""

_GATHER_MS = 150
"""Milliseconds for which the operating system's events are gathered into one hint."""


_ATTENTION_MS = 500
"""Milliseconds after which the watching thread looks whether it is to end."""

_SOON = 0.2
"""Seconds between looks whether a run has followed the journal."""

_GOODBYE = 1.0
"""Seconds that the end of a watch waits for each thread."""


class RemoteChange(Protocol):
    """Somebody who hears of changes on the server."""

    def wait(self, stop: Event) -> bool:
        """Wait, as long as it takes or not, until `stop` is set; whether something may have changed meanwhile."""
        ...


class Polling:
    """Asks the journal every `interval` seconds whether it has gone on."""

    def __init__(self, api: Callable[[Event], Api], database: Database, interval: float) -> None:
        self._api = api
        self._database = database
        self._interval = interval

    def wait(self, stop: Event) -> bool:
        """As RemoteChange; a server that can't be asked counts as changed, since the next run says what is wrong."""
        if stop.wait(self._interval):
            return False
        try:
            page = self._api(stop).changes(self._database.get("cursor"), limit=1)
        except CommandFailed:
            return True
        return bool(page.changes)


class Listening:
    """Waits at the server until the journal goes on; asks like `Polling` where a server can't tell by itself.

    After a failure it stays away for half of `interval` to all of it, as `jitter` (0 to 1) says, since a server that
    comes back would otherwise meet all devices at once.
    """

    def __init__(
        self,
        api: Callable[[Event], Api],
        database: Database,
        interval: float,
        jitter: Callable[[], float] = chance,
    ) -> None:
        self._api = api
        self._database = database
        self._interval = interval
        self._jitter = jitter
        self._polling: Polling | None = None
        self._told: str | None = None
        self._told_at = 0.0

    def wait(self, stop: Event) -> bool:
        """As RemoteChange, once the first run has a cursor.

        What was told is told again when the run that it woke has followed the journal, or after `interval` seconds.
        """
        if self._polling is not None:
            return self._polling.wait(stop)
        try:
            cursor = self._database.get("cursor")
            if cursor is None or (cursor == self._told and monotonic() < self._told_at + self._interval):
                stop.wait(_SOON)
                return False
            told = self._api(stop).wait_for_changes(cursor)
        except NotThere:
            self._polling = Polling(self._api, self._database, self._interval)
            return False
        except CommandFailed:
            return not stop.wait(self._stay_away())
        if told.changed:
            self._told, self._told_at = cursor, monotonic()
        elif told.superseded:
            # Another process of this device listens: two that end each other in turn would keep the server busy.
            return not stop.wait(self._stay_away())
        return told.changed

    def _stay_away(self) -> float:
        return self._interval * (1 + self._jitter()) / 2


class Waker:
    """Gathers hints until a run is due. A context manager: leaving it ends the threads."""

    def __init__(self, root: Path, remote: RemoteChange, *, on_blind: Callable[[str], None]) -> None:
        """`on_blind` is told when the folder can't be watched: then only the clock and the server wake."""
        self._root = root
        self._remote = remote
        self._on_blind = on_blind
        self._stop = Event()
        self._changed = Condition()
        self._cadence = Cadence()
        self._remote_changed = False
        self._rescan_every = RESCAN
        self._threads = [Thread(target=work, daemon=True) for work in (self._watch, self._listen)]

    def __enter__(self) -> "Waker":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:  # they use what is closed after this
            thread.join(_GOODBYE)

    def wait(self, *, pause: float | None = None) -> None:
        """Return when a run is due: after `pause` seconds, whatever happens, or without one when there is a hint."""
        began = monotonic()
        with self._changed:
            while True:
                now = monotonic()
                due = began + (self._rescan_every if pause is None else pause)
                if pause is None and self._cadence.due_at is not None:
                    due = min(due, self._cadence.due_at)
                if pause is None and self._remote_changed:
                    due = now
                if due <= now:
                    break
                self._changed.wait(due - now)
            self._cadence.synced()
            self._remote_changed = False

    def _watch(self) -> None:
        # It takes a moment to load, and only this command needs it.
        from watchfiles import watch

        try:
            for _ in watch(
                self._root,
                watch_filter=lambda _, path: not is_part(Path(path).name),
                debounce=_GATHER_MS,
                stop_event=self._stop,
                rust_timeout=_ATTENTION_MS,
                raise_interrupt=False,
            ):
                with self._changed:
                    self._cadence.changed(monotonic())
                    self._changed.notify_all()
        except (OSError, RuntimeError) as error:
            with self._changed:
                self._rescan_every = min(self._rescan_every, 60.0)
                self._changed.notify_all()
            self._on_blind(str(error))

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._remote.wait(self._stop):
                with self._changed:
                    self._remote_changed = True
                    self._changed.notify_all()
