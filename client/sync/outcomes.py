"""What came of each action: written down, counted, and remembered for the rest of the run."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Lock

from client.errors import CommandFailed, LocalProblem
from client.sync.actions import (
    Action,
    DeleteLocal,
    DeleteRemote,
    Forget,
    MakeFolderLocal,
    MakeFolderRemote,
    MoveLocal,
    MoveRemote,
    Record,
)
from client.sync.base_rows import BaseChange
from client.sync.contents import Read
from client.sync.decisions import Trees, decision, node_of, path_of
from client.sync.ledger import Ledger
from client.sync.local_changes import Outdated
from client.sync.run_outcome import shown_path
from client.sync.tally import Tally
from client.sync.trees import Names
from shared.domain.ids import NodeId

OUTDATED_TRIES = 3
"""How often an action may meet something else than was planned with, before its node is left for the next run."""


class Stuck:
    """What can't be done in this run; `keys` are nodes, and paths of what has none."""

    def __init__(self) -> None:
        self._outdated: Counter[NodeId | Names] = Counter()
        self._lock = Lock()
        self.keys: set[NodeId | Names] = set()

    def add(self, action: Action) -> None:
        with self._lock:
            self.keys.add(_key(action))

    def outdated(self, action: Action) -> bool:
        """Note that it wasn't what was planned with; returns whether that has been so too often."""
        with self._lock:
            self._outdated[_key(action)] += 1
            often = self._outdated[_key(action)] >= OUTDATED_TRIES
            if often:
                self.keys.add(_key(action))
        return often


def _key(action: Action) -> NodeId | Names:
    return node_of(action) or path_of(action)


class Outcomes:
    """Told from any thread."""

    def __init__(self, ledger: Ledger, trees: Trees, tally: Tally, stuck: Stuck) -> None:
        self._ledger = ledger
        self._trees = trees
        self._tally = tally
        self._stuck = stuck
        self._lock = Lock()
        self.count = 0
        """Actions that were done."""

    def done(self, action: Action, changes: Sequence[BaseChange], reads: Sequence[Read] = ()) -> None:
        """It is done, and these rows follow from it."""
        with self._lock:
            self.count += 1
        name = _COUNTED.get(type(action))
        if name:
            self._tally.count(name)
        self._ledger.note(decision(action, self._trees, "done", _now()), changes, reads)

    def outdated(self, action: Action, error: Outdated) -> None:
        """Nothing was done, since the plan was made for something else."""
        self._tally.count("outdated")
        self._ledger.note(decision(action, self._trees, f"put off: {error}", _now()))
        if self._stuck.outdated(action):
            path = shown_path(path_of(action))
            self._tally.failed(path, LocalProblem(f"{path}: it keeps changing: {error}", code="changed"))

    def failed(self, action: Action, error: CommandFailed) -> None:
        """It can't be done in this run."""
        self._stuck.add(action)
        self._ledger.note(decision(action, self._trees, f"failed: {error}", _now()))
        self._tally.failed(shown_path(path_of(action)), error)


_COUNTED: dict[type, str] = {
    Record: "recorded",
    Forget: "forgotten",
    MakeFolderLocal: "folders_made_here",
    MakeFolderRemote: "folders_made_there",
    MoveLocal: "moved_here",
    MoveRemote: "moved_there",
    DeleteLocal: "deleted_here",
    DeleteRemote: "deleted_there",
}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
