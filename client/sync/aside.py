"""Files that are to go: put aside in one step, looked at once more, and only then removed.

Between a look and a deed somebody may save. What was put aside and isn't what it was taken for goes back to its place;
if that has been taken as well, it gets a name beside it that says so. Nothing that is not known is removed. Whoever is
killed in between leaves it as a part file, which is kept for a day (`remove_parts`).
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

from client.sync.naming import saved_meanwhile
from client.sync.renames import exchange, move_to_free
from client.sync.scanning import fingerprint_at
from client.sync.trees import Fingerprint
from shared.domain.names import name_key


def replace_known(there: Path, marks: Fingerprint, part: Path) -> bool:
    """Put `part` in the place of the file with these marks; False when another one is there, which then stays.

    Raises OSError. Where names can't be exchanged, what is saved in that very moment is replaced, too.
    """
    ours = fingerprint_at(part)
    aside = _aside(there)
    part.rename(aside)
    try:
        if not exchange(aside, there):
            aside.replace(there)
            return True
    except OSError:
        aside.rename(part)
        raise
    if _is_still(aside, marks):
        aside.unlink()
        return True
    try:
        exchange(aside, there)
    except OSError:  # ours has been moved away from there already
        _put_back(aside, there)
        return False
    if fingerprint_at(aside) == ours:
        aside.rename(part)
        return False
    # And somebody was there once more: what they have put there stays.
    with suppress(OSError):
        exchange(aside, there)
    _put_beside(aside, there)
    return False


def remove_known(there: Path, marks: Fingerprint) -> bool:
    """Remove the file with these marks; False when another one is there, which then stays.

    Raises OSError: FileNotFoundError when nothing is there.
    """
    aside = _aside(there)
    there.rename(aside)
    if not _is_still(aside, marks):
        _put_back(aside, there)
        return False
    try:
        aside.unlink()
    except OSError:
        _put_back(aside, there)
        raise
    return True


def rename_to_free(here: Path, there: Path) -> None:
    """Rename to a name that nothing has; raises OSError: FileExistsError."""
    # On a disk that ignores case, a name is "taken" by what is to be renamed itself.
    if os.path.lexists(there):
        if not _is_respelling(here, there):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(there))
        here.rename(there)
    elif not move_to_free(here, there):
        here.rename(there)


def _aside(there: Path) -> Path:
    # The name of a part that no version has: what is left of it is not taken for the beginning of one.
    return there.with_name(f".strata-{os.urandom(8).hex()}.part")


def _is_still(aside: Path, marks: Fingerprint) -> bool:
    """Whether it is the file that was looked at a moment ago; some file systems number it anew when it is renamed."""
    found = fingerprint_at(aside)
    return found is not None and (found.size, found.mtime_ns) == (marks.size, marks.mtime_ns)


def _put_back(aside: Path, there: Path) -> None:
    try:
        rename_to_free(aside, there)
    except OSError:
        _put_beside(aside, there)


def _put_beside(aside: Path, there: Path) -> None:
    # Without its folder, which somebody has moved, it can't be found: it stays a part there.
    with suppress(FileNotFoundError):
        while True:
            taken = {name_key(name) for name in os.listdir(there.parent)}
            with suppress(FileExistsError):
                rename_to_free(aside, there.with_name(saved_meanwhile(there.name, taken=taken)))
                return


def _is_respelling(here: Path, there: Path) -> bool:
    same_name = here.parent == there.parent and name_key(here.name) == name_key(there.name)
    return same_name and os.path.samestat(here.lstat(), there.lstat())
