"""From the options of a command to the API: which server, as whom."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx

from client.api import Accounts, Api
from client.credentials import Credentials, CredentialsFile
from client.errors import NotLoggedIn, Refused
from client.retrying import Patience
from client.session import Session
from client.transport import Transport, open_http

DEFAULT_URL = "http://127.0.0.1:7071"


@dataclass(frozen=True, slots=True)
class Place:
    """The server that was named, None when none was, and the folder with the credentials."""

    url: str | None
    home: Path

    @property
    def credentials_file(self) -> CredentialsFile:
        return CredentialsFile(self.home)

    def server(self, credentials: Credentials | None) -> str:
        """The named server, else the one of the login, else the default; raises Refused for no http(s) URL."""
        url = self.url or (credentials.url if credentials else DEFAULT_URL)
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise Refused(f"the server's address can't be used: {error}", code="bad_url") from None
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
            raise Refused("the server's address must look like https://files.example.org", code="bad_url")
        return str(parsed).rstrip("/")


@contextmanager
def anonymous(url: str) -> Iterator[Accounts]:
    """The calls without a login."""
    with _http_to(url, 1) as http:
        yield Accounts(Transport(http, url, Event()))


@contextmanager
def logged_in(
    place: Place, stop: Event, *, connections: int = 1, patience: Patience | None = None
) -> Iterator[Api]:
    """The calls of who is logged in at the place's server; raises NotLoggedIn when nobody is.

    Tokens for one server are never shown to another: naming another server is as good as having no login.
    """
    credentials = login_at(place)
    with _http_to(credentials.url, connections) as http:
        yield Api(
            Session(Transport(http, credentials.url, stop, patience), place.credentials_file, credentials)
        )


def login_at(place: Place) -> Credentials:
    """The login for the place's server; raises NotLoggedIn when nobody is, or at another server."""
    credentials = place.credentials_file.read()
    if credentials is None:
        raise NotLoggedIn("nobody is logged in here: use `strata login`")
    url = place.server(credentials)
    if url != credentials.url:
        raise NotLoggedIn(f"the login here is for {credentials.url}: use `strata login` for {url}")
    return credentials


def _http_to(url: str, connections: int) -> httpx.Client:
    # Reading the certificates takes longer than a short command does otherwise.
    return open_http(connections, tls=url.startswith("https:"))
