"""How nodes and versions are read from rows, wherever a statement gets them from."""

from typing import Any

from sqlalchemy import Row, select

from shared.adapters.sql.schema import nodes, versions
from shared.domain.versions import Version
from shared.ports.tables_files import Node, NodeKind

VERSION_COLUMNS = (
    versions.c.version_id,
    versions.c.number,
    versions.c.size,
    versions.c.root_hash,
    versions.c.created_at,
    versions.c.modified_at,
    # Beside a node's or a change's own columns, a plain `seq` would not say whose it is.
    versions.c.seq.label("version_seq"),
)

ANY_NODE = select(nodes.c.node_id, nodes.c.parent_id, nodes.c.kind, nodes.c.name, *VERSION_COLUMNS).join(
    versions, versions.c.version_id == nodes.c.head_version, isouter=True
)
"""A node with its head, living or deleted."""

# What hung below a folder that was purged has no mark of deletion of its own.
LIVING_NODE = ANY_NODE.where(nodes.c.deleted_seq.is_(None), nodes.c.purged_at.is_(None))


def version_of(row: Row[*tuple[Any, ...]]) -> Version:
    return Version(
        row.version_id, row.number, row.size, row.root_hash, row.created_at, row.modified_at, row.version_seq
    )


def node_of(row: Row[*tuple[Any, ...]]) -> Node:
    head = version_of(row) if row.version_id is not None else None
    return Node(row.node_id, row.parent_id, NodeKind(row.kind), row.name, head)
