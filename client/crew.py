"""The threads of a transfer, and the bound on what they hold in memory.

One thread, the caller's, reads and hands out jobs; the crew does them side by side. Reading is faster than any
network, so without a bound the whole file would wait in memory: each job *holds* some room before it is handed
out and releases it when its bytes are gone, and the caller waits when there is none.

A job that fails ends the run: what is waiting is dropped, every pause ends, and the caller gets the error
from whatever it does next. Failures that concern one file only are not raised by jobs but noted there. The
threads are daemons: one that hangs in a dead connection doesn't keep an interrupted command alive.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Condition, Event, Lock, Thread, current_thread
from time import monotonic
from types import TracebackType
from typing import Self

from client.errors import Stopped

Job = Callable[[], None]

LONGEST_GOODBYE = 2.0
"""Seconds that the end of a run waits for jobs under way, so that they don't outlive what they use."""


class Crew:
    """`size` threads and `room` units (bytes, files: what the caller counts); a context manager."""

    def __init__(self, size: int, *, room: int, stop: Event) -> None:
        self.stop = stop
        self._room = room
        self._held = 0
        self._urgent: deque[Job] = deque()
        self._waiting: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._unfinished = 0
        self._failure: BaseException | None = None
        # One lock, and each waits for what concerns it: waking all for everything costs more than small jobs do.
        self._lock = Lock()
        self._work_came = Condition(self._lock)
        self._room_came = Condition(self._lock)
        self._job_ended = Condition(self._lock)
        self._all_ended = Condition(self._lock)
        self._threads = [Thread(target=self._work, daemon=True, name=f"strata-{n}") for n in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        with self._lock:
            self._urgent.clear()
            self._waiting.clear()
            self._later.clear()
            self._wake_all()
        deadline = monotonic() + (0.2 if isinstance(error, KeyboardInterrupt) else LONGEST_GOODBYE)
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))

    def submit(self, job: Job, *, urgent: bool = False, after: float = 0.0) -> None:
        """Have `job` done by a thread, urgent ones first; raises the failure that has ended the run.

        With `after` it is done so many seconds from now, before others, and keeps no thread until then.
        """
        with self._lock:
            self._raise_failure()
            self._unfinished += 1
            if after > 0:
                heappush(self._later, (monotonic() + after, next(self._order), job))
            else:
                (self._urgent if urgent else self._waiting).append(job)
            self._work_came.notify()

    def try_hold(self, units: int) -> bool:
        """Take room if there is some; whoever is alone gets it whatever its size."""
        with self._lock:
            self._raise_failure()
            return self._take(units)

    def hold(self, units: int) -> None:
        """Take room, waiting for it; raises the failure that has ended the run."""
        with self._lock:
            while not self._take(units):
                self._room_came.wait()
                self._raise_failure()
            self._raise_failure()

    def release(self, units: int) -> None:
        with self._lock:
            self._held -= units
            self._room_came.notify_all()

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()`, which is asked again after each job; raises the failure that ended the run."""
        with self._lock:
            self._raise_failure()
            while not reached():
                self._job_ended.wait()
                self._raise_failure()

    def drain(self) -> None:
        """Wait until every job is done; raises the failure that has ended the run."""
        with self._lock:
            self._raise_failure()
            while self._unfinished:
                self._all_ended.wait()
                self._raise_failure()

    def _take(self, units: int) -> bool:
        if self._held and self._held + units > self._room:
            return False
        self._held += units
        return True

    def _raise_failure(self) -> None:
        if self._failure is None or current_thread() in self._threads:
            return
        raise self._failure

    def _wake_all(self) -> None:
        for waiting in (self._work_came, self._room_came, self._job_ended, self._all_ended):
            waiting.notify_all()

    def _next(self) -> Job | None:
        if self._later and self._later[0][0] <= monotonic():
            return heappop(self._later)[2]
        queue = self._urgent or self._waiting
        return queue.popleft() if queue else None

    def _work(self) -> None:
        while True:
            with self._lock:
                while (job := self._next()) is None and not self.stop.is_set():
                    self._work_came.wait(self._later[0][0] - monotonic() if self._later else None)
                if job is None or self.stop.is_set():
                    return
                if self._later:  # somebody else has to watch the time now
                    self._work_came.notify()
            failure: BaseException | None = None
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - not swallowed: it is raised in the thread that waits
                failure = error
            del job  # it holds a block, which must not live until the next job comes
            with self._lock:
                self._unfinished -= 1
                if failure is not None and self._failure is None and not isinstance(failure, Stopped):
                    self._failure = failure
                self._job_ended.notify_all()
                if self._unfinished == 0:
                    self._all_ended.notify_all()
                if failure is not None:
                    self.stop.set()
                    self._wake_all()
