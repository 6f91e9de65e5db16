"""Putting one block straight into storage, with a grant from the server.

The grant's URL is the permission, on another host than the API's: nothing of the login goes there. And it is
a secret, so it stands in no message. It can fill one name once; whatever lands there is looked at by the
server before anybody can read it, so an answer of the storage means delivered, and not yet accepted.
"""

from threading import Event

from client.errors import Stopped, Unexpected, Unreachable
from client.http import Exchanges
from client.http_addresses import Unsendable
from client.http_answers import Answer, HttpFailure
from client.retrying import WORTH_ANOTHER_READ, Patience, parse_retry_after
from client.transport import pause_before_retry
from client.wire import Grant

_NAME_IS_FILLED = ("UnauthorizedBlobOverwrite", "AuthorizationPermissionMismatch")
"""How Azure and Azurite word, with status 403, that a right to create isn't one to overwrite what is there. A grant
that has expired is an AuthenticationFailed. If the second one should mean something else (the server's own rights don't
reach that far), nothing arrives, nobody takes it over, and the gateway gets the block in the end."""


class GrantRefused(Exception):
    """The URL gives access no more: another grant may."""


class BlockPutter:
    """Puts content behind URLs with a client of its own, which knows nothing of the login."""

    def __init__(self, http: Exchanges, stop: Event, patience: Patience | None = None) -> None:
        self._http = http
        self._stop = stop
        self._patience = patience or Patience()

    def put(self, grant: Grant, content: bytes) -> None:
        """Deliver a block's plain bytes; raises GrantRefused, Unreachable after retries, Unexpected, Stopped.

        A name that is filled already is a delivery whose answer got lost.
        """
        failures = 0
        while True:
            if self._stop.is_set():
                raise Stopped
            retry_after: float | None = None
            try:
                answer = self._http.request(grant.method, grant.url, headers=grant.headers, body=content)
            except Unsendable:
                raise Unexpected("a grant names a place that can't be written to") from None
            except HttpFailure as error:
                trouble = Unreachable(f"the storage can't be reached ({error})")
            else:
                if _delivered(answer):
                    return
                if answer.status in (401, 403):
                    raise GrantRefused
                if answer.status not in WORTH_ANOTHER_READ:
                    raise Unexpected(f"the storage answers {answer.status} to a block")
                trouble = Unreachable(f"the storage answers {answer.status}")
                retry_after = parse_retry_after(answer.headers.get("retry-after"))
            failures += 1
            pause_before_retry(self._patience, failures, retry_after, self._stop, trouble)


def _delivered(answer: Answer) -> bool:
    refusal = answer.headers.get("x-ms-error-code")
    return answer.status in (201, 409) or (answer.status == 403 and refusal in _NAME_IS_FILLED)
