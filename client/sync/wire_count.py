"""What a run costs on the line, and how fast it may go.

A sync is judged by the bytes that it moves, so they are counted where they leave: at the HTTP client, behind
compression and including every try. Counted is everything that HTTP/1.1 writes. TLS records and TCP are not seen from
here; they add one to three in a hundred.

A limit is a bucket that fills at the permitted rate and holds one second's worth: pauses are taken between
pieces of a body, so a limited transfer flows evenly, and ends at once when the run does.
"""

from threading import Event, Lock
from time import monotonic
from typing import NamedTuple

from client.errors import Stopped
from client.http import Http


class Bucket:
    """Lets `rate` bytes a second pass, a second's worth at once; any number of threads may share one."""

    def __init__(self, rate: float, stop: Event) -> None:
        self._rate = rate
        self._stop = stop
        self._lock = Lock()
        self._full_at = monotonic()

    def take(self, size: int) -> None:
        """Wait until `size` bytes may pass; raises Stopped when the run ends meanwhile."""
        with self._lock:
            now = monotonic()
            # The moment at which the bucket is full again tells how much is in it now, also when that is a debt.
            self._full_at = max(self._full_at, now) + size / self._rate
            pause = self._full_at - now - 1.0
        if pause > 0 and self._stop.wait(pause):
            raise Stopped


class Limits(NamedTuple):
    """Bytes a second in each direction, None for as many as there are."""

    up: float | None = None
    down: float | None = None


_PIECE = 64 * 1024
"""Bytes between pauses, where there is a limit."""


class WireCount(NamedTuple):
    """Bytes `sent` and `received`, and `calls`, tries included."""

    sent: int = 0
    received: int = 0
    calls: int = 0


class WireMeter:
    """Counts (and slows down) what the HTTP clients send and receive that it was attached to.

    What it has counted is in `count`.
    """

    def __init__(self, stop: Event, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._lock = Lock()
        self._up = Bucket(limits.up, stop) if limits.up else None
        self._down = Bucket(limits.down, stop) if limits.down else None
        self._sent = 0
        self._received = 0
        self._calls = 0

    @property
    def count(self) -> WireCount:
        """Everything since the meter was made."""
        with self._lock:
            return WireCount(self._sent, self._received, self._calls)

    def since(self, before: WireCount) -> WireCount:
        """What has come to `before` since then."""
        now = self.count
        return WireCount(now.sent - before.sent, now.received - before.received, now.calls - before.calls)

    def attach(self, http: Http) -> None:
        """Count what `http` does from now on."""
        http.meter = self

    @property
    def piece(self) -> int | None:
        return _PIECE if self._up or self._down else None

    def calling(self) -> None:
        with self._lock:
            self._calls += 1

    def went_up(self, size: int) -> None:
        with self._lock:
            self._sent += size
        if self._up:
            self._up.take(size)

    def came_down(self, size: int) -> None:
        with self._lock:
            self._received += size
        if self._down:
            self._down.take(size)
