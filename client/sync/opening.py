"""What a run needs beside the folder that is at hand: two connections, which are counted.

The API and the storage behind signed URLs have a client each, so that nothing of the login goes to the storage. Both
stay open from run to run when the folder is watched. The one for the storage is opened when something is fetched.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Event

from client.api import Api
from client.block_fetching import BlockReader
from client.errors import NotLoggedIn, NotThere
from client.http import Http
from client.place import Place
from client.session import Session
from client.sync.at_hand import AtHand
from client.sync.binding import bind
from client.sync.database import Database
from client.sync.folder import SyncFolder, find_folder
from client.sync.rounds import Line
from client.sync.wire_count import WireMeter
from client.transport import Transport


class Opened:
    """A folder that is ready to be synced, by this process alone."""

    def __init__(self, at: AtHand, meter: WireMeter, api_http: Http, closing: ExitStack, jobs: int) -> None:
        self.folder, self.database = at.folder, at.database
        self.credentials = at.credentials
        self.meter = meter
        self._place = at.place
        self._api_http = api_http
        self._closing = closing
        self._jobs = jobs

    def line(self, stop: Event) -> Line:
        """The server, for one run, which `stop` ends. A login that was renewed meanwhile is taken up.

        Raises NotLoggedIn when somebody else has logged in, or at another server: this folder is not theirs.
        """
        credentials = self._place.credentials_file.read() or self.credentials
        mine = (self.credentials.url, self.credentials.user_id)
        if (credentials.url, credentials.user_id) != mine:
            raise NotLoggedIn(
                f"{credentials.username} has logged in here meanwhile: this folder belongs to "
                f"{self.credentials.username} at {self.credentials.url}"
            )
        transport = Transport(self._api_http, self.credentials.url, stop)
        api = Api(Session(transport, self._place.credentials_file, credentials))
        return Line(api, lambda: BlockReader(self._storage, stop), stop)

    @cached_property
    def _storage(self) -> Http:
        http = self._closing.enter_context(Http(self._jobs))
        self.meter.attach(http)
        return http


@contextmanager
def opened(at: AtHand, meter: WireMeter, *, jobs: int, accept_folder: bool = False) -> Iterator[Opened]:
    """Make the folder ready for runs; what goes over the line is told to `meter`.

    Raises Conflicting when another login or folder is in the way.
    """
    # One more than the jobs: a watch has one that waits at the server.
    with Http(jobs + 1) as http, ExitStack() as closing:
        login = at.credentials
        bind(at.database, at.folder, url=login.url, user_id=login.user_id, accept_folder=accept_folder)
        meter.attach(http)
        yield Opened(at, meter, http, closing, jobs)


@contextmanager
def remembered(place: Place, given: Path) -> Iterator[tuple[SyncFolder, Database]]:
    """The memory of a folder, for questions; no server is needed. Raises NotThere when it was never synced."""
    folder = find_folder(given)
    path = folder.state_path(place.home)
    if not path.exists():
        raise NotThere(f"{folder.path} has not been synced yet: `strata sync {given}`")
    with Database(path) as database:
        yield folder, database
