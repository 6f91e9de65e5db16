"""From the options of a command to the API: which server, as whom."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from client.api import Accounts, Api
from client.http import Http
from client.place import Place
from client.retrying import Patience
from client.session import Session
from client.transport import Transport


@contextmanager
def anonymous(url: str) -> Iterator[Accounts]:
    """The calls without a login."""
    with Http(1) as http:
        yield Accounts(Transport(http, url, Event()))


@contextmanager
def logged_in(
    place: Place, stop: Event, *, connections: int = 1, patience: Patience | None = None
) -> Iterator[Api]:
    """The calls of who is logged in at the place's server; raises NotLoggedIn when nobody is.

    Tokens for one server are never shown to another: naming another server is as good as having no login.
    """
    credentials = place.login()
    with Http(connections) as http:
        yield Api(
            Session(Transport(http, credentials.url, stop, patience), place.credentials_file, credentials)
        )
