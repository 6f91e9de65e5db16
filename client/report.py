"""What a transfer has done so far, for the progress bar, the summary and the exit code.

Of a million files only the ones that failed are kept, unless the caller asked for JSON and so for all.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Literal, NamedTuple

from client.errors import CommandFailed

Status = Literal["committed", "unchanged", "received", "failed"]

FAILURES_KEPT = 1_000


class Done(NamedTuple):
    """What became of one file; `size` in bytes, `error` when it failed."""

    status: Status
    source: str
    target: str
    size: int = 0
    file_id: str = ""
    version_id: str = ""
    version: int = 0
    error: CommandFailed | None = None


class Skipped(NamedTuple):
    """What was passed over, and why."""

    path: str
    reason: str
    error: CommandFailed | None


class Report:
    """Counts from many threads; `error` is the worst that happened.

    `on_bytes` and `on_files` are told how many came to be settled, `say` gets messages about single files,
    `remark` what is good to know about the run.
    """

    def __init__(
        self,
        *,
        keep_all: bool = False,
        on_bytes: Callable[[int], None] | None = None,
        on_files: Callable[[int], None] | None = None,
        say: Callable[[str], None] | None = None,
        remark: Callable[[str], None] | None = None,
    ) -> None:
        self._keep_all = keep_all
        self._on_bytes = on_bytes
        self._on_files = on_files
        self._say = say
        self._remark = remark
        self._lock = Lock()
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.bytes_sent = 0
        self.done: list[Done] = []
        self.skipped: list[Skipped] = []
        self.error: CommandFailed | None = None

    def advance(self, size: int) -> None:
        """So many more bytes have arrived (fewer, for a file that has to be begun again)."""
        if self._on_bytes:
            self._on_bytes(size)

    def sent(self, size: int) -> None:
        """So many bytes of blocks went over the wire: fewer than were settled, where the server had them."""
        with self._lock:
            self.bytes_sent += size

    def remark(self, text: str) -> None:
        """Something that went another way than asked for, and is no failure."""
        if self._remark:
            self._remark(text)

    def file(self, done: Done) -> None:
        with self._lock:
            self.counts[done.status] += 1
            if done.error is None:
                self.bytes += done.size
            self._note(done.error)
            if self._keep_all or (done.error and len(self.done) < FAILURES_KEPT):
                self.done.append(done)
        if done.error and self._say:
            self._say(
                f"{done.target}: {done.error}" if done.target not in str(done.error) else str(done.error)
            )
        if self._on_files:
            self._on_files(1)

    def pass_over(self, path: str, reason: str, error: CommandFailed | None) -> None:
        with self._lock:
            self.counts["skipped"] += 1
            self._note(error)
            if self._keep_all or len(self.skipped) < FAILURES_KEPT:
                self.skipped.append(Skipped(path, reason, error))
        if self._say:
            self._say(f"passed over {path}: {reason}" if error is None else str(error))

    def _note(self, error: CommandFailed | None) -> None:
        # The worst by exit code, so that the order in which threads finish doesn't decide what a script sees.
        if error and (self.error is None or error.exit_code > self.error.exit_code):
            self.error = error
