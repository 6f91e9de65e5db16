"""When to sync a folder that is being worked in.

Syncing at every save sends a file again and again that is saved every second; waiting a fixed time makes everybody
wait who saves once. So the wait follows the work: T = min(T/2 + dt/2 + e, Tmax), dt being the time between the last
two saves. With regular saves T comes to dt + 2e: a little more than the pause between them, so that a burst is gathered
until it ends, and a single save goes out almost at once. (The adaptive deferment of Li et al., "Efficient Batched
Synchronization in Dropbox-like Cloud Storage Services", Middleware 2013.)

A file that is written without end would wait without end; so there is a longest wait, too.
"""


class Cadence:
    """Gathers changes; all times in seconds, of any clock that doesn't go backwards."""

    def __init__(self, *, extra: float = 0.25, most: float = 10.0, longest: float = 60.0) -> None:
        """`extra` is the formula's e, `most` its Tmax, and `longest` how long the oldest change may wait at all."""
        self._extra = extra
        self._most = most
        self._longest = longest
        self._wait = extra
        self._first: float | None = None
        self._last: float | None = None

    @property
    def wait(self) -> float:
        """T: how long after the latest change a sync begins, if nothing else changes."""
        return self._wait

    @property
    def due_at(self) -> float | None:
        """When to sync; None while nothing has changed."""
        if self._first is None or self._last is None:
            return None
        return min(self._last + self._wait, self._first + self._longest)

    def changed(self, now: float) -> None:
        """Something was saved."""
        since = now - self._last if self._last is not None else 0.0
        self._wait = min(self._wait / 2 + since / 2 + self._extra, self._most)
        self._last = now
        if self._first is None:
            self._first = now

    def synced(self) -> None:
        """What had changed is on its way; T is remembered, since people work on as they did."""
        self._first = None
