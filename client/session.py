"""Calls as somebody: with an access token, which is replaced when it expires.

A refresh token works once. If two processes with the same STRATA_HOME both used it, the server would take the
second use for a thief's and revoke the device. So whoever replaces the token holds the file lock, and reads
the file again first: mostly the other one has done the work.
"""

from datetime import UTC, datetime
from threading import Lock

import msgspec

from client.credentials import Credentials, CredentialsFile
from client.errors import NotLoggedIn
from client.filelock import locked
from client.transport import Call, Reply, Transport, encode
from client.wire import LoggedIn, decode


class Session:
    """Sends calls in the name of `credentials`; any number of threads may use one."""

    def __init__(self, transport: Transport, file: CredentialsFile, credentials: Credentials) -> None:
        self._transport = transport
        self._file = file
        self._lock = Lock()
        self._credentials = credentials

    @property
    def credentials(self) -> Credentials:
        with self._lock:
            return self._credentials

    def send(self, call: Call) -> Reply:
        """As Transport.send; raises NotLoggedIn when the credentials are not accepted any more."""
        current = self.credentials
        if current.expired():
            current = self._replace(current)
        try:
            return self._transport.send(_signed(call, current))
        except NotLoggedIn as refusal:
            if refusal.code not in _TOKEN_REFUSED:
                raise
        return self._transport.send(_signed(call, self._replace(current)))

    def _replace(self, used: Credentials) -> Credentials:
        """Return credentials with another access token than the one `used`, from the file or from the server."""
        with self._lock:
            if self._credentials.access_token != used.access_token:
                return self._credentials
            with locked(self._file.lock_path):
                self._credentials = self._newer(used)
            return self._credentials

    def _newer(self, used: Credentials) -> Credentials:
        stored = self._file.read()
        if stored is None or (stored.url, stored.user_id) != (used.url, used.user_id):
            raise NotLoggedIn("another process has logged out here: log in again with `strata login`")
        if stored.access_token != used.access_token:
            return stored
        asked_at = datetime.now(UTC)
        call = Call(
            "POST", "token/refresh", headers=JSON, body=encode({"refresh_token": stored.refresh_token})
        )
        try:
            reply = self._transport.send(call)
        except NotLoggedIn:
            raise NotLoggedIn(
                "the login has ended: log in again with `strata login`", code="login_expired"
            ) from None
        answer = decode(reply.body, LoggedIn, what="refreshing the login")
        fresh = Credentials.of(
            answer, url=stored.url, username=stored.username, user_id=stored.user_id, asked_at=asked_at
        )
        self._file.write(fresh)
        return fresh


_TOKEN_REFUSED = ("invalid_token", "unauthenticated", NotLoggedIn.default_code)
"""Codes of a 401 that another token may change; the last is that of an answer without a problem document."""

JSON = {"Content-Type": "application/json"}


def _signed(call: Call, credentials: Credentials) -> Call:
    return msgspec.structs.replace(
        call, headers={**call.headers, "Authorization": f"Bearer {credentials.access_token}"}
    )
