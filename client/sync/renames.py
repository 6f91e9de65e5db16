"""Renames that lose nothing which has appeared meanwhile: two names exchanged, or a name taken only while it is free.

`os.rename` replaces what is there. Linux (`renameat2(2)`) and macOS (`renamex_np(2)`) have both of these in one step
that nobody comes between. Elsewhere, and on file systems that can't, callers look first and hope for that blink.
"""

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from client.c_library import c_library

_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a kernel or a file system answers that doesn't know how."""

_LINUX_NO_REPLACE, _LINUX_EXCHANGE, _LINUX_HERE = 1, 2, -100
_MACOS_SWAP, _MACOS_EXCLUSIVE = 2, 4
"""From linux/fs.h, fcntl.h and Apple's sys/stdio.h."""


def exchange(one: Path, other: Path) -> bool:
    """Have what is at either path at the other one; False where that can't be done. Raises OSError."""
    return _done(_call(_LINUX_EXCHANGE, _MACOS_SWAP, one, other), one)


def move_to_free(source: Path, target: Path) -> bool:
    """Rename to a name that nothing has; False where that can't be done. Raises OSError: FileExistsError."""
    return _done(_call(_LINUX_NO_REPLACE, _MACOS_EXCLUSIVE, source, target), target)


def _call(linux: int, macos: int, one: Path, other: Path) -> int:
    """The number of the error, 0 for none."""
    rename = _rename()
    if rename is None:
        return errno.ENOSYS
    return rename(macos if sys.platform == "darwin" else linux, os.fsencode(one), os.fsencode(other))


def _done(error: int, path: Path) -> bool:
    if error in _UNABLE:
        return False
    if error:
        raise OSError(error, os.strerror(error), os.fspath(path))
    return True


@cache
def _rename() -> Callable[[int, bytes, bytes], int] | None:
    """The system's call, None where there is none."""
    library = c_library() if sys.platform in ("linux", "darwin") else None
    if library is None:
        return None
    import ctypes  # most runs move nothing here, and start faster without

    try:
        if sys.platform == "darwin":
            system = library.renamex_np
            return lambda flag, one, other: ctypes.get_errno() if system(one, other, flag) else 0
        system = library.renameat2
    except AttributeError:  # an old C library
        return None
    here = _LINUX_HERE
    return lambda flag, one, other: ctypes.get_errno() if system(here, one, here, other, flag) else 0
