"""Grants into the staging container, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import staging
from shared.domain.blocks import BlockRef, Sha256
from shared.domain.ids import BlobId, NamespaceId, UserId
from shared.ports.tables_staging import Outstanding, Staged, StagingState

_STAGED = select(
    staging.c.staging_id,
    staging.c.ns_id,
    staging.c.user_id,
    staging.c.sha256,
    staging.c.size,
    staging.c.state,
    staging.c.created_at,
    staging.c.expires_at,
)
_GRANTED = staging.c.state == StagingState.GRANTED.value


class SqlStaging:
    """Implements the Staging port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, grants: Sequence[Staged]) -> None:
        rows = [
            {
                "staging_id": grant.id,
                "ns_id": grant.namespace,
                "user_id": grant.user_id,
                "sha256": grant.block.sha256,
                "size": grant.block.size,
                "state": grant.state.value,
                "created_at": grant.created_at,
                "expires_at": grant.expires_at,
            }
            for grant in grants
        ]
        if rows:
            self._connection.execute(insert(staging), rows)

    def get(self, staging_id: BlobId) -> Staged | None:
        row = self._connection.execute(_STAGED.where(staging.c.staging_id == staging_id)).first()
        return _staged(row) if row else None

    def outstanding(self, user: UserId) -> Outstanding:
        total = select(func.count(), func.coalesce(func.sum(staging.c.size), 0)).where(
            staging.c.user_id == user, _GRANTED
        )
        count, size = self._connection.execute(total).one()
        return Outstanding(count, int(size))

    def granted(
        self, namespace: NamespaceId, user: UserId, hashes: Sequence[Sha256], *, until: datetime
    ) -> Sequence[Staged]:
        found: list[Staged] = []
        for some in slices(hashes):
            rows = self._connection.execute(
                _STAGED.where(
                    staging.c.user_id == user,
                    _GRANTED,
                    staging.c.ns_id == namespace,
                    staging.c.sha256.in_(some),
                    staging.c.expires_at > until,
                )
            )
            found += [_staged(row) for row in rows]
        return found

    def settle(self, staging_id: BlobId, state: StagingState) -> bool:
        change = update(staging).where(staging.c.staging_id == staging_id, _GRANTED)
        return self._connection.execute(change.values(state=state.value)).rowcount == 1

    def waiting(self, *, created_before: datetime, after: BlobId | None, limit: int) -> Sequence[Staged]:
        page = _STAGED.where(_GRANTED, staging.c.created_at < created_before)
        if after is not None:
            page = page.where(staging.c.staging_id > after)
        rows = self._connection.execute(page.order_by(staging.c.staging_id).limit(limit))
        return [_staged(row) for row in rows]

    def forget(self, *, created_before: datetime, limit: int) -> int:
        old = (
            select(staging.c.staging_id).where(~_GRANTED, staging.c.created_at < created_before).limit(limit)
        )
        return self._connection.execute(delete(staging).where(staging.c.staging_id.in_(old))).rowcount


def _staged(row: Row[*tuple[Any, ...]]) -> Staged:
    return Staged(
        row.staging_id,
        row.ns_id,
        row.user_id,
        BlockRef(row.sha256, row.size),
        StagingState(row.state),
        row.created_at,
        row.expires_at,
    )
