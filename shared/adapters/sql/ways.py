"""Ways through the tree in SQL: from a node up to the root, and how far down something reaches.

A way goes by parents, a query a level: trees are shallow, and a level is asked for all nodes at once.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Integer, Select, bindparam, func, literal_column, select

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import nodes
from shared.domain.ids import NamespaceId, NodeId
from shared.ports.tables_files import Node

_FOLDERS = select(nodes.c.node_id, nodes.c.name, nodes.c.parent_id).where(
    nodes.c.ns_id == bindparam("b_ns"),
    nodes.c.node_id.in_(bindparam("b_ids", expanding=True)),
    nodes.c.deleted_seq.is_(None),
)


def _height() -> Select[int]:
    top = (
        select(nodes.c.node_id, literal_column("0", Integer).label("depth"))
        .where(nodes.c.ns_id == bindparam("b_ns"), nodes.c.node_id == bindparam("b_node"))
        .cte("below", recursive=True)
    )
    # SQL Server gives a recursion up at 100 levels, so it must know the end before.
    next_level = select(nodes.c.node_id, (top.c.depth + literal_column("1", Integer)).label("depth")).where(
        nodes.c.ns_id == bindparam("b_ns"),
        nodes.c.parent_id == top.c.node_id,
        nodes.c.deleted_seq.is_(None),
        nodes.c.purged_at.is_(None),
        top.c.depth < bindparam("b_most"),
    )
    below = top.union_all(next_level)
    return select(func.max(below.c.depth))


_HEIGHT = _height()


def way_up(connection: Connection, namespace: NamespaceId, node: NodeId) -> set[NodeId]:
    """The node and the living folders above it, up to the root or to the first that is deleted."""
    way: set[NodeId] = set()
    here: NodeId | None = node
    while here is not None and here not in way:
        row = connection.execute(_FOLDERS, {"b_ns": namespace, "b_ids": [here]}).first()
        if row is None:
            break
        way.add(here)
        here = row.parent_id
    return way


def height(connection: Connection, namespace: NamespaceId, node: NodeId, *, most: int) -> int:
    """As `Files.height`."""
    wanted = {"b_ns": namespace, "b_node": node, "b_most": most}
    return connection.execute(_HEIGHT, wanted).scalar_one()


def paths(connection: Connection, namespace: NamespaceId, some: Sequence[Node]) -> Mapping[NodeId, str]:
    parents = {node.parent for node in some if node.parent is not None}
    folders = _ancestors(connection, namespace, parents - {NodeId(namespace)})
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
    connection: Connection, namespace: NamespaceId, wanted: set[NodeId]
) -> Mapping[NodeId, tuple[str, NodeId | None]]:
    """Living folders by id, from `wanted` up to the root: a query a level, not one a file."""
    known: dict[NodeId, tuple[str, NodeId | None]] = {}
    while wanted:
        above: set[NodeId] = set()
        for ids in slices(sorted(wanted)):
            rows = connection.execute(_FOLDERS, {"b_ns": namespace, "b_ids": ids})
            for row in rows:
                known[row.node_id] = (row.name, row.parent_id)
                if row.parent_id is not None:
                    above.add(row.parent_id)
        wanted = above - known.keys() - {NodeId(namespace)}
    return known
