"""Seeing at a glance that nothing has changed, which is what most runs of a sync come to.

Whoever runs `strata sync` from a timer pays for its start each time. This needs one question to the server and one
look at the folder's marks, and loads nothing of what plans and carries out. Whatever is not as simple as that is left
to a whole run, which begins where this has ended.
"""

import json
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from threading import Thread
from typing import Any

from client.credentials import Credentials
from client.http import Http
from client.http_addresses import Unsendable
from client.http_answers import HttpFailure
from client.place import Place
from client.sync.binding import is_bound
from client.sync.database import Database
from client.sync.digest import digest_of
from client.sync.folder import find_folder, only_one
from client.sync.ignoring import IGNORE_FILE
from client.sync.run_outcome import Outcome
from client.sync.settled import keep_as_it_is, kept
from client.sync.wire_count import WireMeter


class Glance(Enum):
    UNCHANGED = auto()
    """Neither side has changed since the last run, which had left nothing open; the outcome says so."""
    CHANGED_HERE = auto()
    """The server has nothing new: the tree that is remembered is its tree."""
    UNKNOWN = auto()


def glance(place: Place, given: Path, meter: WireMeter, outcome: Outcome) -> Glance:
    """Look at both sides. Raises NotLoggedIn, LocalProblem, and Conflicting when another process is at it."""
    credentials, folder = place.login(), find_folder(given)
    path = folder.state_path(place.home)
    if credentials.expired() or not path.exists() or (folder.path / IGNORE_FILE).exists():
        return Glance.UNKNOWN
    with only_one(folder, place.home), Database(path) as database:
        state, cursor = kept(database), database.get("cursor")
        bound = is_bound(database, folder, url=credentials.url, user_id=credentials.user_id)
        if state is None or cursor is None or not bound:
            return Glance.UNKNOWN
        digest, answer = _look(folder.path, credentials, cursor, meter)
        if answer is None or answer.get("changes") != [] or answer.get("has_more") is not False:
            return Glance.UNKNOWN
        if digest != state.digest:
            return Glance.CHANGED_HERE
        state.tell(outcome)
        keep_as_it_is(folder.lock_path(place.home))
    return Glance.UNCHANGED


def _look(
    folder: Path, credentials: Credentials, cursor: str, meter: WireMeter
) -> tuple[str | None, Mapping[str, Any] | None]:
    """The folder's digest, and meanwhile the journal behind `cursor`: None when it can't be had at the first try."""
    answers: list[Mapping[str, Any]] = []

    def ask() -> None:
        try:
            answer = http.request(
                "GET",
                f"{credentials.url}/api/changes",
                params={"cursor": cursor, "limit": "1"},
                headers={"Authorization": f"Bearer {credentials.access_token}"},
            )
            document = json.loads(answer.body) if answer.status == 200 else None
        except (HttpFailure, Unsendable, ValueError):
            return  # the whole run tries again, and says what is wrong
        if isinstance(document, dict):
            answers.append(document)

    with Http(1) as http:
        meter.attach(http)
        asking = Thread(target=ask, daemon=True, name="strata-glance")
        asking.start()
        digest = digest_of(folder, None)
        asking.join()
    return digest, answers[0] if answers else None
