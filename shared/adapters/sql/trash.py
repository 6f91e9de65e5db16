"""Deleted nodes in SQL.

Deleting a folder marks the folder alone, so it costs the same whatever is under it: what hangs below a deleted folder
is out of the tree because the way up is broken. Restoring takes the mark away. Only a purge visits every node below.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql.nodes import ANY_NODE, node_of
from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import assemblies, changes, nodes, version_blocks, versions
from shared.domain.errors import NameExists
from shared.domain.ids import NamespaceId, NodeId
from shared.domain.names import Name
from shared.ports.tables_trash import Purged, Trashed

_DELETED = (
    ANY_NODE.add_columns(nodes.c.deleted_seq, changes.c.created_at.label("deleted_at"))
    .join(
        changes,
        and_(
            changes.c.ns_id == nodes.c.ns_id,
            changes.c.seq == nodes.c.deleted_seq,
            changes.c.node_id == nodes.c.node_id,
        ),
    )
    .where(nodes.c.ns_id == bindparam("b_ns"), nodes.c.deleted_seq.is_not(None), nodes.c.purged_at.is_(None))
)


class SqlTrash:
    """Implements the Trash port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, namespace: NamespaceId, *, before: int | None, limit: int) -> Sequence[Trashed]:
        page = _DELETED
        if before is not None:
            page = page.where(nodes.c.deleted_seq < before)
        rows = self._connection.execute(
            page.order_by(nodes.c.deleted_seq.desc()).limit(limit), {"b_ns": namespace}
        )
        return [_trashed(row) for row in rows]

    def get(self, namespace: NamespaceId, node: NodeId) -> Trashed | None:
        found = _DELETED.where(nodes.c.node_id == node)
        row = self._connection.execute(found, {"b_ns": namespace}).first()
        return _trashed(row) if row else None

    def restore(self, namespace: NamespaceId, node: NodeId, parent: NodeId, name: Name) -> None:
        back = update(nodes).where(nodes.c.ns_id == namespace, nodes.c.node_id == node)
        try:
            self._connection.execute(
                back.values(deleted_seq=None, parent_id=parent, name=name.text, name_key=name.key)
            )
        except IntegrityError as error:
            raise NameExists(
                f"{name.text!r} is taken meanwhile", entry=name.text, kind="file or folder"
            ) from error

    def purge(self, namespace: NamespaceId, node: NodeId, *, now: datetime) -> Purged:
        files, size = 0, 0
        level: list[NodeId] = [node]
        while level:
            below: list[NodeId] = []
            for some in slices(level):
                counted = self._purge_some(namespace, some, now)
                files += counted.files
                size += counted.size
                children = select(nodes.c.node_id).where(
                    nodes.c.ns_id == namespace, nodes.c.parent_id.in_(some), nodes.c.purged_at.is_(None)
                )
                below += self._connection.execute(children).scalars()
            level = below
        return Purged(files, size)

    def _purge_some(self, namespace: NamespaceId, some: Sequence[NodeId], now: datetime) -> Purged:
        heads = (
            select(func.count(), func.coalesce(func.sum(versions.c.size), 0))
            .select_from(nodes)
            .join(versions, versions.c.version_id == nodes.c.head_version)
            .where(nodes.c.ns_id == namespace, nodes.c.node_id.in_(some))
        )
        files, size = self._connection.execute(heads).one()
        theirs = select(versions.c.version_id).where(
            versions.c.ns_id == namespace, versions.c.node_id.in_(some)
        )
        self._connection.execute(delete(version_blocks).where(version_blocks.c.version_id.in_(theirs)))
        self._connection.execute(delete(assemblies).where(assemblies.c.version_id.in_(theirs)))
        self._connection.execute(
            update(versions)
            .where(
                versions.c.ns_id == namespace, versions.c.node_id.in_(some), versions.c.purged_at.is_(None)
            )
            .values(purged_at=now)
        )
        self._connection.execute(
            update(nodes).where(nodes.c.ns_id == namespace, nodes.c.node_id.in_(some)).values(purged_at=now)
        )
        return Purged(files, int(size))


def _trashed(row: Row[*tuple[Any, ...]]) -> Trashed:
    return Trashed(node_of(row), row.deleted_seq, row.deleted_at)
