"""Nodes, versions and edges in SQL."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql import ways
from shared.adapters.sql.nodes import ANY_NODE, LIVING_NODE, VERSION_COLUMNS, node_of, version_of
from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import assemblies, blobs, nodes, version_blocks, versions
from shared.domain.errors import NameExists
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId, VersionId
from shared.domain.names import Name
from shared.domain.versions import Version
from shared.ports.tables_files import (
    Assembly,
    NewNode,
    NewVersion,
    Node,
    NodeKind,
    NodeState,
    Place,
)

# Asked for many times a second, so they are built once.
_IN_NAMESPACE = LIVING_NODE.where(nodes.c.ns_id == bindparam("b_ns"))
_NODE_BY_ID = _IN_NAMESPACE.where(nodes.c.node_id == bindparam("b_node"))
_CHILD = _IN_NAMESPACE.where(
    nodes.c.parent_id == bindparam("b_parent"), nodes.c.name_key == bindparam("b_key")
)
_CHILDREN_NAMED = _IN_NAMESPACE.add_columns(nodes.c.name_key).where(
    nodes.c.parent_id == bindparam("b_parent"), nodes.c.name_key.in_(bindparam("b_keys", expanding=True))
)
_ADD_NODE, _ADD_VERSION, _ADD_EDGE = insert(nodes), insert(versions), insert(version_blocks)
_LIVING_HEAD = update(nodes).where(
    nodes.c.ns_id == bindparam("b_ns"), nodes.c.node_id == bindparam("b_node"), nodes.c.deleted_seq.is_(None)
)
_PLACE = (nodes.c.created_seq, nodes.c.created_position)
_PAGE = _IN_NAMESPACE.add_columns(*_PLACE).where(nodes.c.kind == "file").order_by(*_PLACE)
_EVERYTHING = _IN_NAMESPACE.add_columns(*_PLACE).where(nodes.c.parent_id.is_not(None)).order_by(*_PLACE)
_BEHIND = or_(
    nodes.c.created_seq > bindparam("b_seq"),
    and_(nodes.c.created_seq == bindparam("b_seq"), nodes.c.created_position > bindparam("b_position")),
)
_CHILDREN = (
    _IN_NAMESPACE.add_columns(nodes.c.name_key)
    .where(nodes.c.parent_id == bindparam("b_parent"), nodes.c.kind == bindparam("b_kind"))
    .order_by(nodes.c.name_key)
)
_CHILDREN_AFTER = _CHILDREN.where(nodes.c.name_key > bindparam("b_key"))


class SqlFiles:
    """Implements the Files port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def child(self, namespace: NamespaceId, parent: NodeId, key: str) -> Node | None:
        wanted = {"b_ns": namespace, "b_parent": parent, "b_key": key}
        row = self._connection.execute(_CHILD, wanted).first()
        return node_of(row) if row else None

    def node(self, namespace: NamespaceId, node: NodeId) -> Node | None:
        row = self._connection.execute(_NODE_BY_ID, {"b_ns": namespace, "b_node": node}).first()
        return node_of(row) if row else None

    def namespace_of(self, node: NodeId) -> NamespaceId | None:
        found = select(nodes.c.ns_id).where(nodes.c.node_id == node)
        return self._connection.execute(found).scalar_one_or_none()

    def children_named(
        self, namespace: NamespaceId, parent: NodeId, keys: Sequence[str]
    ) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for some in slices(keys):
            wanted = {"b_ns": namespace, "b_parent": parent, "b_keys": some}
            rows = self._connection.execute(_CHILDREN_NAMED, wanted)
            found.update({row.name_key: node_of(row) for row in rows})
        return found

    def add_nodes(self, namespace: NamespaceId, new: Sequence[NewNode]) -> None:
        rows = [
            {
                "node_id": node.id,
                "ns_id": namespace,
                "parent_id": node.parent,
                "kind": node.kind.value,
                "name": node.name.text,
                "name_key": node.name.key,
                "head_version": node.head,
                "created_seq": node.place.seq,
                "created_position": node.place.position,
            }
            for node in new
        ]
        try:
            self._connection.execute(_ADD_NODE, rows)
        except IntegrityError as error:
            first = new[0]
            raise NameExists(
                f"{first.name.text!r} clashes with an entry of its folder",
                entry=first.name.text,
                kind=first.kind.value,
            ) from error

    def swap_head(self, namespace: NamespaceId, node: NodeId, base: VersionId, head: VersionId) -> bool:
        living = _LIVING_HEAD.where(
            nodes.c.head_version.is_(None) if base == NO_VERSION else nodes.c.head_version == base
        )
        wanted = {"b_ns": namespace, "b_node": node}
        return self._connection.execute(living.values(head_version=head), wanted).rowcount == 1

    def add_versions(self, namespace: NamespaceId, new: Sequence[NewVersion]) -> None:
        rows = [
            {
                "version_id": one.version.id,
                "ns_id": namespace,
                "node_id": one.node,
                "number": one.version.number,
                "base_version": one.base,
                "size": one.version.size,
                "root_hash": one.version.root_hash,
                "author_id": one.author,
                "device_id": one.device,
                "seq": one.version.seq,
                "created_at": one.version.created_at,
                "modified_at": one.version.modified_at,
            }
            for one in new
        ]
        self._connection.execute(_ADD_VERSION, rows)
        edges = [
            {"version_id": one.version.id, "position": position, "ns_id": namespace, "block_key": key}
            for one in new
            for position, key in enumerate(one.blocks)
        ]
        if edges:
            self._connection.execute(_ADD_EDGE, edges)

    def knows_version(self, node: NodeId, version: VersionId) -> bool:
        found = select(versions.c.version_id).where(
            versions.c.node_id == node, versions.c.version_id == version
        )
        return self._connection.execute(found).first() is not None

    def version(self, namespace: NamespaceId, node: NodeId, version: VersionId) -> Version | None:
        row = self._connection.execute(
            select(*VERSION_COLUMNS).where(
                versions.c.ns_id == namespace,
                versions.c.node_id == node,
                versions.c.version_id == version,
                versions.c.purged_at.is_(None),
            )
        ).first()
        return version_of(row) if row else None

    def versions(
        self, namespace: NamespaceId, node: NodeId, *, before: int | None, limit: int
    ) -> Sequence[Version]:
        page = select(*VERSION_COLUMNS).where(
            versions.c.ns_id == namespace, versions.c.node_id == node, versions.c.purged_at.is_(None)
        )
        if before is not None:
            page = page.where(versions.c.number < before)
        rows = self._connection.execute(page.order_by(versions.c.number.desc()).limit(limit))
        return [version_of(row) for row in rows]

    def versions_by_id(
        self, namespace: NamespaceId, wanted: Sequence[VersionId]
    ) -> Mapping[VersionId, tuple[NodeId, Version]]:
        found: dict[VersionId, tuple[NodeId, Version]] = {}
        for some in slices(wanted):
            rows = self._connection.execute(
                select(versions.c.node_id, *VERSION_COLUMNS).where(
                    versions.c.ns_id == namespace,
                    versions.c.version_id.in_(some),
                    versions.c.purged_at.is_(None),
                )
            )
            found.update({row.version_id: (row.node_id, version_of(row)) for row in rows})
        return found

    def bases(self, namespace: NamespaceId, wanted: Sequence[VersionId]) -> Mapping[VersionId, VersionId]:
        found: dict[VersionId, VersionId] = {}
        for some in slices(wanted):
            rows = self._connection.execute(
                select(versions.c.version_id, versions.c.base_version).where(
                    versions.c.ns_id == namespace, versions.c.version_id.in_(some)
                )
            )
            found.update({row.version_id: row.base_version for row in rows})
        return found

    def states(self, namespace: NamespaceId, wanted: Sequence[NodeId]) -> Mapping[NodeId, NodeState]:
        found: dict[NodeId, NodeState] = {}
        for some in slices(wanted):
            rows = self._connection.execute(
                ANY_NODE.add_columns(nodes.c.deleted_seq, nodes.c.purged_at).where(
                    nodes.c.ns_id == namespace, nodes.c.node_id.in_(some)
                )
            )
            for row in rows:
                deleted, purged = row.deleted_seq is not None, row.purged_at is not None
                found[row.node_id] = NodeState(node_of(row), deleted, purged)
        return found

    def is_living(self, namespace: NamespaceId, node: NodeId) -> bool:
        return NodeId(namespace) in ways.way_up(self._connection, namespace, node)

    def is_within(self, namespace: NamespaceId, node: NodeId, folder: NodeId) -> bool:
        return folder in ways.way_up(self._connection, namespace, node)

    def height(self, namespace: NamespaceId, node: NodeId, *, most: int) -> int:
        return ways.height(self._connection, namespace, node, most=most)

    def move_node(self, namespace: NamespaceId, node: NodeId, parent: NodeId, name: Name) -> None:
        move = update(nodes).where(nodes.c.ns_id == namespace, nodes.c.node_id == node)
        try:
            self._connection.execute(move.values(parent_id=parent, name=name.text, name_key=name.key))
        except IntegrityError as error:
            raise NameExists(
                f"{name.text!r} clashes with an entry of its folder", entry=name.text, kind="file or folder"
            ) from error

    def delete_node(self, namespace: NamespaceId, node: NodeId, *, seq: int) -> bool:
        living = and_(nodes.c.ns_id == namespace, nodes.c.node_id == node, nodes.c.deleted_seq.is_(None))
        return self._connection.execute(update(nodes).where(living).values(deleted_seq=seq)).rowcount == 1

    def page(
        self, namespace: NamespaceId, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        return self._by_place(_PAGE, namespace, after, limit)

    def everything(
        self, namespace: NamespaceId, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        return self._by_place(_EVERYTHING, namespace, after, limit)

    def search(
        self, namespace: NamespaceId, text: str, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        # SQL Server takes [ for the beginning of a set; a name has no slash, so a slash is free to escape with.
        literally = re.sub(r"([/%_\[])", r"/\1", text)
        found = _EVERYTHING.where(nodes.c.name_key.like(f"%{literally}%", escape="/"))
        return self._by_place(found, namespace, after, limit)

    def _by_place(
        self, statement: Select[*tuple[Any, ...]], namespace: NamespaceId, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        wanted: dict[str, str | int] = {"b_ns": namespace}
        if after is not None:
            statement = statement.where(_BEHIND)
            wanted |= {"b_seq": after.seq, "b_position": after.position}
        rows = self._connection.execute(statement.limit(limit), wanted)
        return [(Place(row.created_seq, row.created_position), node_of(row)) for row in rows]

    def children(
        self, namespace: NamespaceId, parent: NodeId, kind: NodeKind, *, after: str | None, limit: int
    ) -> Sequence[tuple[str, Node]]:
        statement, wanted = _CHILDREN, {"b_ns": namespace, "b_parent": parent, "b_kind": kind.value}
        if after is not None:
            statement, wanted = _CHILDREN_AFTER, {**wanted, "b_key": after}
        rows = self._connection.execute(statement.limit(limit), wanted)
        return [(row.name_key, node_of(row)) for row in rows]

    def paths(self, namespace: NamespaceId, some: Sequence[Node]) -> Mapping[NodeId, str]:
        return ways.paths(self._connection, namespace, some)

    def assembly(self, version: VersionId) -> Assembly | None:
        row = self._connection.execute(
            select(assemblies.c.blob_id, assemblies.c.expires_at)
            .join(blobs, blobs.c.blob_id == assemblies.c.blob_id)
            .where(assemblies.c.version_id == version, blobs.c.state == "STORED", blobs.c.bad_at.is_(None))
        ).first()
        return Assembly(row.blob_id, row.expires_at) if row else None

    def set_assembly(self, version: VersionId, assembly: Assembly) -> None:
        place = {"blob_id": assembly.blob, "expires_at": assembly.expires_at}
        moved = self._connection.execute(
            update(assemblies).where(assemblies.c.version_id == version).values(**place)
        )
        if moved.rowcount == 0:
            self._connection.execute(insert(assemblies).values(version_id=version, **place))
