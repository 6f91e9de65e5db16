"""A folder that this process alone is at, with what is remembered of it and the login: what every sync stands on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client.credentials import Credentials
from client.place import Place
from client.sync.database import Database
from client.sync.folder import SyncFolder, find_folder, only_one


class AtHand(NamedTuple):
    place: Place
    credentials: Credentials
    folder: SyncFolder
    database: Database


@contextmanager
def at_hand(place: Place, given: Path) -> Iterator[AtHand]:
    """Take the folder; its memory is new when it has never been synced.

    Raises NotLoggedIn, LocalProblem, and Conflicting when another process is at it.
    """
    credentials, folder = place.login(), find_folder(given)
    with only_one(folder, place.home), Database(folder.state_path(place.home)) as database:
        yield AtHand(place, credentials, folder, database)
