"""What a run has done so far, for the summary, for programs, and for the exit code."""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from client.errors import CommandFailed

FAILURES_KEPT = 1_000

SAID_AT_MOST = 20
"""Failures that are told one by one: a thousand equal lines hide what matters."""


class Failure(NamedTuple):
    """Something that could not be done about `path` (as shown), and why."""

    path: str
    error: CommandFailed


def _nobody(said: object) -> None:
    pass


class Tally:
    """Counts from many threads. `changed` are bytes of blocks that were new in a file, in either direction: a whole new
    file, or the blocks that an edit made; it is what a perfect line would have carried.

    `say` is told what went wrong, `remark` what is good to know, `on_bytes` how many bytes of files came to be settled.
    """

    def __init__(
        self,
        *,
        say: Callable[[str], None] = _nobody,
        remark: Callable[[str], None] = _nobody,
        on_bytes: Callable[[int], None] = _nobody,
    ) -> None:
        self.say, self.remark, self.on_bytes = say, remark, on_bytes
        self.counts: Counter[str] = Counter()
        self.changed = 0
        self.block_bytes_sent = 0
        self.block_bytes_fetched = 0
        self.conflicts: list[tuple[str, str]] = []
        self.failures: list[Failure] = []
        self.error: CommandFailed | None = None
        self._lock = Lock()

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def changed_bytes(self, size: int) -> None:
        with self._lock:
            self.changed += size

    def sent(self, size: int) -> None:
        with self._lock:
            self.block_bytes_sent += size

    def fetched(self, size: int) -> None:
        with self._lock:
            self.block_bytes_fetched += size

    def conflict(self, path: str, copy: str, why: str) -> None:
        """Two things were kept: that is no failure, and people want to know."""
        with self._lock:
            self.counts["conflicts"] += 1
            self.conflicts.append((path, copy))
        self.remark(f"{path}: {why} It is {copy} now.")

    def failed(self, path: str, error: CommandFailed) -> None:
        with self._lock:
            self.counts["failed"] += 1
            # The worst by exit code, so that the order in which threads finish doesn't decide what a script sees.
            if self.error is None or error.exit_code > self.error.exit_code:
                self.error = error
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append(Failure(path, error))
            told = self.counts["failed"]
        if told <= SAID_AT_MOST:
            self.say(str(error) if path in str(error) else f"{path}: {error}")
        elif told == SAID_AT_MOST + 1:
            self.say("and more of them (--json lists them)")
