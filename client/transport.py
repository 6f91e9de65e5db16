"""One HTTP exchange with the API: send, try again while that can help, turn a refusal into an error.

URLs never appear in messages or logs: those of blocks are signed, and
whoever reads one may read the block.
"""

from collections.abc import Mapping
from threading import Event

import msgspec

from client.errors import Refused, Stopped, Throttled, Unreachable
from client.http import Exchanges
from client.http_addresses import Unsendable, Url
from client.http_answers import HttpFailure, NeverReached
from client.refusals import error_of
from client.retrying import WORTH_ANOTHER_TRY, Patience, parse_retry_after


class Call(msgspec.Struct, frozen=True):
    """A request to the API, `path` relative to its base.

    `repeatable` says that doing it twice is the same as once. A call that isn't is tried again only when the
    server can't have begun it. With `waits_itself` the caller gets a 429 at once, as Throttled: it knows better than a
    pause what to wait for.
    """

    method: str
    path: str
    params: Mapping[str, str] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True
    waits_itself: bool = False


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes


class Transport:
    """Sends calls to the API at `base_url`. `stop` ends every pause at once."""

    def __init__(self, http: Exchanges, base_url: str, stop: Event, patience: Patience | None = None) -> None:
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
                answer = self._http.request(
                    call.method,
                    self._base + call.path,
                    params=call.params,
                    headers=call.headers,
                    body=call.body or b"",
                    repeatable=call.repeatable,
                )
            except HttpFailure as error:
                if not call.repeatable and not isinstance(error, NeverReached):
                    raise Unreachable(f"{self._server} broke off the exchange ({error})") from None
                trouble = Unreachable(f"{self._server} can't be reached ({error})")
            except Unsendable as error:
                raise Refused(f"the server's address can't be used: {error}", code="bad_url") from None
            else:
                body = bytes(answer.body)
                if answer.status < 300:
                    return Reply(answer.status, body)
                refusal = error_of(answer.status, body, what=f"{call.method} {call.path}")
                refusal.tries = failures + answer.tries
                if answer.status not in WORTH_ANOTHER_TRY or not isinstance(refusal, Unreachable):
                    raise refusal
                if call.waits_itself and isinstance(refusal, Throttled):
                    raise refusal
                trouble = refusal
                retry_after = parse_retry_after(answer.headers.get("retry-after"))
            failures += 1
            pause_before_retry(self._patience, failures, retry_after, self._stop, trouble)

    @property
    def _server(self) -> str:
        return str(Url.of(self._base).server)


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


def encode(document: object) -> bytes:
    """JSON for a request's body."""
    return msgspec.json.encode(document)
