"""One connection to a server, and the exchanges on it: HTTP/1.1 over a socket, through a proxy and TLS where needed."""

import os
import select
import socket
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from client.http_addresses import Server, Unsendable, Way
from client.http_answers import Answer, HttpFailure, Meter, NeverReached, Receiving, Taker, TimedOut

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT = 10.0
SILENCE = 60.0
"""Seconds without a byte. A commit of 100,000 blocks on a slow server takes some; a dead peer takes forever."""

_TOGETHER = 64 * 1024
"""Bytes of a body up to which it is written together with its head."""


class Connection:
    """An open connection; one exchange at a time. Whoever opened it closes it, always after a failure.

    `answering` tells whether the exchange that failed had brought a byte of its answer.
    """

    def __init__(self, way: Way) -> None:
        """Connect; raises NeverReached."""
        self._way = way
        self._absolute = way.proxy and way.server.scheme == "http"
        self._socket = _dial(way.dialled)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answering = False
        try:
            if way.server.scheme == "https":
                if way.proxy:
                    self._make_tunnel(way)
                self._socket = tls().wrap_socket(self._socket, server_hostname=way.server.host)
            self._socket.settimeout(SILENCE)
        except (OSError, HttpFailure) as error:
            self.close()
            raise NeverReached(_reason(error)) from None

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        most: int,
        into: Taker | None = None,
        meter: Meter | None,
    ) -> Answer:
        """Send a request and return its answer, whose body may have `most` bytes; `into` as for `Receiving.answer`.

        What the server says of a request that it doesn't read to its end is an answer too. Raises HttpFailure, among
        them TimedOut and TooLong, and Unsendable.
        """
        receiving = Receiving(self._socket, meter)
        if self._absolute:
            target = f"{self._way.server}{target}"
            headers = {**headers, **_login(self._way)}
        if meter:
            meter.calling()
        try:
            broken = self._send(_head(method, target, headers), body, meter)
            try:
                answer = receiving.answer(most, into)
            except (HttpFailure, OSError):
                if broken:
                    raise broken from None
                raise
        except TimeoutError as error:
            raise TimedOut(_reason(error)) from None
        except OSError as error:
            raise HttpFailure(_reason(error)) from None
        finally:
            self.answering = receiving.begun
        return answer._replace(stays=False) if broken else answer

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come since the last answer. What has is the connection's end, or no answer to what is
        asked next."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()

    def _send(self, head: bytes, body: bytes, meter: Meter | None) -> OSError | None:
        """Send all of it, or return how the server cut it short."""
        if len(body) <= _TOGETHER:
            head, body = head + body, b""
        try:
            for part in (head, body):
                for piece in _pieces(part, meter.piece if meter else None):
                    if meter:
                        meter.went_up(len(piece))
                    self._put(piece)
        except TimeoutError:
            raise
        except OSError as error:
            return error
        return None

    def _put(self, piece: bytes | memoryview) -> None:
        # Unlike `sendall`, whose time-out is one for all of it: on a slow line a large body takes longer.
        left = memoryview(piece)
        while left:
            left = left[self._socket.send(left) :]

    def _make_tunnel(self, way: Way) -> None:
        to = way.server.address
        broken = self._send(_head("CONNECT", to, {"Host": to, **_login(way)}), b"", None)
        if broken:
            raise broken
        status, _ = Receiving(self._socket, None).head()
        if not 200 <= status < 300:
            raise HttpFailure(f"the proxy answers {status}")


@cache
def tls() -> "ssl.SSLContext":
    """Verifies servers with the certificates of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else with those of certifi.

    Reading them takes longer than a short command does otherwise: it is done once, and only where it is needed.
    """
    import ssl

    import certifi

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    context = ssl.create_default_context(
        cafile=file or (None if folder else certifi.where()), capath=None if file else folder
    )
    context.set_alpn_protocols(["http/1.1"])
    return context


def _dial(server: Server) -> socket.socket:
    # As bytes: a name in ASCII needs none of what translates names, which would have to be loaded.
    address = (server.host.encode("ascii"), server.port)
    try:
        return socket.create_connection(address, CONNECT_TIMEOUT)  # type: ignore[arg-type]
    except OSError as error:
        raise NeverReached(_reason(error)) from None


def _login(way: Way) -> Mapping[str, str]:
    return {"Proxy-Authorization": way.login} if way.login else {}


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1\r\n"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            raise Unsendable(f"the header {name} has an impossible value")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    try:
        return "".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        raise Unsendable("a header has an impossible value") from None


def _pieces(part: bytes, size: int | None) -> Iterable[bytes | memoryview]:
    if size is None or len(part) <= size:
        return (part,) if part else ()
    view = memoryview(part)
    return (view[start : start + size] for start in range(0, len(view), size))


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
