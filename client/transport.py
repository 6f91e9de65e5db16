"""One HTTP exchange with the API: send, try again while that can help, turn a refusal into an error.

Nothing above this module sees httpx. URLs never appear in messages or logs: those of blocks are signed, and
whoever reads one may read the block.
"""

import logging
import platform
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Event

import httpx
import msgspec

from client.errors import Refused, Stopped, Throttled, Unreachable
from client.refusals import error_of
from client.retrying import WORTH_ANOTHER_TRY, Patience, parse_retry_after

TIMEOUT = httpx.Timeout(60.0, connect=10.0, pool=None)
"""Seconds without a byte. A commit of 100,000 blocks on a slow server takes some; a dead peer takes forever."""

NEVER_REACHED = (httpx.ConnectError, httpx.ConnectTimeout)
"""Failures after which the server certainly did nothing."""


def open_http(connections: int, *, tls: bool = True) -> httpx.Client:
    """A client that keeps up to `connections` connections open; the caller closes it.

    Without `tls` it is for a server that is spoken to in the clear: it knows no certificates, so that any other
    one is refused.
    """
    for name in ("httpx", "httpcore"):  # they log whole URLs
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    agent = f"strata (Python {platform.python_version()}; {platform.system()})"
    return httpx.Client(
        timeout=TIMEOUT,
        limits=limits,
        headers={"User-Agent": agent},
        follow_redirects=False,
        verify=_tls() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )


@cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates takes as long as a short command does otherwise: once is enough.
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the API, `path` relative to its base.

    `repeatable` says that doing it twice is the same as once. A call that isn't is tried again only when the
    server can't have begun it. With `waits_itself` the caller gets a 429 at once, as Throttled: it knows better than a
    pause what to wait for.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True
    waits_itself: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes


class Transport:
    """Sends calls to the API at `base_url`. `stop` ends every pause at once."""

    def __init__(
        self, http: httpx.Client, base_url: str, stop: Event, patience: Patience | None = None
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/") + "/api/"
        self._stop = stop
        self._patience = patience or Patience()

    def send(self, call: Call) -> Reply:
        """Return the answer with a status below 300; raises what `error_of` makes of any other.

        Raises Unreachable when tries are used up or the server asks for a long absence, Stopped when the run ends.
        """
        failures = 0
        while True:
            if self._stop.is_set():
                raise Stopped
            retry_after: float | None = None
            try:
                response = self._http.request(
                    call.method,
                    self._base + call.path,
                    params=call.params or None,
                    headers=_sized(call),
                    content=pieces(call.body) if call.body else None,
                )
            except httpx.TransportError as error:
                if not call.repeatable and not isinstance(error, NEVER_REACHED):
                    raise Unreachable(f"{self._server()} broke off the exchange ({_reason(error)})") from None
                trouble = Unreachable(f"{self._server()} can't be reached ({_reason(error)})")
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Refused(f"the server's address can't be used: {error}", code="bad_url") from None
            else:
                if response.status_code < 300:
                    return Reply(response.status_code, response.content)
                refusal = error_of(response.status_code, response.content, what=f"{call.method} {call.path}")
                refusal.tries = failures + 1
                if response.status_code not in WORTH_ANOTHER_TRY or not isinstance(refusal, Unreachable):
                    raise refusal
                if call.waits_itself and isinstance(refusal, Throttled):
                    raise refusal
                trouble = refusal
                retry_after = parse_retry_after(response.headers.get("Retry-After"))
            failures += 1
            pause_before_retry(self._patience, failures, retry_after, self._stop, trouble)

    def _server(self) -> str:
        url = httpx.URL(self._base)
        return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"


def pause_before_retry(
    patience: Patience, failures: int, retry_after: float | None, stop: Event, trouble: Unreachable
) -> None:
    """Wait as `patience` says; raises `trouble` when it has run out, Stopped when `stop` is set meanwhile."""
    pause = patience.pause(failures, retry_after)
    if pause is None:
        hint = f"; it asks to come back in {retry_after:.0f} s" if retry_after else ""
        raise type(trouble)(f"{trouble}{hint}, after {failures} tries", code=trouble.code)
    if stop.wait(pause):
        raise Stopped


def _sized(call: Call) -> Mapping[str, str]:
    return {**call.headers, "Content-Length": str(len(call.body))} if call.body else call.headers


def pieces(body: bytes) -> Iterator[bytes]:
    """`body` in parts: the HTTP library copies what it is given at once, which should not be a block per thread."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


_PIECE = 256 * 1024


def _reason(error: httpx.TransportError) -> str:
    text = str(error)
    return type(error).__name__ if not text or "://" in text else text


def encode(document: object) -> bytes:
    """JSON for a request's body."""
    return msgspec.json.encode(document)
