"""zstd on the wire, where it pays.

Films and archives don't shrink, and trying costs more time than sending them on a fast line. So three slices of
a block are tried first: they cost about a hundredth of the block. Level 3 is zstd's default, about 240 MB a
second for text on one core. Hashes are always of plain bytes.
"""

from threading import local

import zstandard

from client.errors import Corrupt
from shared.domain.blocks import BLOCK_SIZE, Buffer

SMALLEST = 512
"""Bytes. Below, the request's head is most of what travels."""

_SLICE = 4096
_WORTH = 0.9
_WINDOW = 8 * 1024 * 1024
"""The most memory that a frame may ask of the decoder: two blocks' worth."""

_own = local()  # a (de)compressor may not be used by two threads at once


def pays(plain: bytes) -> bool:
    """Whether slices of `plain` shrink by more than a tenth."""
    if len(plain) < SMALLEST:
        return False
    middle, end = len(plain) // 2, len(plain) - _SLICE
    sample = (
        plain if len(plain) <= 3 * _SLICE else plain[:_SLICE] + plain[middle : middle + _SLICE] + plain[end:]
    )
    return len(_compressor().compress(sample)) < len(sample) * _WORTH


def compress(plain: bytes) -> bytes | None:
    """A zstd frame of `plain` that states its size, None when it isn't worth the while."""
    if not pays(plain):
        return None
    frame = _compressor().compress(plain)
    return frame if len(frame) < len(plain) * _WORTH else None


def decode(stored: Buffer, codec: str, size: int) -> Buffer:
    """The `size` plain bytes of a block; raises Corrupt for any other number of them, however they are packed.

    What a frame states about itself is believed only as far as it agrees with `size`: a few bytes may otherwise
    ask for gigabytes.
    """
    if codec == "none":
        plain: Buffer = stored
    elif codec == "zstd":
        plain = _decompress(stored, size)
    else:
        raise Corrupt(f"a block is stored with the unknown codec {codec!r}: a newer `strata` may know it")
    if len(plain) != size:
        raise Corrupt(f"a block has {len(plain)} bytes instead of {size}")
    return plain


def _decompress(stored: Buffer, size: int) -> bytes:
    try:
        stated = zstandard.frame_content_size(stored)
        if size > BLOCK_SIZE or stated not in (size, -1):
            raise Corrupt("a compressed block doesn't have the size that the manifest states")
        return _decompressor().decompress(stored, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a compressed block can't be decoded ({error})") from None


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_own, "compressor"):
        _own.compressor = zstandard.ZstdCompressor(level=3)
    compressor: zstandard.ZstdCompressor = _own.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    decompressor: zstandard.ZstdDecompressor = _own.decompressor
    return decompressor
