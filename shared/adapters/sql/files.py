"""Nodes, versions, edges and the journal in SQL."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import assemblies, blobs, changes, nodes, version_blocks, versions
from shared.domain.errors import NameExists
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId, VersionId
from shared.domain.names import Name
from shared.domain.versions import Version
from shared.ports.tables_files import Assembly, Change, NewVersion, Node, NodeKind, Place

_VERSION_COLUMNS = (
    versions.c.version_id,
    versions.c.number,
    versions.c.size,
    versions.c.root_hash,
    versions.c.created_at,
    versions.c.modified_at,
    versions.c.seq,
)

_NODE = (
    select(nodes.c.node_id, nodes.c.parent_id, nodes.c.kind, nodes.c.name, *_VERSION_COLUMNS)
    .join(versions, versions.c.version_id == nodes.c.head_version, isouter=True)
    .where(nodes.c.deleted_seq.is_(None))
)


def _version(row: Row[*tuple[Any, ...]]) -> Version:
    return Version(
        row.version_id, row.number, row.size, row.root_hash, row.created_at, row.modified_at, row.seq
    )


def _node(row: Row[*tuple[Any, ...]]) -> Node:
    head = _version(row) if row.version_id is not None else None
    return Node(row.node_id, row.parent_id, NodeKind(row.kind), row.name, head)


class SqlFiles:
    """Implements the Files port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def child(self, namespace: NamespaceId, parent: NodeId, key: str) -> Node | None:
        row = self._connection.execute(
            _NODE.where(nodes.c.ns_id == namespace, nodes.c.parent_id == parent, nodes.c.name_key == key)
        ).first()
        return _node(row) if row else None

    def node(self, namespace: NamespaceId, node: NodeId) -> Node | None:
        row = self._connection.execute(
            _NODE.where(nodes.c.ns_id == namespace, nodes.c.node_id == node)
        ).first()
        return _node(row) if row else None

    def namespace_of(self, node: NodeId) -> NamespaceId | None:
        found = select(nodes.c.ns_id).where(nodes.c.node_id == node)
        return self._connection.execute(found).scalar_one_or_none()

    def add_node(
        self, namespace: NamespaceId, node: NodeId, parent: NodeId, kind: NodeKind, name: Name, place: Place
    ) -> None:
        row = insert(nodes).values(
            node_id=node,
            ns_id=namespace,
            parent_id=parent,
            kind=kind.value,
            name=name.text,
            name_key=name.key,
            created_seq=place.seq,
            created_position=place.position,
        )
        try:
            self._connection.execute(row)
        except IntegrityError as error:
            raise NameExists(
                f"{name.text!r} clashes with an entry of its folder", entry=name.text, kind=kind.value
            ) from error

    def add_version(self, namespace: NamespaceId, node: NodeId, new: NewVersion) -> bool:
        head = nodes.c.head_version.is_(None) if new.base == NO_VERSION else nodes.c.head_version == new.base
        swapped = self._connection.execute(
            update(nodes)
            .where(nodes.c.ns_id == namespace, nodes.c.node_id == node, nodes.c.deleted_seq.is_(None), head)
            .values(head_version=new.version.id)
        )
        if swapped.rowcount != 1:
            return False
        self._connection.execute(
            insert(versions).values(
                version_id=new.version.id,
                ns_id=namespace,
                node_id=node,
                number=new.version.number,
                base_version=new.base,
                size=new.version.size,
                root_hash=new.version.root_hash,
                author_id=new.author,
                device_id=new.device,
                seq=new.version.seq,
                created_at=new.version.created_at,
                modified_at=new.version.modified_at,
            )
        )
        edges = [
            {"version_id": new.version.id, "position": position, "ns_id": namespace, "block_key": key}
            for position, key in enumerate(new.blocks)
        ]
        if edges:
            self._connection.execute(insert(version_blocks), edges)
        return True

    def knows_version(self, node: NodeId, version: VersionId) -> bool:
        found = select(versions.c.version_id).where(
            versions.c.node_id == node, versions.c.version_id == version
        )
        return self._connection.execute(found).first() is not None

    def version(self, namespace: NamespaceId, node: NodeId, version: VersionId) -> Version | None:
        row = self._connection.execute(
            select(*_VERSION_COLUMNS).where(
                versions.c.ns_id == namespace,
                versions.c.node_id == node,
                versions.c.version_id == version,
                versions.c.purged_at.is_(None),
            )
        ).first()
        return _version(row) if row else None

    def delete_node(self, namespace: NamespaceId, node: NodeId, *, seq: int) -> bool:
        living = and_(nodes.c.ns_id == namespace, nodes.c.node_id == node, nodes.c.deleted_seq.is_(None))
        return self._connection.execute(update(nodes).where(living).values(deleted_seq=seq)).rowcount == 1

    def record(self, namespace: NamespaceId, seq: int, entries: Iterable[Change], *, now: datetime) -> None:
        rows = [
            {
                "ns_id": namespace,
                "seq": seq,
                "position": position,
                "kind": change.kind.value,
                "node_id": change.node,
                "version_id": change.version,
                "device_id": change.device,
                "created_at": now,
            }
            for position, change in enumerate(entries)
        ]
        self._connection.execute(insert(changes), rows)

    def page(
        self, namespace: NamespaceId, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        place = (nodes.c.created_seq, nodes.c.created_position)
        files = _NODE.add_columns(*place).where(nodes.c.ns_id == namespace, nodes.c.kind == "file")
        if after is not None:
            seq, position = place
            files = files.where(or_(seq > after.seq, and_(seq == after.seq, position > after.position)))
        rows = self._connection.execute(files.order_by(*place).limit(limit))
        return [(Place(row.created_seq, row.created_position), _node(row)) for row in rows]

    def children(
        self, namespace: NamespaceId, parent: NodeId, kind: NodeKind, *, after: str | None, limit: int
    ) -> Sequence[tuple[str, Node]]:
        entries = _NODE.add_columns(nodes.c.name_key).where(
            nodes.c.ns_id == namespace, nodes.c.parent_id == parent, nodes.c.kind == kind.value
        )
        if after is not None:
            entries = entries.where(nodes.c.name_key > after)
        rows = self._connection.execute(entries.order_by(nodes.c.name_key).limit(limit))
        return [(row.name_key, _node(row)) for row in rows]

    def paths(self, namespace: NamespaceId, some: Sequence[Node]) -> Mapping[NodeId, str]:
        folders = self._ancestors(namespace, {node.parent for node in some if node.parent})
        found: dict[NodeId, str] = {}
        root = NodeId(namespace)
        for node in some:
            names, parent = [node.name], node.parent
            while parent is not None and parent != root and parent in folders:
                name, above = folders[parent]
                names.append(name)
                parent = above
            if parent == root:
                found[node.id] = "/" + "/".join(reversed(names))
        return found

    def _ancestors(
        self, namespace: NamespaceId, wanted: set[NodeId]
    ) -> Mapping[NodeId, tuple[str, NodeId | None]]:
        """Living folders by id, from `wanted` up to the root: a query a level, not one a file."""
        known: dict[NodeId, tuple[str, NodeId | None]] = {}
        while wanted:
            above: set[NodeId] = set()
            for ids in slices(sorted(wanted)):
                rows = self._connection.execute(
                    select(nodes.c.node_id, nodes.c.name, nodes.c.parent_id).where(
                        nodes.c.ns_id == namespace, nodes.c.node_id.in_(ids), nodes.c.deleted_seq.is_(None)
                    )
                )
                for row in rows:
                    known[row.node_id] = (row.name, row.parent_id)
                    if row.parent_id is not None:
                        above.add(row.parent_id)
            wanted = above - known.keys()
        return known

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
