"""Namespaces, members and kept replies in SQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from shared.adapters.sql.schema import members, namespaces, nodes, replies
from shared.domain.accounts import Role
from shared.domain.errors import KeyReused, NotFound, QuotaExceeded
from shared.domain.ids import NamespaceId, UserId
from shared.ports.tables_namespaces import Repeatable, Revision, Standing, Usage

# Asked for every request, so they are built once.
_PERSONAL = select(namespaces.c.ns_id).where(
    namespaces.c.owner_id == bindparam("b_user"), namespaces.c.kind == "personal"
)
_ROLE = select(members.c.role).where(
    members.c.ns_id == bindparam("b_ns"), members.c.user_id == bindparam("b_user")
)
_SEEN_BY = (
    select(namespaces.c.ns_id, namespaces.c.seq, namespaces.c.epoch)
    .join(members, members.c.ns_id == namespaces.c.ns_id)
    .where(members.c.user_id == bindparam("b_user"))
    .order_by(namespaces.c.ns_id)
)
_REVISION = select(namespaces.c.epoch, namespaces.c.seq, namespaces.c.upkeep).where(
    namespaces.c.ns_id == bindparam("b_ns")
)
_USAGE = select(namespaces.c.quota, namespaces.c.used, namespaces.c.seq).where(
    namespaces.c.ns_id == bindparam("b_ns")
)
# Writing the row, even to what it holds, is the one lock that both databases know.
_LOCK = update(namespaces).where(namespaces.c.ns_id == bindparam("b_ns")).values(used=namespaces.c.used)


class SqlNamespaces:
    """Implements the Namespaces port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_personal(self, namespace: NamespaceId, owner: UserId, *, quota: int, now: datetime) -> None:
        execute = self._connection.execute
        execute(
            insert(namespaces).values(
                ns_id=namespace,
                owner_id=owner,
                kind="personal",
                seq=0,
                epoch=1,
                upkeep=0,
                quota=quota,
                used=0,
                created_at=now,
            )
        )
        execute(insert(members).values(ns_id=namespace, user_id=owner, role=Role.OWNER.value))
        # The root folder stands at seq 0, in front of all that the journal tells.
        execute(
            insert(nodes).values(
                node_id=namespace,
                ns_id=namespace,
                kind="folder",
                name="",
                name_key="",
                created_seq=0,
                created_position=0,
            )
        )

    def personal_of(self, user: UserId) -> NamespaceId | None:
        return self._connection.execute(_PERSONAL, {"b_user": user}).scalar_one_or_none()

    def role(self, namespace: NamespaceId, user: UserId) -> Role | None:
        role = self._connection.execute(_ROLE, {"b_ns": namespace, "b_user": user}).scalar_one_or_none()
        return Role(role) if role else None

    def seen_by(self, user: UserId) -> Sequence[Standing]:
        rows = self._connection.execute(_SEEN_BY, {"b_user": user})
        return [Standing(row.ns_id, row.seq, row.epoch) for row in rows]

    def revision(self, namespace: NamespaceId) -> Revision:
        return Revision(*self._connection.execute(_REVISION, {"b_ns": namespace}).one())

    def usage(self, namespace: NamespaceId) -> Usage:
        return Usage(*self._connection.execute(_USAGE, {"b_ns": namespace}).one())

    def lock(self, namespace: NamespaceId) -> None:
        if self._connection.execute(_LOCK, {"b_ns": namespace}).rowcount != 1:
            raise NotFound("there is no such namespace")

    def advance(self, namespace: NamespaceId, *, delta: int, by: int = 1) -> int:
        change = update(namespaces).where(namespaces.c.ns_id == namespace)
        if delta > 0:
            change = change.where(namespaces.c.used + delta <= namespaces.c.quota)
        changed = self._connection.execute(
            change.values(seq=namespaces.c.seq + by, used=namespaces.c.used + delta)
        )
        if changed.rowcount != 1:
            usage = self.usage(namespace)
            raise QuotaExceeded(
                f"{delta} more bytes don't fit: {usage.used} of {usage.quota} bytes are used",
                quota=usage.quota,
                used=usage.used,
            )
        found = select(namespaces.c.seq).where(namespaces.c.ns_id == namespace)
        seq: int = self._connection.execute(found).scalar_one()
        return seq


class SqlReplies:
    """Implements the Replies port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def recall(self, request: Repeatable) -> str | None:
        row = self._connection.execute(
            select(replies.c.route, replies.c.body_hash, replies.c.response).where(
                replies.c.user_id == request.user_id, replies.c.key == request.key
            )
        ).first()
        if row is None:
            return None
        if (row.route, row.body_hash) != (request.route, request.body_hash):
            raise KeyReused("choose a new Idempotency-Key for a new request")
        response: str = row.response
        return response

    def keep(self, request: Repeatable, reply: str) -> None:
        self._connection.execute(
            insert(replies).values(
                user_id=request.user_id,
                key=request.key,
                route=request.route,
                body_hash=request.body_hash,
                response=reply,
                expires_at=request.expires_at,
            )
        )
