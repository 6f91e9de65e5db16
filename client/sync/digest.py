"""One hash over the names and marks of everything in a folder: equal ones, and nothing has changed.

It is compared with one that was kept when no mark was racy (see scanning.py): every change since then has left another.
"""

import os
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from client.sync.ignoring import is_part
from client.sync.kept_names import why_not_kept

if TYPE_CHECKING:
    from client.sync.trees import Names

Ignores = Callable[["Names", bool], bool]
"""Whether something is to be left out; the second argument says that it is a folder. What is below an ignored folder
is not asked about."""


def digest_of(root: Path, ignores: Ignores | None) -> str | None:
    """The digest that a scan would have, in a third of its time; None when it would have none, or there are parts."""
    digest = Digest()
    ways: list[Names] = [()]
    try:
        while ways:
            folder = ways.pop()
            digest.folder(folder)
            with os.scandir(root.joinpath(*folder)) as listing:
                for entry in listing:
                    status = entry.stat(follow_symlinks=False)
                    is_folder = stat.S_ISDIR(status.st_mode)
                    if ignores and ignores((*folder, entry.name), is_folder):
                        continue
                    if is_part(entry.name):
                        return None
                    digest.entry(entry.name, status)
                    # A scan passes over a folder whose name can't be kept, and doesn't look into it.
                    if is_folder and why_not_kept(entry.name) is None:
                        ways.append((*folder, entry.name))
    except OSError:
        return None
    return digest.text


class Digest:
    """A hash over names and marks, in the order of the walk."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def folder(self, path: "Names") -> None:
        """What follows is in the folder `path`."""
        self._hash.update(os.fsencode("/".join(path)) + b"\0/")

    def entry(self, name: str, status: os.stat_result) -> None:
        """Something that isn't ignored. A folder's own size and times change with what is in it, and don't count."""
        marks: tuple[int, ...] = (status.st_mode, status.st_ino, status.st_dev)
        if not stat.S_ISDIR(status.st_mode):
            marks += (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._hash.update(b"%s\0%s" % (os.fsencode(name), repr(marks).encode()))

    @property
    def text(self) -> str:
        return self._hash.hexdigest()
