"""Leases of jobs, and the rows that time makes useless, in SQL."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from shared.adapters.sql.schema import jobs, refresh_tokens, replies


class SqlJobs:
    """Implements the Jobs port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, job: str, *, now: datetime, until: datetime) -> int | None:
        taken = self._connection.execute(
            update(jobs)
            .where(jobs.c.job == job, jobs.c.lease_until <= now)
            .values(fence=jobs.c.fence + 1, lease_until=until)
        )
        fence: int | None = self._connection.execute(
            select(jobs.c.fence).where(jobs.c.job == job)
        ).scalar_one_or_none()
        if fence is None:
            # Of two first runs, the key lets one through; the other decides again and finds the lease taken.
            self._connection.execute(insert(jobs).values(job=job, fence=1, lease_until=until))
            return 1
        return fence if taken.rowcount == 1 else None

    def holds(self, job: str, fence: int) -> bool:
        same = update(jobs).where(jobs.c.job == job, jobs.c.fence == fence).values(fence=jobs.c.fence)
        return self._connection.execute(same).rowcount == 1

    def prolong(self, job: str, fence: int, *, until: datetime) -> bool:
        change = update(jobs).where(jobs.c.job == job, jobs.c.fence == fence)
        return self._connection.execute(change.values(lease_until=until)).rowcount == 1

    def cursor(self, job: str) -> str | None:
        return self._connection.execute(select(jobs.c.cursor).where(jobs.c.job == job)).scalar_one_or_none()

    def finish(self, job: str, fence: int, *, now: datetime, cursor: str | None) -> bool:
        change = update(jobs).where(jobs.c.job == job, jobs.c.fence == fence)
        return (
            self._connection.execute(
                change.values(lease_until=now, last_success_at=now, cursor=cursor)
            ).rowcount
            == 1
        )

    def last_successes(self) -> Mapping[str, datetime]:
        rows = self._connection.execute(
            select(jobs.c.job, jobs.c.last_success_at).where(jobs.c.last_success_at.is_not(None))
        )
        return {row.job: row.last_success_at for row in rows}

    def forget_tokens(self, *, expired_before: datetime, limit: int) -> int:
        old = (
            select(refresh_tokens.c.token_hash)
            .where(refresh_tokens.c.expires_at < expired_before)
            .limit(limit)
        )
        gone = delete(refresh_tokens).where(refresh_tokens.c.token_hash.in_(old))
        return self._connection.execute(gone).rowcount

    def forget_replies(self, *, expired_before: datetime, limit: int) -> int:
        # Two columns make the key, which IN can't take on SQL Server; a row is found by both again.
        old = (
            select(replies.c.user_id, replies.c.key).where(replies.c.expires_at < expired_before).limit(limit)
        )
        rows = self._connection.execute(old).all()
        for row in rows:
            self._connection.execute(
                delete(replies).where(replies.c.user_id == row.user_id, replies.c.key == row.key)
            )
        return len(rows)
