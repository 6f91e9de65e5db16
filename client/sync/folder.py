"""The folder that is kept in step: which one it is, where its memory is kept, and that only one sync works on it.

A sync that looks at the wrong folder finds that everything was deleted. An external disk that isn't mounted leaves an
empty folder at the same path, so the root is known by its identity (device and inode) and not by its name. The
memory (a SQLite database) lies in STRATA_HOME and never inside the folder: there it would be copied, synced and edited
together with the files that it describes.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import NamedTuple

from client.errors import Conflicting, LocalProblem


class SyncFolder(NamedTuple):
    """A folder on this machine: `path` is absolute and without symbolic links; `device` and `inode` identify it."""

    path: Path
    device: int
    inode: int

    @property
    def key(self) -> str:
        """A name for what is kept about this folder: equal for equal paths."""
        return sha256(os.fsencode(self.path)).hexdigest()[:16]

    def state_path(self, home: Path) -> Path:
        """Where the folder's memory is, below the STRATA_HOME `home`."""
        return home / "sync" / f"{self.key}.db"

    def lock_path(self, home: Path) -> Path:
        """What whoever syncs the folder holds meanwhile."""
        return home / "sync" / f"{self.key}.lock"


def find_folder(given: Path) -> SyncFolder:
    """The folder that the path `given` names; raises LocalProblem when there is none, or it can't be listed."""
    try:
        path = given.resolve(strict=True)
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise LocalProblem(f"{given}: not a folder", code="not_a_folder")
        with os.scandir(path):
            pass
    except OSError as error:
        raise LocalProblem(f"{given}: {error.strerror}", code="local_not_found") from None
    return SyncFolder(path, status.st_dev, status.st_ino)


@contextmanager
def only_one(folder: SyncFolder, home: Path) -> Iterator[None]:
    """Hold the folder for this process; raises Conflicting when another one syncs it now.

    The operating system lets go of the lock with the process, however that ends.
    """
    path = folder.lock_path(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+b") as file:
        # Whoever asks for the status holds it for a blink.
        if not _try_lock(file.fileno()) and (Event().wait(0.1) or not _try_lock(file.fileno())):
            raise Conflicting(f"{folder.path} is being synced by another process", code="sync_running")
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
