"""A file that is being filled, by any number of threads at once, each at its own places.

Threads that wrote by turns would wait for each other's copying. So they write without a lock, and the descriptor is
closed by the last of them: closed under a thread that writes, it could be another file's by then.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from client.writeback import begin_writing
from shared.domain.blocks import Buffer

_ON_ITS_WAY = 32 * 1024 * 1024
"""Bytes after which what was written begins to go to the disk while more comes: then the end has little to wait for."""

_AT_ONCE = 512 * 1024
"""Bytes that are written by one call. While one thread is in it, the others wait, and on Linux they spin: with whole
blocks that costs more than the writing."""

_CAN_PLACE = hasattr(os, "pwrite") and hasattr(os, "pread")


class PartFile:
    """Owns an open descriptor. After `close` reads give nothing, and writes do nothing.

    `failed` says that the disk has refused something. What was written before that can be read as if it were there, and
    another fsync says that all is well: Linux tells of a page that was lost once, and takes it for clean from then on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = Lock()
        self._users = 0
        self._closed = False
        self._written = 0
        self.failed = False

    def write(self, content: Buffer, offsets: Iterable[int]) -> bool:
        """Write the same content at each offset; False once it is closed. Raises OSError."""
        if not self._enter():
            return False
        try:
            for offset in offsets:
                self._write(memoryview(content), offset)
                if self._much_came(len(content)):
                    self._bring_to_disk(begin_writing)
        finally:
            self._leave()
        return True

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at `offset`, fewer at the end; raises OSError."""
        if not self._enter():
            return b""
        try:
            if _CAN_PLACE:
                return os.pread(self._descriptor, size, offset)
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                return os.read(self._descriptor, size)
        finally:
            self._leave()

    def settle(self, path: Path, modified_ns: int) -> bool:
        """Give the file at `path`, which this is, its time, and have it on the disk; False once it is closed.

        Raises OSError.
        """
        if not self._enter():
            return False
        try:
            by = self._descriptor if os.utime in os.supports_fd else path
            os.utime(by, ns=(modified_ns, modified_ns))
            self._bring_to_disk(os.fsync)
        finally:
            self._leave()
        return True

    def close(self) -> None:
        """May be repeated."""
        with self._lock:
            self._closed, was = True, self._closed
            ours = not was and not self._users
        if ours:
            os.close(self._descriptor)

    def _bring_to_disk(self, bring: Callable[[int], None]) -> None:
        try:
            bring(self._descriptor)
        except OSError:
            self.failed = True
            raise

    def _write(self, view: memoryview, offset: int) -> None:
        while view:
            piece = view[:_AT_ONCE]
            if _CAN_PLACE:
                written = os.pwrite(self._descriptor, piece, offset)
            else:
                with self._lock:
                    os.lseek(self._descriptor, offset, os.SEEK_SET)
                    written = os.write(self._descriptor, piece)
            view, offset = view[written:], offset + written

    def _much_came(self, size: int) -> bool:
        with self._lock:
            before, self._written = self._written, self._written + size
            return before // _ON_ITS_WAY != self._written // _ON_ITS_WAY

    def _enter(self) -> bool:
        with self._lock:
            self._users += not self._closed
            return not self._closed

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and not self._users
        if last:
            os.close(self._descriptor)
