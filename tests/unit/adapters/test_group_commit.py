"""Writes that share a flush: each is all or nothing by itself, and none is told of before it is durable."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text

from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.group_commit import MOST_TOGETHER, GroupCommit


class Shared:
    """A group over one table, whose writer can be held back until others wait behind it."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.engine, self.path = engine, path
        self.commits = 0
        self.fail_commit: Exception | None = None
        self.at_commit: Callable[[], None] = lambda: None
        self.group = GroupCommit(self._transaction, lambda attempt: attempt())
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
        event.listen(engine, "commit", self._committing)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            yield connection
            if self.fail_commit is not None:
                raise self.fail_commit

    def _committing(self, _connection: Connection) -> None:
        self.commits += 1
        self.at_commit()

    def add(self, number: int) -> Future[int]:
        return self.group.submit(lambda connection: self._insert(connection, number))

    def add_and_fail(self, number: int) -> Future[int]:
        def work(connection: Connection) -> int:
            self._insert(connection, number)
            raise LookupError("refused")

        return self.group.submit(work)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """What is submitted inside waits together, and is written together."""
        begun, go_on = threading.Event(), threading.Event()

        def hold(_connection: Connection) -> None:
            begun.set()
            assert go_on.wait(10)

        first = self.group.submit(hold)
        assert begun.wait(10)
        try:
            yield
        finally:
            go_on.set()
        first.result(10)

    def stored(self) -> list[int]:
        """What another process would see now."""
        other = sqlite3.connect(self.path)
        try:
            return [n for (n,) in other.execute("SELECT n FROM t ORDER BY n")]
        finally:
            other.close()

    @staticmethod
    def _insert(connection: Connection, number: int) -> int:
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})
        return number


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    path = tmp_path / "group.db"
    engine = make_engine(f"sqlite:///{path}", threads=2)
    shared = Shared(engine, path)
    yield shared
    shared.group.shutdown()
    engine.dispose()


def test_what_waits_together_shares_one_commit(shared: Shared) -> None:
    with shared.held_back():
        before = shared.commits
        futures = [shared.add(number) for number in range(10)]
    assert [future.result(10) for future in futures] == list(range(10))
    assert shared.commits == before + 2, "one for the write that was held back, one for all behind it"
    assert shared.stored() == list(range(10))


def test_a_shared_commit_is_bounded(shared: Shared) -> None:
    with shared.held_back():
        before = shared.commits
        futures = [shared.add(number) for number in range(MOST_TOGETHER + 1)]
    for future in futures:
        future.result(10)
    assert shared.commits == before + 3


def test_a_failing_write_takes_only_itself_back(shared: Shared) -> None:
    with shared.held_back():
        good, bad, after = shared.add(1), shared.add_and_fail(2), shared.add(3)
    assert (good.result(10), after.result(10)) == (1, 3)
    with pytest.raises(LookupError):
        bad.result(10)
    assert shared.stored() == [1, 3]


def test_a_failing_write_alone_leaves_nothing_and_the_next_goes_on(shared: Shared) -> None:
    with pytest.raises(LookupError):
        shared.add_and_fail(1).result(10)
    assert shared.add(2).result(10) == 2
    assert shared.stored() == [2]


def test_when_the_commit_fails_all_fail_and_nothing_is_stored(shared: Shared) -> None:
    futures: list[Future[int]] = []
    with pytest.raises(OSError, match="disk is full"), shared.held_back():
        futures += [shared.add(number) for number in range(3)]
        # The write that is held back has not been committed either, and shares the fate.
        shared.fail_commit = OSError("the disk is full")
    for future in futures:
        with pytest.raises(OSError, match="disk is full"):
            future.result(10)
    assert shared.stored() == []
    shared.fail_commit = None
    assert shared.add(7).result(10) == 7


def test_nobody_hears_of_success_before_it_is_durable(shared: Shared) -> None:
    seen: list[tuple[bool, list[int]]] = []
    futures: list[Future[int]] = []
    with shared.held_back():
        futures += [shared.add(number) for number in range(3)]
        shared.at_commit = lambda: seen.append((any(f.done() for f in futures), shared.stored()))
    for future in futures:
        future.result(10)
    assert (False, []) in seen
    assert all(not done for done, _ in seen)
    assert shared.stored() == [0, 1, 2]


def test_a_write_that_was_cancelled_before_its_turn_is_not_made(shared: Shared) -> None:
    with shared.held_back():
        kept, dropped = shared.add(1), shared.add(2)
        assert dropped.cancel()
    assert kept.result(10) == 1
    assert shared.stored() == [1]
