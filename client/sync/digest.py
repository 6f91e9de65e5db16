"""One hash over the names and marks of everything in a folder: equal ones, and nothing has changed.

It is compared with one that was kept when no mark was in doubt (see scanning.py): every change since has left another.
"""

import os
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple

from client.sync.ignoring import is_part
from client.sync.kept_names import why_not_kept

if TYPE_CHECKING:
    from client.sync.trees import Names

Ignores = Callable[["Names", bool], bool]
"""Whether something is to be left out; the second argument says that it is a folder. What is below an ignored folder
is not asked about."""


Marks = tuple[str, int, int, int, int, int, int]
"""An entry's name, mode, inode, device, size in bytes, and the times of its last change and of its inode's, in ns."""


class Listing(NamedTuple):
    """What is in a folder; it was looked at from `began_ns` to `ended_ns`, in nanoseconds since 1970."""

    began_ns: int
    ended_ns: int
    entries: list[Marks]


class Walk:
    """What a look for the digest has met, so that a scan right behind it need not ask the disk again.

    It has a `digest` if it has come to its end.
    """

    def __init__(self) -> None:
        self.listings: dict[Names, Listing] = {}
        self.digest: str | None = None


def digest_of(root: Path, ignores: Ignores | None, walk: Walk | None = None) -> str | None:
    """The digest that a scan would have, in a third of its time; None when it would have none, or there are parts.

    What is met goes into the `walk`.
    """
    digest = Digest()
    ways: list[Names] = [()]
    try:
        while ways:
            folder = ways.pop()
            digest.folder(folder)
            began = time_ns()
            entries: list[Marks] = []
            with os.scandir(root.joinpath(*folder)) as listing:
                for entry in listing:
                    marks = marks_of(entry.name, entry.stat(follow_symlinks=False))
                    is_folder = stat.S_ISDIR(marks[1])
                    if ignores and ignores((*folder, entry.name), is_folder):
                        continue
                    if is_part(entry.name):
                        return None
                    digest.entry(marks)
                    if walk:
                        entries.append(marks)
                    # A scan passes over a folder whose name can't be kept, and doesn't look into it.
                    if is_folder and why_not_kept(entry.name) is None:
                        ways.append((*folder, entry.name))
            if walk:
                walk.listings[folder] = Listing(began, time_ns(), entries)
    except OSError:
        return None
    return digest.text()


def marks_of(name: str, status: os.stat_result) -> Marks:
    """What the digest is made of; a folder's own size and times change with what is in it, and stand as 0."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return name, mode, status.st_ino, status.st_dev, 0, 0, 0
    times = status.st_mtime_ns, status.st_ctime_ns
    return name, mode, status.st_ino, status.st_dev, status.st_size, *times


class Digest:
    """A hash over names and marks, in the order of the walk."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._met: list[Names | Marks] = []

    def folder(self, path: "Names") -> None:
        """What follows is in the folder `path`."""
        self._take_in()
        self._met.append(path)

    def entry(self, marks: Marks) -> None:
        """Something that isn't ignored."""
        self._met.append(marks)

    def text(self) -> str:
        """The end of it: nothing may follow."""
        self._take_in()
        return self._hash.hexdigest()

    def _take_in(self) -> None:
        # Python's way to write values is unambiguous, whatever is in a name, and quick for a whole folder at once.
        self._hash.update(repr(self._met).encode())
        self._met.clear()
