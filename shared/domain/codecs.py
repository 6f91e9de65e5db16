"""Compression of blocks by Zstandard, where it pays.

Level 3 reaches several GiB/s on data that won't shrink and a few hundred MiB/s on text, so a quick look at a
sample decides whether the whole block is worth it.
"""

from enum import StrEnum
from threading import local

import zstandard

from shared.domain.errors import Malformed, TooLarge


class Codec(StrEnum):
    """How a block's stored bytes become its plain bytes."""

    NONE = "none"
    ZSTD = "zstd"


LEVEL = 3
_SAMPLE = 64 * 1024
_PAYS = 0.95
# A frame may ask its reader for a window; more than this no block of 4 MiB can need.
_MAX_WINDOW = 8 * 1024 * 1024
_own = (
    local()
)  # a compressor may not be used by two threads at once, and takes longer to make than 16 KiB to compress


def encode(plain: bytes) -> tuple[Codec, bytes]:
    """The codec and the bytes to store for a block: at least 5 % smaller than plain, or plain."""
    if len(plain) > 2 * _SAMPLE:
        middle = len(plain) // 2
        sample = plain[middle : middle + _SAMPLE]
        if len(_compressor(1).compress(sample)) >= len(sample) * _PAYS:
            return Codec.NONE, plain
    packed = _compressor(LEVEL).compress(plain)
    if pays(packed, plain):
        return Codec.ZSTD, packed
    return Codec.NONE, plain


def _compressor(level: int) -> zstandard.ZstdCompressor:
    kept: dict[int, zstandard.ZstdCompressor] = _own.__dict__.setdefault("by_level", {})
    if level not in kept:
        kept[level] = zstandard.ZstdCompressor(level=level)
    return kept[level]


def pays(packed: bytes, plain: bytes) -> bool:
    """Whether storing `packed` is worth the work of unpacking it at each read."""
    return len(packed) < len(plain) * _PAYS


def decode(codec: Codec, stored: bytes, *, limit: int) -> bytes:
    """The plain bytes; raises TooLarge when they are more than `limit`, Malformed for what the codec can't read.

    Zstandard bytes are one whole frame: a reader of streams takes one that was cut off for a shorter one. At most
    `limit` + 1 bytes are ever produced, whatever a frame's header claims.
    """
    if codec is Codec.NONE:
        return _bounded(stored, limit)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    try:
        stated = zstandard.frame_content_size(stored)
        if stated > limit:
            raise TooLarge(f"more than {limit} bytes after decompression", limit=limit)
        if stated < 0:
            return _decode_unstated(decompressor, stored, limit)
        return decompressor.decompress(stored, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed("the bytes are not one whole zstd frame") from error


def _decode_unstated(decompressor: zstandard.ZstdDecompressor, stored: bytes, limit: int) -> bytes:
    # The reader is bounded but can't tell whether the frame was whole; what can tell isn't bounded, so comes second.
    _bounded(decompressor.stream_reader(stored).read(limit + 1), limit)
    whole = decompressor.decompressobj()
    plain = whole.decompress(stored)
    if not whole.eof or whole.unused_data:
        raise Malformed("the bytes are not one whole zstd frame")
    return plain


def _bounded(plain: bytes, limit: int) -> bytes:
    if len(plain) > limit:
        raise TooLarge(f"more than {limit} bytes", limit=limit)
    return plain
