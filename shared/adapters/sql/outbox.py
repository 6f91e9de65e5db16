"""The outbox in SQL. What an event tells stands in the journal, so a row is a key and a time."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, FromClause, and_, bindparam, delete, func, insert, select

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import changes, namespaces, outbox
from shared.domain.events import FileEvent
from shared.domain.ids import NamespaceId
from shared.ports.tables_outbox import Backed, EventKey

_KEY = (outbox.c.ns_id, outbox.c.seq)
OLDEST = (
    select(*_KEY, outbox.c.created_at)
    .where(outbox.c.created_at <= bindparam("b_until"))
    .order_by(outbox.c.created_at, *_KEY)
)


def add_event(connection: Connection, namespace: NamespaceId, seq: int, *, now: datetime) -> None:
    """The journal's part of it."""
    connection.execute(insert(outbox), {"ns_id": namespace, "seq": seq, "created_at": now})


class SqlOutbox:
    """Implements the Outbox port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def waiting(self, *, created_until: datetime, limit: int) -> Sequence[FileEvent]:
        some = OLDEST.limit(limit).subquery()
        return sorted(self._events(some, b_until=created_until), key=lambda event: event.at)

    def find(self, keys: Collection[EventKey]) -> Sequence[FileEvent]:
        found: list[FileEvent] = []
        for namespace, seqs in _by_namespace(keys):
            for some in slices(seqs):
                these = select(*_KEY).where(outbox.c.ns_id == namespace, outbox.c.seq.in_(some)).subquery()
                found += self._events(these)
        return found

    def remove(self, keys: Collection[EventKey]) -> None:
        for namespace, seqs in _by_namespace(keys):
            for some in slices(seqs):
                self._connection.execute(
                    delete(outbox).where(outbox.c.ns_id == namespace, outbox.c.seq.in_(some))
                )

    def forget(self, *, created_before: datetime, limit: int) -> int:
        old = select(*_KEY).where(outbox.c.created_at < created_before).limit(limit)
        keys = [(row.ns_id, row.seq) for row in self._connection.execute(old)]
        self.remove(keys)
        return len(keys)

    def backed(self, *, limit: int) -> Backed:
        oldest = select(func.min(outbox.c.created_at))
        since = self._connection.execute(oldest).scalar_one_or_none()
        some = select(outbox.c.seq).limit(limit).subquery()
        count = self._connection.execute(select(func.count()).select_from(some)).scalar_one()
        return Backed(count, since)

    def _events(self, keys: FromClause, **values: object) -> list[FileEvent]:
        """What the journal tells of these seqs."""
        each = (
            changes.c.ns_id,
            changes.c.seq,
            namespaces.c.epoch,
            changes.c.device_id,
            changes.c.created_at,
            changes.c.kind,
        )
        told = (
            select(*each, func.count().label("times"))
            .select_from(keys)
            .join(changes, and_(changes.c.ns_id == keys.c.ns_id, changes.c.seq == keys.c.seq))
            .join(namespaces, namespaces.c.ns_id == changes.c.ns_id)
            .group_by(*each)
            .order_by(changes.c.ns_id, changes.c.seq, changes.c.kind)
        )
        events: dict[EventKey, FileEvent] = {}
        for row in self._connection.execute(told, values):
            known = events.get((row.ns_id, row.seq))
            events[row.ns_id, row.seq] = FileEvent(
                namespace=row.ns_id,
                epoch=row.epoch,
                seq=row.seq,
                device=row.device_id,
                at=row.created_at,
                kinds={**(known.kinds if known else {}), row.kind: row.times},
            )
        return list(events.values())


def _by_namespace(keys: Collection[EventKey]) -> list[tuple[NamespaceId, list[int]]]:
    seqs: dict[NamespaceId, list[int]] = defaultdict(list)
    for namespace, seq in sorted(keys):
        seqs[namespace].append(seq)
    return list(seqs.items())
