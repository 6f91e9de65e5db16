"""The metadata database over SQLAlchemy Core: SQLite by default, Azure SQL by its URL.

Both drivers block, so a transaction runs as one plain function in a thread of this adapter's own pool. It is
run again as a whole when the database says that another try can succeed: a deadlock's victim, a lock time-out,
a lost or a just waking connection, a key that somebody else took first.
"""

import asyncio
import contextvars
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.adapters.sql.accounts import SqlAccounts
from shared.adapters.sql.backlogs import SqlBacklogs
from shared.adapters.sql.blocks import SqlBlocks
from shared.adapters.sql.files import SqlFiles
from shared.adapters.sql.group_commit import GroupCommit
from shared.adapters.sql.jobs import SqlJobs
from shared.adapters.sql.journal import SqlJournal
from shared.adapters.sql.namespaces import SqlNamespaces, SqlReplies
from shared.adapters.sql.outbox import SqlOutbox
from shared.adapters.sql.staging import SqlStaging
from shared.adapters.sql.trash import SqlTrash
from shared.domain.errors import Unavailable
from shared.ports.metadata import Transaction

T = TypeVar("T")

_log = logging.getLogger(__name__)

TRIES = 6
"""Runs of one transaction before the caller hears of it; with the pauses, about two seconds of trouble."""

# From the lists that Microsoft's SqlClient retries: deadlock victim, lock time-out, resource limits, a database
# that is moving, paused or just waking, lost connections, snapshot conflict.
_TRANSIENT_NUMBERS = frozenset(
    {1204, 1205, 1222, 3960, 4060, 4221, 10053, 10054, 10060, 10928, 10929, 40143, 40197, 40501, 40540, 40613}
    | {42108, 42109, 49918, 49919, 49920, 233, 997, 64}
)
# Another writer, or a volume that isn't mounted yet.
_SQLITE_TRANSIENT = ("database is locked", "unable to open database file")
_TRANSIENT_STATES = ("08001", "08S01", "40001", "HYT00", "HYT01")


class SqlTransaction:
    """One open transaction, as the ports see it."""

    def __init__(self, connection: Connection) -> None:
        self.accounts = SqlAccounts(connection)
        self.namespaces = SqlNamespaces(connection)
        self.blocks = SqlBlocks(connection)
        self.files = SqlFiles(connection)
        self.trash = SqlTrash(connection)
        self.journal = SqlJournal(connection)
        self.outbox = SqlOutbox(connection)
        self.backlogs = SqlBacklogs(connection)
        self.replies = SqlReplies(connection)
        self.staging = SqlStaging(connection)
        self.jobs = SqlJobs(connection)


class SqlMetadata:
    """Implements the Metadata port; `threads` bounds the transactions that run at once in this process."""

    def __init__(self, engine: Engine, *, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sql")
        # Within a process, SQLite's writers share commits; SQL Server's each have their own.
        one_writer = engine.dialect.name == "sqlite"
        self._group = GroupCommit(partial(self._transaction, writes=True), _retrying) if one_writer else None

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._in_thread(work, writes=False)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        if self._group is None:
            return await self._in_thread(work, writes=True)
        return await asyncio.wrap_future(self._group.submit(lambda c: work(SqlTransaction(c))))

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        if self._group is not None:
            await asyncio.to_thread(self._group.shutdown)
        self._engine.dispose()

    async def _in_thread(self, work: Callable[[Transaction], T], *, writes: bool) -> T:
        def attempt() -> T:
            with self._transaction(writes=writes) as connection:
                return work(SqlTransaction(connection))

        # The context goes along, so that what is logged in the thread names the invocation it belongs to.
        context = contextvars.copy_context()
        call = partial(context.run, _retrying, attempt)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection = connection.execution_options(strata_writes=writes)
            with connection.begin():
                yield connection


def _retrying(attempt: Callable[[], T]) -> T:
    """Run a whole transaction until it succeeds or another try is useless; raises Unavailable after TRIES."""
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except DBAPIError as error:
            # A key that refuses what a read had allowed means that somebody was faster: deciding again,
            # on what is there now, gives the right answer, and there is nothing to wait for.
            outrun = isinstance(error, IntegrityError)
            if not (is_transient(error) or (outrun and number < TRIES)):
                raise
            _log.warning("transaction failed, try %d of %d: %s", number, TRIES, error.orig)
        except PoolTimeoutError as error:
            raise Unavailable("the metadata database is busy") from error
        if not outrun and number < TRIES:
            time.sleep(random.uniform(0.5, 1) * 0.03 * 2**number)  # noqa: S311 (spreads retries, no secret)
    raise Unavailable("the metadata database is away or overloaded")


def is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    if error.connection_invalidated:
        return True
    message = str(error.orig)
    if isinstance(error, OperationalError) and any(text in message for text in _SQLITE_TRANSIENT):
        return True
    state = str(error.orig.args[0]) if error.orig is not None and error.orig.args else ""
    if state in _TRANSIENT_STATES:
        return True
    # ODBC messages end with the server's error number in parentheses, followed by the call's name.
    return any(int(number) in _TRANSIENT_NUMBERS for number in re.findall(r"\((\d{2,5})\) \(SQL", message))
