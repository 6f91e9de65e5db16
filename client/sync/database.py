"""What a sync remembers between runs: one SQLite file for each folder.

    meta        which server, user and folder this is about; how far the journal was read
    base        each entry as it was when both sides last agreed
    remote      the server's tree, by node, as the journal tells it
    hashes      what each local file held when it had this size, these times and this inode
    manifests   the blocks of contents that are named above, 36 bytes each (digest, size)
    decisions   the last decision about each path, for `strata why`
    under_way   what the latest plan was to bring to the server

Every row is a memory of something that can be found out again: from the disk, or from the server. A row may
be lost (then it is found out), it must not be ahead of the facts. So rows of `base` are written when what they
tell is done and on the disk. Losing the last ones, as SQLite in WAL mode with `synchronous=NORMAL` may when the
power fails, costs a comparison and nothing else.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Self

from client.errors import LocalProblem

SCHEMA = 1
"""Number of the schema, in SQLite's `user_version`."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE base (
    node_id TEXT PRIMARY KEY, parent_id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    root_hash TEXT, size INTEGER, version_id TEXT,
    f_size INTEGER, f_mtime_ns INTEGER, f_inode INTEGER, f_device INTEGER
) WITHOUT ROWID;
CREATE TABLE remote (
    node_id TEXT PRIMARY KEY, namespace TEXT NOT NULL, parent_id TEXT NOT NULL, name TEXT NOT NULL,
    kind TEXT NOT NULL, root_hash TEXT, size INTEGER, version_id TEXT, modified_at TEXT
) WITHOUT ROWID;
CREATE INDEX remote_parent ON remote (parent_id);
CREATE TABLE hashes (
    path BLOB PRIMARY KEY, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, root_hash TEXT NOT NULL, clean INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX hashes_root ON hashes (root_hash);
CREATE TABLE manifests (root_hash TEXT PRIMARY KEY, blocks BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE decisions (
    path TEXT PRIMARY KEY, decided_at TEXT NOT NULL, rule TEXT NOT NULL, sentence TEXT NOT NULL,
    action TEXT NOT NULL, outcome TEXT NOT NULL, base TEXT, local TEXT, remote TEXT
) WITHOUT ROWID;
CREATE TABLE under_way (node_id TEXT, path TEXT, root_hash TEXT, size INTEGER);
"""


class Database:
    """The open file; any number of threads may use one, a statement or a transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if need be; raises LocalProblem for one that is damaged or of a later schema."""
        self.path = path
        self._lock = RLock()
        self._depth = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=10
            )
            for setting in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-32000"):
                self._connection.execute(f"PRAGMA {setting}")
            self._ensure_tables()
        except OSError as error:
            raise LocalProblem(f"{path.parent}: {error.strerror}", fatal=True) from None
        except sqlite3.DatabaseError as error:
            raise self._problem(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, for this thread alone; one within another is part of it. Raises LocalProblem."""
        with self._lock:
            outermost = self._depth == 0
            try:
                if outermost:
                    self._connection.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield self._connection
                except BaseException:
                    if outermost and self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                else:
                    if outermost:
                        self._connection.execute("COMMIT")
                finally:
                    self._depth -= 1
            except sqlite3.DatabaseError as error:
                raise self._problem(error) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For statements that only read; raises LocalProblem."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.DatabaseError as error:
                raise self._problem(error) from None

    def get(self, key: str) -> str | None:
        """A value of `meta`."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, **values: str | None) -> None:
        """Set values of `meta`; None removes one."""
        with self.transaction() as connection:
            for key, value in values.items():
                if value is None:
                    connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _ensure_tables(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found == SCHEMA:
            return
        if found:
            raise LocalProblem(f"{self.path} was written by another version of strata", fatal=True)
        # One script, one transaction: a crash leaves no file with half of the tables.
        self._connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {SCHEMA};COMMIT;")

    def _problem(self, error: sqlite3.DatabaseError) -> LocalProblem:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if full:
            return LocalProblem(f"{self.path}: {error}", code="disk_full", fatal=True)
        if isinstance(error, sqlite3.OperationalError):
            return LocalProblem(f"{self.path}: {error}", fatal=True)
        return LocalProblem(
            f"{self.path} is damaged ({error}): remove it, and the next sync compares both sides anew, "
            "deleting nothing",
            code="state_damaged",
            fatal=True,
        )
