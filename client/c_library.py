"""Calls of the system that Python has no name for."""

from functools import cache
from typing import Any


@cache
def c_library() -> Any | None:
    """The C library that this process runs with, its calls as attributes; None where it can't be reached.

    A call that the library doesn't have raises AttributeError. What an error was, `ctypes.get_errno()` tells.
    """
    try:
        import ctypes  # most runs need none of this, and start faster without

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None
