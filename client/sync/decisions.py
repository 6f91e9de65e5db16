"""The last decision about each path, kept for the question why something happened to a file.

Kept with it is what was decided on: what both sides were last, what was here, what was on the server. A decision is
noted together with what came of it, in the transaction that writes the base rows, so that neither is there without
the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from client.sync.actions import Action, Report
from client.sync.database import Database
from client.sync.run_outcome import shown_path
from client.sync.trees import (
    BaseEntry,
    BaseTree,
    Content,
    Kind,
    LocalEntry,
    LocalTree,
    Names,
    RemoteEntry,
    RemoteTree,
)
from shared.domain.ids import NodeId

KEPT = 20_000
"""Decisions, the newest of them: years of an ordinary folder, and some megabytes."""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side of a decision, as it is kept; `size` in bytes."""

    kind: str
    name: str
    size: int | None = None
    root_hash: str | None = None
    version_id: str | None = None


class Decision(msgspec.Struct, frozen=True):
    """What was decided about `path`, and what came of it; times in ISO 8601, UTC."""

    path: str
    decided_at: str
    rule: str
    sentence: str
    action: str
    outcome: str
    base: State | None
    local: State | None
    remote: State | None


class Trees(msgspec.Struct, frozen=True):
    """What a plan was made of."""

    base: BaseTree
    local: LocalTree
    remote: RemoteTree


def decision(action: Action | Report, trees: Trees, outcome: str, now: str) -> Decision:
    """What is to be kept about an action that had this outcome."""
    node, paths = node_of(action), _paths_of(action, trees)
    base = trees.base.get(node) if node else None
    remote = trees.remote.entries.get(node) if node else None
    local = next((trees.local.entries[path] for path in paths if path in trees.local.entries), None)
    return Decision(
        shown_path(paths[0] if paths else ()),
        now,
        action.rule.name,
        action.rule.why,
        type(action).__name__,
        outcome,
        _of_base(base),
        _of_local(local),
        _of_remote(remote),
    )


def node_of(action: Action | Report) -> NodeId | None:
    """The node that an action is about, None for what the server doesn't know yet."""
    entry = getattr(action, "entry", None)
    node: NodeId | None = entry.node_id if entry else getattr(action, "node_id", None)
    return node


def path_of(action: Action | Report) -> Names:
    """The local path that an action is about, as far as it names one."""
    for name in ("local_path", "source", "path"):
        path: Names | None = getattr(action, name, None)
        if path is not None:
            return path
    return ()


def _paths_of(action: Action | Report, trees: Trees) -> list[Names]:
    path = path_of(action)
    if path:
        return [path]
    node = node_of(action)
    if node is None:
        return []
    return [names_of(trees.base, node) or names_of(trees.remote.entries, node)]


def names_of(tree: Mapping[NodeId, BaseEntry] | Mapping[NodeId, RemoteEntry], node: NodeId) -> Names:
    """The path of a node of the base or of the remote tree; what is above an unknown parent is left out."""
    names: list[str] = []
    here: NodeId | None = node
    while here is not None and here in tree and len(names) < 1_000:
        entry = tree[here]
        names.append(entry.name)
        here = entry.parent_id
    return tuple(reversed(names))


class Decisions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, decisions: Iterable[Decision]) -> None:
        rows = [
            (
                *(d.path, d.decided_at, d.rule, d.sentence, d.action, d.outcome),
                *(_dump(state) for state in (d.base, d.local, d.remote)),
            )
            for d in decisions
        ]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def trim(self) -> None:
        """Let go of the oldest."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM decisions WHERE decided_at < (SELECT decided_at FROM decisions"
                " ORDER BY decided_at DESC LIMIT 1 OFFSET ?)",
                (KEPT - 1,),
            )

    def about(self, path: str) -> Decision | None:
        """The last decision about a path, without a leading slash."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM decisions WHERE path = ?", (path,)).fetchone()
        return _load(row) if row else None


def _load(row: tuple[Any, ...]) -> Decision:
    *texts, base, local, remote = row
    states = [None if raw is None else msgspec.json.decode(raw, type=State) for raw in (base, local, remote)]
    return Decision(*texts, *states)


def _dump(state: State | None) -> str | None:
    return None if state is None else msgspec.json.encode(state).decode()


def _state(name: str, kind: Kind, content: Content | None, version: str | None) -> State:
    shown = name.encode("utf-8", "backslashreplace").decode()
    if content is None:
        return State(kind.value, shown, version_id=version)
    return State(kind.value, shown, content.size, content.root_hash, version)


def _of_base(entry: BaseEntry | None) -> State | None:
    return None if entry is None else _state(entry.name, entry.kind, entry.content, entry.version_id)


def _of_remote(entry: RemoteEntry | None) -> State | None:
    return None if entry is None else _state(entry.name, entry.kind, entry.content, entry.version_id)


def _of_local(entry: LocalEntry | None) -> State | None:
    return None if entry is None else _state(entry.path[-1], entry.kind, entry.content, None)
