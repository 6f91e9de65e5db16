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
from typing import Any, NamedTuple

from client.credentials import Credentials
from client.http import Http
from client.http_addresses import Unsendable
from client.http_answers import HttpFailure
from client.sync.at_hand import AtHand
from client.sync.binding import is_bound
from client.sync.digest import Walk, digest_of
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


class Seen(NamedTuple):
    """What a glance has come to, and for a folder that has changed the walk through it."""

    what: Glance
    walk: Walk | None = None


def glance(at: AtHand, meter: WireMeter, outcome: Outcome) -> Seen:
    """Look at both sides."""
    folder, database, login = at.folder, at.database, at.credentials
    state, cursor = kept(database), database.get("cursor")
    if state is None or cursor is None or login.expired() or (folder.path / IGNORE_FILE).exists():
        return Seen(Glance.UNKNOWN)
    if not is_bound(database, folder, url=login.url, user_id=login.user_id):
        return Seen(Glance.UNKNOWN)
    walk = Walk()
    answer = _look(folder.path, walk, login, cursor, meter)
    if answer is None or answer.get("changes") != [] or answer.get("has_more") is not False:
        return Seen(Glance.UNKNOWN)
    if walk.digest != state.digest:
        return Seen(Glance.CHANGED_HERE, walk)
    state.tell(outcome)
    keep_as_it_is(folder.lock_path(at.place.home))
    return Seen(Glance.UNCHANGED)


def _look(
    folder: Path, walk: Walk, credentials: Credentials, cursor: str, meter: WireMeter
) -> Mapping[str, Any] | None:
    """Walk through the folder, and meanwhile ask for the journal behind `cursor`: None when it can't be had at once."""
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
        walk.digest = digest_of(folder, None, walk)
        asking.join()
    return answers[0] if answers else None
