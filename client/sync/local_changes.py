"""Changes in the local folder, each of which checks directly before that what it touches is what was planned about.

Between the scan and the action people work on. So a file is moved, replaced or deleted only if its marks are still
those that the plan knew, and what a name is given to must be free. For the blink between the look and the deed, what is
to go is put aside first, looked at again, and given back if somebody has saved it meanwhile (aside.py). What remains is
a program that has the old file open, and writes to it when it has been replaced or deleted already.

Nothing is ever deleted with what is in it: a folder goes when it is empty.
"""

import errno
import os
import sys
from pathlib import Path
from threading import Lock

from client.errors import LocalProblem
from client.sync.aside import remove_known, rename_to_free, replace_known
from client.sync.scanning import fingerprint_at
from client.sync.trees import Fingerprint, Kind, Names


class Outdated(Exception):
    """What is there isn't what the plan was made for: nothing was done, and a new plan is due."""


class LocalFolder:
    """The folder at `root`. `touched` are folders whose entries have changed since `make_durable`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._touched: set[Path] = set()
        self._lock = Lock()

    def at(self, path: Names) -> Path:
        """Where `path` is on the disk; raises Outdated when a symbolic link has taken a folder's place on the way."""
        there = self.root.joinpath(*path)
        parent = os.fspath(there.parent)
        if os.path.realpath(parent) != parent:
            raise Outdated(f"a symbolic link leads away from {there.parent}")
        return there

    def make_folder(self, path: Names) -> Fingerprint:
        """Make a folder where nothing is; returns its marks. Raises Outdated, LocalProblem."""
        there = self.at(path)
        try:
            there.mkdir()
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            raise Outdated(f"{there}: its place is taken, or the folder above is gone") from None
        except OSError as error:
            raise problem(there, error) from None
        self.touch(there.parent)
        found = fingerprint_at(there)
        if found is None:
            raise Outdated(f"{there} has vanished at once")
        return found

    def move(self, source: Names, target: Names, kind: Kind, marks: Fingerprint) -> None:
        """Rename what is at `source` and still has these marks; raises Outdated, LocalProblem."""
        here, there = self.at(source), self.at(target)
        self.check(here, kind, marks)
        try:
            rename_to_free(here, there)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            raise Outdated(f"{here} or the folder of {there} has vanished, or its place is taken") from None
        except OSError as error:
            raise problem(here, error) from None
        self.touch(here.parent)
        self.touch(there.parent)

    def delete(self, path: Names, kind: Kind, marks: Fingerprint) -> None:
        """Remove a file with these marks, or an empty folder; nothing there is fine. Raises Outdated, LocalProblem."""
        there = self.at(path)
        if not os.path.lexists(there):
            return
        self.check(there, kind, marks)
        try:
            if kind is Kind.FOLDER:
                there.rmdir()
            elif not remove_known(there, marks):
                raise Outdated(f"{there} was saved in the last moment")
        except FileNotFoundError:
            return
        except OSError as error:
            if kind is Kind.FOLDER and any(_entries(there)):
                raise Outdated(f"{there} is not empty") from None
            raise problem(there, error) from None
        self.touch(there.parent)

    def replace(self, there: Path, marks: Fingerprint, part: Path) -> None:
        """Put the file at `part` in the place of the one with these marks; raises Outdated, OSError."""
        self.check(there, Kind.FILE, marks)
        # A file that is executable, or for one group only, stays so with its new content.
        part.chmod(there.stat().st_mode & 0o7777)
        if not replace_known(there, marks, part):
            raise Outdated(f"{there} was saved in the last moment")

    def check(self, there: Path, kind: Kind, marks: Fingerprint | None) -> None:
        """Raise Outdated unless what is at `there` has these marks (a folder: this inode; None: nothing is there)."""
        if marks is None:
            if os.path.lexists(there):
                raise Outdated(f"{there}: something has appeared here")
            return
        found = fingerprint_at(there)
        if kind is Kind.FOLDER:
            same = found is not None and there.is_dir() and found.inode == marks.inode
        else:
            same = found == marks
        if not same:
            raise Outdated(f"{there} has changed since it was looked at")

    def touch(self, folder: Path) -> None:
        """Note that entries of `folder` have changed."""
        with self._lock:
            self._touched.add(folder)

    def make_durable(self) -> None:
        """Have the names on the disk that were made, changed or removed; raises LocalProblem."""
        with self._lock:
            touched, self._touched = self._touched, set()
        if sys.platform == "win32":  # it has no way to ask for that
            return
        for folder in touched:
            try:
                descriptor = os.open(folder, os.O_RDONLY)
            except FileNotFoundError:
                continue  # removed since: then its own name is what counts, in the folder above
            except OSError as error:
                raise problem(folder, error) from None
            try:
                os.fsync(descriptor)
            except OSError as error:
                raise problem(folder, error) from None
            finally:
                os.close(descriptor)


def problem(path: Path, error: OSError) -> LocalProblem:
    """What an error of the operating system means: a full disk stops all that would write, others only this."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return LocalProblem(f"{path}: {error.strerror}", code="disk_full" if full else None)


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
