"""HTTP as the command speaks it: requests with whole bodies, from many threads, over connections that are kept.

Nothing is followed and no error raised for a status: an answer is an answer. ADR 22 says why this isn't a library.
"""

import sys
from collections.abc import Mapping
from threading import BoundedSemaphore, Lock
from time import monotonic
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlencode

from client.http_addresses import Url, Way, way_to
from client.http_answers import LONGEST, Answer, HttpFailure, Meter, Taker, TimedOut
from client.http_connection import Connection

KEPT = 5.0
"""Seconds for which a connection is kept that nobody uses: some servers (Node's) wait no longer."""

_AGENT = f"strata (Python {'.'.join(map(str, sys.version_info[:3]))}; {sys.platform})"


class Exchanges(Protocol):
    """Whoever can carry out an HTTP request; any number of threads may ask."""

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        repeatable: bool = True,
        most: int = LONGEST,
        into: Taker | None = None,
    ) -> Answer:
        """Return the answer, whatever its status.

        One that is not `repeatable` is sent once at most. A body may have `most` bytes, that of a refusal some more.
        With `into`, the bytes of a range (206) are handed on as they come, once each, even if the exchange fails then.
        Raises Unsendable, NeverReached when the server certainly did nothing, TooLong, HttpFailure.
        """


class Http:
    """Carries requests out over at most `connections` connections at once; a context manager.

    The connections that are kept are closed at its end; one that is in use then, by whoever uses it. A `meter` that is
    set hears of everything that goes over the line.
    """

    def __init__(self, connections: int) -> None:
        self.meter: Meter | None = None
        self._most = connections
        self._room = BoundedSemaphore(connections)
        self._lock = Lock()
        self._kept: list[tuple[Way, Connection, float]] = []
        self._ways: dict[object, Way] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, []
        for _, connection, _ in kept:
            connection.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        repeatable: bool = True,
        most: int = LONGEST,
        into: Taker | None = None,
    ) -> Answer:
        """As Exchanges says."""
        parsed = Url.of(url)
        target = parsed.target
        if params:
            target += ("&" if "?" in target else "?") + urlencode(params)
        way = self._ways.get(parsed.server)
        if way is None:
            way = self._ways[parsed.server] = way_to(parsed.server)
        lines = {
            "Host": parsed.server.name,
            "User-Agent": _AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            **(headers or {}),
        }
        if body or method != "GET":
            lines["Content-Length"] = str(len(body))
        with self._room:
            kept = self._take(way) if repeatable else None
            if kept:
                try:
                    return self._use(way, kept, method, target, lines, body, most, into)
                except HttpFailure as error:
                    # Mostly it ended while nobody used it, and so did those that were kept beside it.
                    self._let_go(way)
                    if kept.answering or isinstance(error, TimedOut):
                        raise
            answer = self._use(way, Connection(way), method, target, lines, body, most, into)
        return answer._replace(tries=2) if kept else answer

    def _use(
        self,
        way: Way,
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        most: int,
        into: Taker | None,
    ) -> Answer:
        try:
            answer = connection.exchange(
                method, target, headers, body, most=most, into=into, meter=self.meter
            )
        except BaseException:
            connection.close()
            raise
        self._keep(way, connection, answer.stays)
        return answer

    def _take(self, way: Way) -> Connection | None:
        """The connection that was used last of those to a server; closed are those that are too old, or have ended."""
        found = None
        with self._lock:
            now = monotonic()
            done = [each for each in self._kept if now - each[2] > KEPT]
            self._kept = [each for each in self._kept if now - each[2] <= KEPT]
            for each in [each for each in reversed(self._kept) if each[0] == way]:
                self._kept.remove(each)
                if each[1].is_quiet:
                    found = each[1]
                    break
                done.append(each)
        for _, connection, _ in done:
            connection.close()
        return found

    def _keep(self, way: Way, connection: Connection, stays: bool) -> None:
        surplus = connection
        with self._lock:
            if stays and not self._closed:
                self._kept.append((way, connection, monotonic()))
                if len(self._kept) <= self._most:
                    return
                surplus = self._kept.pop(0)[1]
        surplus.close()

    def _let_go(self, way: Way) -> None:
        with self._lock:
            gone = [each for each in self._kept if each[0] == way]
            self._kept = [each for each in self._kept if each[0] != way]
        for _, connection, _ in gone:
            connection.close()
