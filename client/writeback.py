"""To have the system begin to write a file to the disk, without waiting for that.

Linux has `sync_file_range(2)` for it. An fsync in its place would make whoever comes to it wait for the disk, and have
the file system close its journal each time.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of linux/fs.h: begin with what is changed and not on its way yet."""

_TO_THE_END = 0


def begin_writing(descriptor: int) -> None:
    """Have all of a file's bytes on their way to the disk. Raises OSError.

    That they are there only an fsync tells, and also what went wrong on the way. Where the system knows no beginning,
    this is one.
    """
    begin = _begin()
    if begin is None or not begin(descriptor):
        os.fsync(descriptor)


@cache
def _begin() -> Callable[[int], bool] | None:
    """The system's call, which tells whether it could; None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes  # small files need none of this, and a run of those starts faster without

    library: Any = ctypes.CDLL(None)
    try:
        call = library.sync_file_range
    except AttributeError:  # another C library
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor: call(descriptor, 0, _TO_THE_END, _WRITE) == 0
