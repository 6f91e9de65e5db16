"""To have the system begin to write a file to the disk, without waiting until it is there.

Linux has `sync_file_range(2)` for it. An fsync in its place would make whoever comes to it wait for the disk, and have
the file system close its journal each time.
"""

import os
import sys
from collections.abc import Callable
from functools import cache

from client.c_library import c_library

_FROM_THE_START_TO_THE_END = 0, 0
"""An offset and a number of bytes, where 0 bytes are all that follow."""

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of linux/fs.h: begin with what is changed and not on its way yet."""


def begin_writing(descriptor: int) -> None:
    """Have all of a file's bytes on their way to the disk. Raises OSError.

    That they are there only an fsync tells, and also what went wrong on the way. Where the system has no call to begin,
    an fsync stands in.
    """
    begin = _begin()
    if begin is None or not begin(descriptor):
        os.fsync(descriptor)


@cache
def _begin() -> Callable[[int], bool] | None:
    """The system's call, which tells whether it could; None where there is none."""
    library = c_library() if sys.platform == "linux" else None
    if library is None:
        return None
    import ctypes  # small files need none of this, and a run of those starts faster without

    try:
        call = library.sync_file_range
    except AttributeError:  # another C library
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor: call(descriptor, *_FROM_THE_START_TO_THE_END, _WRITE) == 0
