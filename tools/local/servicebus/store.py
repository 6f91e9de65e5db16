"""SQLite behind one writing thread: what was acknowledged survives the process.

A commit takes far longer than a message, so messages share commits: whatever has come in while one commit runs is
written by the next, and nobody is told of success before it. That is why a hundred clients that each wait for their
message are hardly slower than one.

WAL with synchronous=NORMAL: a commit survives kill -9 of the broker. A power failure may take the last ones with it;
for a development tool that is worth the flush that each commit would cost.

A store that fails once is finished: memory is ahead of the disk then, and going on would lie to every sender.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tools.local.servicebus.amqp.message import read_message
from tools.local.servicebus.amqp.values import Malformed
from tools.local.servicebus.journal import Statement
from tools.local.servicebus.messages import State, Stored

_log = logging.getLogger("servicebus.store")

SCHEMA_VERSION = 1
MOST_TOGETHER = 256
"""Writes that share a commit at most; it bounds how long the first of them waits."""

_SCHEMA = """
CREATE TABLE messages (
    entity TEXT NOT NULL, sequence INTEGER NOT NULL, raw BLOB NOT NULL, enqueued INTEGER NOT NULL,
    expires INTEGER, due INTEGER, state INTEGER NOT NULL, deliveries INTEGER NOT NULL,
    reason TEXT, description TEXT
);
CREATE UNIQUE INDEX messages_by_place ON messages (entity, sequence);
CREATE TABLE counters (entity TEXT PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE sessions (
    entity TEXT NOT NULL, session TEXT NOT NULL, state BLOB NOT NULL, updated INTEGER NOT NULL,
    PRIMARY KEY (entity, session)
);
CREATE TABLE seen (
    entity TEXT NOT NULL, message_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (entity, message_id)
);
CREATE INDEX seen_by_time ON seen (entity, at);
"""


class StoreFailed(Exception):
    """The file can't be opened, is somebody else's or can't be written any more."""


@dataclass(frozen=True, slots=True)
class _Job:
    statements: Sequence[Statement]
    written: "asyncio.Future[None]"


class Store:
    """One file. Reading is for the start; `write` is for the event loop that `open_store` was called on."""

    def __init__(self, path: Path, failed: Callable[[StoreFailed], None]) -> None:
        self._path, self._failed = path, failed
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection = _connect(path)
        self._thread = threading.Thread(target=self._write_all, name="servicebus-store", daemon=True)
        self._thread.start()

    def write(self, statements: Sequence[Statement]) -> "asyncio.Future[None]":
        """Queue statements for one transaction; done when they would survive the process. Order is kept."""
        written = self._loop.create_future()
        if statements:
            self._jobs.put(_Job(statements, written))
        else:
            written.set_result(None)
        return written

    def close(self) -> None:
        """Finish what is queued, and close the file."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    # --- at start

    def messages(self) -> Iterator[tuple[str, Stored]]:
        """All messages with the paths of their queues. One that can't be read is logged and left where it is."""
        rows = self._connection.execute(
            "SELECT entity, sequence, raw, enqueued, expires, due, state, deliveries, reason, description"
            " FROM messages ORDER BY entity, sequence"
        )
        for entity, sequence, raw, enqueued, expires, due, state, deliveries, reason, description in rows:
            try:
                message = read_message(raw)
            except Malformed as error:
                _log.error("message %d of %s can't be read: %s", sequence, entity, error)
                continue
            yield (
                entity,
                Stored(
                    *(sequence, raw, message, enqueued, expires, due, State(state), deliveries),
                    reason=reason,
                    description=description,
                ),
            )

    def counters(self) -> list[tuple[str, int]]:
        return self._connection.execute("SELECT entity, next FROM counters").fetchall()

    def sessions(self) -> list[tuple[str, str, bytes, int]]:
        return self._connection.execute("SELECT entity, session, state, updated FROM sessions").fetchall()

    def seen(self) -> list[tuple[str, str, int]]:
        """In the order of their times."""
        return self._connection.execute("SELECT entity, message_id, at FROM seen ORDER BY at").fetchall()

    # --- the thread

    def _write_all(self) -> None:
        failure: StoreFailed | None = None
        ends = False
        while not ends:
            first = self._jobs.get()
            if first is None:
                return
            jobs = [first]
            while len(jobs) < MOST_TOGETHER:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    ends = True
                    break
                jobs.append(job)
            if failure is None:
                failure = self._commit(jobs)
            self._tell(jobs, failure)

    def _commit(self, jobs: Sequence[_Job]) -> StoreFailed | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            statements = [each for job in jobs for each in job.statements]
            for text, group in groupby(statements, key=lambda each: each[0]):
                self._connection.executemany(text, [values for _, values in group])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            return StoreFailed(f"{self._path} can't be written: {error}")
        return None

    def _tell(self, jobs: Sequence[_Job], failure: StoreFailed | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._told, jobs, failure)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            _log.debug("written, with nobody left to hear of it")

    def _told(self, jobs: Sequence[_Job], failure: StoreFailed | None) -> None:
        if failure is not None:
            self._failed(failure)
        for job in jobs:
            if job.written.done():
                continue
            if failure is None:
                job.written.set_result(None)
            else:
                job.written.cancel()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
        # Two brokers over one file would each believe only their own memory.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            connection.close()
            raise StoreFailed(f"{path} was written by another version of this broker: delete it")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        # The lock is taken by the first to write, and kept.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreFailed(f"{path} can't be opened: {error} (does another broker have it?)") from None
    return connection
