"""One writer for SQLite, and one flush to disk for all that wait.

SQLite lets one transaction write at a time, and with synchronous=FULL each commit waits for the disk. Eight
uploads at once would wait for the disk one after the other. So writes of a process queue for one thread, and
whatever waits while a commit is on its way to the disk shares the next one: each runs in a savepoint of its own, so
that one which fails takes only itself back, and nobody hears of success before the shared commit is durable.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

T = TypeVar("T")

MOST_TOGETHER = 64
"""Writes that share a commit at most: it bounds how long the first of them waits for the last."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Connection], Any]
    context: contextvars.Context
    future: Future[Any]


class GroupCommit:
    """Runs writes in the order of `submit`.

    `transaction` opens one transaction; `retrying` calls what it is given until it succeeds or trying again is useless.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        retrying: Callable[[Callable[[], None]], None],
    ) -> None:
        self._transaction, self._retrying = transaction, retrying
        self._waiting: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sql-write")

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue `work`; the future has its result once that is durable, or its exception once it left no effect."""
        job = _Job(work, contextvars.copy_context(), Future())
        with self._lock:
            self._waiting.append(job)
        self._thread.submit(self._write)
        return job.future

    def shutdown(self) -> None:
        """Finish what waits, and end the thread."""
        self._thread.shutdown()

    def _write(self) -> None:
        jobs = list(self._take())
        if not jobs:
            return
        outcomes: list[tuple[Any, BaseException | None]] = []

        def attempt() -> None:
            outcomes.clear()
            with self._transaction() as connection:
                outcomes.extend(_run(connection, job, alone=len(jobs) == 1) for job in jobs)

        try:
            self._retrying(attempt)
        except BaseException as error:  # noqa: BLE001 (handed to everybody who waits for it)
            outcomes = [(None, error)] * len(jobs)
        for job, (result, failure) in zip(jobs, outcomes, strict=True):
            if failure is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(failure)

    def _take(self) -> Iterator[_Job]:
        with self._lock:
            count = min(len(self._waiting), MOST_TOGETHER)
            taken = [self._waiting.popleft() for _ in range(count)]
        return (job for job in taken if job.future.set_running_or_notify_cancel())


def _run(connection: Connection, job: _Job, *, alone: bool) -> tuple[Any, BaseException | None]:
    if alone:
        # Nothing else is in this transaction: a failure may take all of it back.
        return job.context.run(job.work, connection), None
    savepoint = connection.begin_nested()
    try:
        result = job.context.run(job.work, connection)
    except BaseException as error:  # noqa: BLE001 (handed to the one who waits for it)
        savepoint.rollback()
        return None, error
    savepoint.commit()
    return result, None
