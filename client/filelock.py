"""A lock between the processes that share one STRATA_HOME.

The operating system drops it with the process that holds it, so that a crash never leaves it locked. Each use
opens the file anew: the lock belongs to the open file, and so it holds off the threads of one process as well.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, waiting for it; the file stays, since removing it would part those who wait."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file.fileno())
        yield
