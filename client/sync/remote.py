"""The server's tree, followed by its journal.

The journal tells a node's state as it is now, by id. Kept are all nodes that have a state, also those below a
folder in the trash: they are out of the tree, because their way up is broken, and come back with the folder. Each
page is one transaction together with its cursor, so that a kill between two pages loses neither.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from client.api import Api
from client.errors import Conflicting, Unexpected
from client.sync.database import Database
from client.wire import Change, Changes

Kind = Literal["file", "folder"]


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A row: a file or folder that has a state. At the top of the tree, `parent_id` is the namespace's id.

    For files, `size` is in bytes and `modified_at` ISO 8601, as the server sent it.
    """

    node_id: str
    parent_id: str
    name: str
    kind: Kind
    root_hash: str | None
    size: int | None
    version_id: str | None
    modified_at: str | None


class RemoteFollower:
    """Keeps the table `remote` in step with the server."""

    def __init__(self, api: Api, database: Database) -> None:
        self._api = api
        self._database = database

    def catch_up(self) -> int:
        """Read the journal to its end; returns how many entries there were, none when nothing has changed.

        When the server lets go of the cursor (its journal began anew), the whole tree is read again.
        """
        entries = 0
        cursor = self._database.get("cursor")
        while True:
            try:
                page = self._api.changes(cursor)
            except Conflicting as error:
                if error.code != "cursor_reset" or cursor is None:
                    raise
                self._begin_anew()
                cursor = None
                continue
            entries += len(page.changes)
            self._apply(page)
            if not page.has_more:
                return entries
            cursor = page.cursor

    def anything_new(self) -> bool:
        """Whether the journal has gone on since `catch_up`: asked directly before something is deleted there."""
        page = self._api.changes(self._database.get("cursor"), limit=1)
        return bool(page.changes)

    def _begin_anew(self) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM remote")
            self._database.put(cursor=None)

    def _apply(self, page: Changes) -> None:
        known = self._database.get("cursor")
        if not page.changes and page.cursor == known:
            return
        with self._database.transaction() as connection:
            for change in page.changes:
                _apply(connection, change)
            self._database.put(cursor=page.cursor)


def load_tree(database: Database) -> dict[str, RemoteNode]:
    """The nodes that the root reaches, by id; raises Unexpected for a tree that has two roots."""
    with database.reading() as connection:
        roots = [str(row[0]) for row in connection.execute("SELECT DISTINCT namespace FROM remote")]
        rows = connection.execute(
            "SELECT node_id, parent_id, name, kind, root_hash, size, version_id, modified_at FROM remote"
        ).fetchall()
    if len(roots) > 1:
        raise Unexpected("the server tells of several trees, and this version can sync only one")
    below: dict[str, list[RemoteNode]] = {}
    for row in rows:
        node = RemoteNode(*row)
        below.setdefault(node.parent_id, []).append(node)
    return {node.node_id: node for node in _reached(below, roots)}


def _reached(below: dict[str, list[RemoteNode]], roots: list[str]) -> Iterable[RemoteNode]:
    ways = list(roots)
    while ways:
        for node in below.get(ways.pop(), ()):
            if node.kind == "folder":
                ways.append(node.node_id)
            yield node


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    if change.type is None or change.parent_id is None or change.name is None:
        connection.execute("DELETE FROM remote WHERE node_id = ?", (change.file_id,))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO remote VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                change.file_id,
                change.namespace,
                change.parent_id,
                change.name,
                change.type,
                change.root_hash,
                change.size,
                change.version_id,
                change.modified_at,
            ),
        )
    if change.kind == "folder_purged":
        connection.execute(
            "WITH RECURSIVE under(id) AS (SELECT node_id FROM remote WHERE parent_id = ?"
            " UNION SELECT remote.node_id FROM remote JOIN under ON remote.parent_id = under.id)"
            " DELETE FROM remote WHERE node_id IN under",
            (change.file_id,),
        )
