"""The server's tree, followed by its journal.

The journal tells a node's state as it is now, by id. Kept are all nodes that have a state, also those below a
folder in the trash: they are out of the tree, because their way up is broken, and come back with the folder. Each
page is one transaction together with its cursor, so that a kill between two pages loses neither.
"""

import sqlite3
from collections.abc import Iterable

from client.api import Api
from client.errors import Conflicting, Unexpected
from client.sync.database import Database
from client.sync.trees import Content, Kind, RemoteEntry, RemoteTree
from client.wire import Change, Changes
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId

ROOT = NodeId("root")
"""What the top of the tree is called here. The server's own name for it is first heard with the first entry, which may
come after entries have been put there."""


class RemoteFollower:
    """Keeps the table `remote` in step with the server."""

    def __init__(self, api: Api, database: Database) -> None:
        self._api = api
        self._database = database
        self._told: set[str] = set()

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

    def follow(self) -> None:
        """As `catch_up`, for a thread of its own."""
        self.catch_up()

    def listen(self) -> None:
        """From now on, remember what the journal tells of, for `in_step`."""
        self._told.clear()

    def in_step(self) -> bool:
        """Whether everything that the journal has told of since `listen` is where and what the base says it is."""
        with self._database.reading() as connection:
            return all(connection.execute(_SAME_IN_BASE, (ROOT, node)).fetchone() for node in self._told)

    @property
    def cursor(self) -> str | None:
        """Up to where the journal was read."""
        return self._database.get("cursor")

    def subtree(self, node: NodeId) -> dict[NodeId, VersionId | None] | None:
        """A node and all below it, with versions (None for folders), as `catch_up` left them; None for no node."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "WITH RECURSIVE under(id, version) AS (SELECT node_id, version_id FROM remote WHERE node_id = ?"
                " UNION SELECT node_id, version_id FROM remote JOIN under ON parent_id = id)"
                " SELECT id, version FROM under",
                (node,),
            ).fetchall()
        if not rows:
            return None
        return {NodeId(found): VersionId(version) if version else None for found, version in rows}

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
                self._told.add(change.file_id)
                _apply(connection, change)
            self._database.put(cursor=page.cursor)
            if page.changes:
                self._database.put(settled=None)  # what was settled was about the tree before this


_SAME_IN_BASE = (
    "SELECT 1 FROM remote JOIN base USING (node_id)"
    " WHERE base.parent_id = CASE remote.parent_id WHEN remote.namespace THEN ? ELSE remote.parent_id END"
    " AND (base.name, base.kind) = (remote.name, remote.kind) AND base.version_id IS remote.version_id"
    " AND node_id = ?"
)


def load_remote(database: Database) -> RemoteTree:
    """The tree as `catch_up` left it; raises Unexpected for a journal that tells of two trees."""
    with database.reading() as connection:
        roots = [str(row[0]) for row in connection.execute("SELECT DISTINCT namespace FROM remote")]
        rows = connection.execute(
            "SELECT node_id, parent_id, name, kind, root_hash, size, version_id, modified_at FROM remote"
        ).fetchall()
    if len(roots) > 1:
        raise Unexpected("the server tells of several trees, and this version can sync only one")
    root = roots[0] if roots else ROOT
    return RemoteTree(ROOT, {entry.node_id: entry for entry in _entries(rows, root)})


def _entries(
    rows: Iterable[tuple[str, str, str, str, str, int, str, str]], root: str
) -> Iterable[RemoteEntry]:
    for node_id, parent_id, name, kind, root_hash, size, version_id, modified_at in rows:
        parent = ROOT if parent_id == root else NodeId(parent_id)
        if kind == "folder":
            yield RemoteEntry(NodeId(node_id), parent, name, Kind.FOLDER)
        else:
            content = Content(Sha256(root_hash), size)
            version = VersionId(version_id)
            yield RemoteEntry(NodeId(node_id), parent, name, Kind.FILE, content, version, modified_at)


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
