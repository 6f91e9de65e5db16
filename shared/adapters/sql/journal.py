"""The journal in SQL."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, insert, select

from shared.adapters.sql.nodes import VERSION_COLUMNS, node_of
from shared.adapters.sql.outbox import add_event
from shared.adapters.sql.schema import changes, nodes, versions
from shared.domain.ids import DeviceId, NamespaceId, NodeId
from shared.ports.tables_journal import Change, ChangeKind, Origin, Recorded

_ENTRIES = (
    select(
        changes.c.seq,
        changes.c.position,
        changes.c.kind.label("change_kind"),
        changes.c.node_id.label("changed_node"),
        changes.c.version_id.label("changed_version"),
        changes.c.device_id,
        nodes.c.node_id,
        nodes.c.parent_id,
        nodes.c.kind,
        nodes.c.name,
        *VERSION_COLUMNS,
    )
    .join(
        nodes,
        and_(
            nodes.c.ns_id == changes.c.ns_id,
            nodes.c.node_id == changes.c.node_id,
            nodes.c.deleted_seq.is_(None),
            nodes.c.purged_at.is_(None),
        ),
        isouter=True,
    )
    .join(versions, versions.c.version_id == nodes.c.head_version, isouter=True)
    .where(changes.c.ns_id == bindparam("b_ns"))
    .order_by(changes.c.seq, changes.c.position)
)
_BEHIND = _ENTRIES.where(changes.c.seq > bindparam("b_seq"))
_OF_SEQ = _ENTRIES.where(changes.c.seq == bindparam("b_seq"))
_SINCE = (
    select(
        changes.c.seq,
        changes.c.created_at,
        changes.c.kind,
        changes.c.node_id,
        changes.c.version_id,
        changes.c.device_id,
        changes.c.from_parent,
        changes.c.from_name,
    )
    .where(changes.c.ns_id == bindparam("b_ns"), changes.c.seq >= bindparam("b_seq"))
    .order_by(changes.c.seq, changes.c.position)
)


class SqlJournal:
    """Implements the Journal port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
                "from_parent": change.origin.parent if change.origin else None,
                "from_name": change.origin.name if change.origin else None,
            }
            for position, change in enumerate(entries)
        ]
        self._connection.execute(insert(changes), rows)
        add_event(self._connection, namespace, seq, now=now)

    def after(self, namespace: NamespaceId, *, seq: int, limit: int) -> Sequence[Recorded]:
        wanted = {"b_ns": namespace, "b_seq": seq}
        rows = self._connection.execute(_BEHIND.limit(limit + 1), wanted).all()
        if len(rows) <= limit:
            return [_recorded(row) for row in rows]
        # The last seq may go on behind the limit: it is left to the next page, unless it is the only one.
        last = rows[-1].seq
        whole = [row for row in rows if row.seq != last]
        if not whole:
            whole = list(self._connection.execute(_OF_SEQ, {"b_ns": namespace, "b_seq": last}))
        return [_recorded(row) for row in whole]

    def changed_by(
        self, namespace: NamespaceId, device: DeviceId, *, since: datetime, until: datetime
    ) -> Sequence[tuple[int, NodeId]]:
        theirs = (
            select(changes.c.seq, changes.c.node_id)
            .where(
                changes.c.ns_id == namespace,
                changes.c.device_id == device,
                changes.c.created_at >= since,
                changes.c.created_at <= until,
            )
            .order_by(changes.c.seq, changes.c.position)
        )
        return [(row.seq, row.node_id) for row in self._connection.execute(theirs)]

    def history(
        self, namespace: NamespaceId, some: Set[NodeId], *, since_seq: int
    ) -> Sequence[tuple[int, datetime, Change]]:
        told: list[tuple[int, datetime, Change]] = []
        wanted = {"b_ns": namespace, "b_seq": since_seq}
        for row in self._connection.execute(_SINCE, wanted):
            # Thousands of nodes are no condition that a database takes, and the journal's order is at hand.
            if row.node_id in some:
                origin = Origin(row.from_parent, row.from_name) if row.from_parent else None
                change = Change(ChangeKind(row.kind), row.node_id, row.version_id, row.device_id, origin)
                told.append((row.seq, row.created_at, change))
        return told

    def touched(self, namespace: NamespaceId, *, seq: int, limit: int) -> Sequence[NodeId]:
        behind = (
            select(changes.c.node_id)
            .where(changes.c.ns_id == namespace, changes.c.seq > seq)
            .order_by(changes.c.seq, changes.c.position)
            .limit(limit)
        )
        return list(self._connection.execute(behind).scalars())


def _recorded(row: Row[*tuple[Any, ...]]) -> Recorded:
    change = Change(ChangeKind(row.change_kind), row.changed_node, row.changed_version, row.device_id)
    return Recorded(row.seq, row.position, change, node_of(row) if row.node_id is not None else None)
