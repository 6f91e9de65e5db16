"""The base: what both sides were when they were last seen equal, a row for each node.

Rows are written after what they tell is done and on the disk. They are gathered and written many at a time, since
a transaction for each of a thousand small files would take longer than the files.
"""

import sqlite3
from collections.abc import Iterable

import msgspec

from client.sync.database import Database
from client.sync.trees import BaseEntry, Content, Fingerprint, Kind
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId


class Put(msgspec.Struct, frozen=True):
    """The row becomes `entry`, whatever it was. The node `instead_of`, if there is one, is gone on the server, and this
    one has its place: its row goes, and what hung below it hangs below this one."""

    entry: BaseEntry
    instead_of: NodeId | None = None


class Refill(msgspec.Struct, frozen=True):
    """Another content at another version, in the same place."""

    node_id: NodeId
    content: Content
    version_id: VersionId
    fingerprint: Fingerprint


class Replace(msgspec.Struct, frozen=True):
    """Another place, with the same content."""

    node_id: NodeId
    parent_id: NodeId
    name: str


class Drop(msgspec.Struct, frozen=True):
    node_ids: tuple[NodeId, ...]


BaseChange = Put | Refill | Replace | Drop


class BaseRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> dict[NodeId, BaseEntry]:
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM base").fetchall()
        return {entry.node_id: entry for entry in map(_entry, rows)}

    def apply(self, changes: Iterable[BaseChange]) -> None:
        """Write all of them or none."""
        with self._database.transaction() as connection:
            for change in changes:
                _apply(connection, change)


def _entry(row: tuple[str, str, str, str, str, int, str, int, int, int, int]) -> BaseEntry:
    node_id, parent_id, name, kind, root_hash, size, version_id, *fingerprint = row
    return BaseEntry(
        NodeId(node_id),
        NodeId(parent_id),
        name,
        Kind(kind),
        None if root_hash is None else Content(Sha256(root_hash), size),
        None if version_id is None else VersionId(version_id),
        _found(*fingerprint),
    )


def _apply(connection: sqlite3.Connection, change: BaseChange) -> None:
    match change:
        case Put(entry, instead_of):
            if instead_of is not None:
                connection.execute("DELETE FROM base WHERE node_id = ?", (instead_of,))
                connection.execute(
                    "UPDATE base SET parent_id = ? WHERE parent_id = ?", (entry.node_id, instead_of)
                )
            connection.execute(
                "INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.node_id,
                    entry.parent_id,
                    entry.name,
                    entry.kind.value,
                    *_content(entry.content),
                    entry.version_id,
                    *_fingerprint(entry.fingerprint),
                ),
            )
        case Refill(node_id, content, version_id, fingerprint):
            connection.execute(
                "UPDATE base SET root_hash = ?, size = ?, version_id = ?,"
                " f_size = ?, f_mtime_ns = ?, f_inode = ?, f_device = ? WHERE node_id = ?",
                (*_content(content), version_id, *_fingerprint(fingerprint), node_id),
            )
        case Replace(node_id, parent_id, name):
            connection.execute(
                "UPDATE base SET parent_id = ?, name = ? WHERE node_id = ?", (parent_id, name, node_id)
            )
        case Drop(node_ids):
            connection.executemany("DELETE FROM base WHERE node_id = ?", ((each,) for each in node_ids))


def _content(content: Content | None) -> tuple[str | None, int | None]:
    return (None, None) if content is None else (content.root_hash, content.size)


def _fingerprint(found: Fingerprint | None) -> tuple[int | None, int | None, int | None, int | None]:
    if found is None:
        return (None, None, None, None)
    # SQLite's integers have a sign; some file systems use all 64 bits of an inode number.
    return (found.size, found.mtime_ns, _signed(found.inode), _signed(found.device))


def _found(size: int | None, mtime_ns: int, inode: int, device: int) -> Fingerprint | None:
    return None if size is None else Fingerprint(size, mtime_ns, inode % 2**64, device % 2**64)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
