"""`.strataignore`: what stays out of the sync, in the syntax of gitignore.

What is ignored is not sent, not fetched, and never taken for deleted. One file in the root of the folder counts; it is
synced itself, so that all devices ignore the same. Parts of transfers are always ignored, on both sides.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from client.sync.trees import Names

IGNORE_FILE = ".strataignore"

PART_PREFIX = ".strata-"
_PART = re.compile(r"\.strata-([0-9a-f]{16}|[0-9a-f]{32})\.part")


def is_part(name: str) -> bool:
    """Whether this is the name of a part of a transfer: of this one's (a version's id), or of `strata down`."""
    return name.startswith(PART_PREFIX) and _PART.fullmatch(name) is not None


class _Spec(Protocol):
    def match_file(self, file: str) -> bool: ...


class Ignoring:
    """Says of paths whether they are ignored. Folders are remembered, since each is asked about for all below it."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """`lines` of a `.strataignore`; without any, only parts of transfers are ignored.

        Raises ValueError for a pattern that can't be understood.
        """
        self._spec = _spec_of([line for line in lines if line.strip()])
        self._folders: dict[Names, bool] = {(): False}

    @property
    def is_trivial(self) -> bool:
        """Whether there are no patterns. Then only a name that starts with PART_PREFIX can be ignored."""
        return self._spec is None

    def covers(self, path: "Names", *, is_folder: bool) -> bool:
        """Whether `path`, or a folder above it, is ignored."""
        if not path:
            return False
        if self._folder(path[:-1]):
            return True
        return self._folder(path) if is_folder else self._matches(path, "")

    def _folder(self, path: "Names") -> bool:
        known = self._folders.get(path)
        if known is None:
            known = self._folder(path[:-1]) or self._matches(path, "/")
            self._folders[path] = known
        return known

    def _matches(self, path: "Names", ending: str) -> bool:
        if is_part(path[-1]):
            return True
        if self._spec is None or path == (IGNORE_FILE,):
            return False
        return self._spec.match_file("/".join(path) + ending)


def _spec_of(lines: list[str]) -> _Spec | None:
    if not lines:
        return None
    # Most folders have no such file, and the command starts faster without the library.
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)
