"""Where a file is cut into blocks.

Cutting every 4 MiB would shift all blocks behind an inserted byte, and all of them would travel again.
FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking", IEEE TPDS 31(9), 2020) puts the cuts where
the content says, so an edit changes the one or two blocks around it. The parameters are part of the
interface: clients that cut alike find each other's blocks, so tests hold them with golden vectors.
"""

from collections.abc import Iterator
from typing import Protocol

from pyfastcdc import FastCDC

from shared.domain.blocks import BLOCK_SIZE

MIN_SIZE = 256 * 1024
AVERAGE_SIZE = 1024 * 1024


class Readable(Protocol):
    """A binary stream, as `open(path, "rb")` gives it."""

    def read(self, size: int, /) -> bytes: ...


def _cutter() -> FastCDC:
    # A cutter holds the position of its run, so each run takes its own.
    return FastCDC(AVERAGE_SIZE, min_size=MIN_SIZE, max_size=BLOCK_SIZE, normalized_chunking=1, seed=0)


def cut_buffer(content: bytes | memoryview) -> Iterator[memoryview]:
    """Yield the blocks of `content`, in order; nothing for no bytes. The views share its memory."""
    if len(content):
        for chunk in _cutter().cut_buf(content):
            yield chunk.data


def cut_stream(stream: Readable) -> Iterator[bytes]:
    """Yield the blocks of what `stream` still holds, in order; it is read once, about 8 MiB ahead."""
    for chunk in _cutter().cut_stream(stream):
        yield bytes(chunk.data)
