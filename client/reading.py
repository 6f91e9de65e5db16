"""Reading a local file into blocks, and noticing when it changes meanwhile.

A file that is written to while it is read gives a mixture of two states that nobody ever saved. So its size,
time and identity are compared before and after, and the mixture is thrown away.
"""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Self

import msgspec

from client.errors import LocalProblem
from shared.domain.blocks import BlockRef, Sha256, hash_of
from shared.domain.cutting import MIN_SIZE, cut_stream

TICK = 0.02
"""Seconds. File systems stamp changes with a clock that moves every 1 to 10 ms; a second change within one
tick of the first leaves no trace."""


# A link that took the file's place isn't followed, and the writer of a pipe isn't waited for. Not every system
# has each of these.
_FLAGS = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _FLAGS |= getattr(os, _flag, 0)


class Identity(msgspec.Struct, frozen=True):
    """What changes when a file's content does; times are in nanoseconds."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def modified_at(self) -> datetime:
        # Whole microseconds, not a float: 2^53 is too small for nanoseconds since 1970.
        return datetime.fromtimestamp(self.modified_ns // 10**9, UTC).replace(
            microsecond=self.modified_ns % 10**9 // 1000
        )


class Reading:
    """An open regular file; a context manager. `identity` is what it was when it was opened."""

    def __init__(self, path: Path, stop: Event) -> None:
        self.path = path
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            raise LocalProblem(f"{path}: {error.strerror}", code="unreadable") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise LocalProblem(f"{path}: not a regular file any more", code="unreadable")
        self._file = os.fdopen(descriptor, "rb")
        age = datetime.now(UTC).timestamp() - status.st_mtime
        if 0 <= age < TICK:
            stop.wait(TICK)
            status = os.fstat(self._file.fileno())
        self.identity = Identity.of(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self) -> Iterator[tuple[BlockRef, bytes]]:
        """Cut what the file holds, in order, reading it once; raises LocalProblem."""
        try:
            if self.identity.size <= MIN_SIZE:
                # No cut falls below the smallest size, so a small file needs no cutter.
                content = self._file.read(MIN_SIZE + 1)
                if len(content) <= MIN_SIZE:
                    if content:
                        yield _named(content)
                    return
                self._file.seek(0)
            yield from map(_named, cut_stream(self._file))
        except OSError as error:
            raise LocalProblem(f"{self.path}: {error.strerror}", code="unreadable") from None

    def take(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end; for who knows where the file is cut. Raises LocalProblem."""
        try:
            return self._file.read(size)
        except OSError as error:
            raise LocalProblem(f"{self.path}: {error.strerror}", code="unreadable") from None

    def rewind(self) -> None:
        """Begin again at the first byte."""
        self._file.seek(0)

    def unchanged(self) -> bool:
        """Whether the path still names the file that was opened, in the state that it had then."""
        try:
            return (
                Identity.of(os.fstat(self._file.fileno())) == self.identity == Identity.of(self.path.lstat())
            )
        except OSError:
            return False  # it is gone, or another thing has its place


def read_again(
    path: Path, identity: Identity, wanted: dict[Sha256, tuple[int, int]]
) -> Iterator[tuple[Sha256, bytes]]:
    """Yield blocks of a file by (offset, size), each checked by its hash; raises LocalProblem when it has changed."""
    try:
        with path.open("rb") as file:
            same = Identity.of(os.fstat(file.fileno())) == identity
            for sha256, (offset, size) in wanted.items():
                file.seek(offset)
                content = file.read(size) if same else b""
                if hash_of(content) != sha256:
                    raise LocalProblem(
                        f"{path}: it has changed while it was sent; run the command again", code="changed"
                    )
                yield sha256, content
    except OSError as error:
        raise LocalProblem(f"{path}: {error.strerror}", code="unreadable") from None


def read_block(path: Path, identity: Identity, ref: BlockRef, offset: int) -> bytes:
    """One block again, checked by its hash; raises LocalProblem when the file has changed."""
    _, content = next(read_again(path, identity, {ref.sha256: (offset, ref.size)}))
    return content


def _named(content: bytes) -> tuple[BlockRef, bytes]:
    return BlockRef(hash_of(content), len(content)), content
