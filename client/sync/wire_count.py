"""What a run costs on the line, and how fast it may go.

A sync is judged by the bytes that it moves, so they are counted where they leave: at the HTTP client, behind
compression and including every try. Counted are request and status lines, headers and bodies, as HTTP/1.1 writes
them. TLS records, TCP and the few bytes that frame a chunked answer are not seen from here; they add one to three in a
hundred.

A limit is a bucket that fills at the permitted rate and holds one second's worth: pauses are taken between
pieces of a body, so a limited transfer flows evenly, and ends at once when the run does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock
from time import monotonic

import httpx

from client.errors import Stopped


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


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes a second in each direction, None for as many as there are."""

    up: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class WireCount:
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

    def attach(self, http: httpx.Client) -> None:
        """Count what `http` does from now on."""
        hooks = http.event_hooks
        http.event_hooks = {
            "request": [*hooks["request"], self._sending],
            "response": [*hooks["response"], self._receiving],
        }

    def _sending(self, request: httpx.Request) -> None:
        line = len(request.method) + len(request.url.raw_path) + len("  HTTP/1.1\r\n")
        with self._lock:
            self._calls += 1
        self.went_up(line + _size_of(request.headers))
        if isinstance(request.stream, httpx.SyncByteStream):
            request.stream = _Counted(request.stream, self.went_up)

    def _receiving(self, response: httpx.Response) -> None:
        line = len("HTTP/1.1 200 \r\n") + len(response.reason_phrase)
        self.came_down(line + _size_of(response.headers))
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Counted(response.stream, self.came_down)

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


class _Counted(httpx.SyncByteStream):
    """A body whose pieces are told as they pass."""

    def __init__(self, inner: httpx.SyncByteStream, passed: Callable[[int], None]) -> None:
        self._inner = inner
        self._passed = passed

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            self._passed(len(piece))
            yield piece

    def close(self) -> None:
        self._inner.close()


def _size_of(headers: httpx.Headers) -> int:
    return sum(len(name) + len(value) + len(": \r\n") for name, value in headers.raw) + len("\r\n")
