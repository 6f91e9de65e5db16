"""Compression of blocks by Zstandard, where it pays.

Level 3 reaches several GiB/s on data that won't shrink and a few hundred MiB/s on text, so a quick look at a
sample decides whether the whole block is worth it.
"""

from enum import StrEnum

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


def pack(plain: bytes) -> tuple[Codec, bytes]:
    """The codec and the bytes to store for a block: at least 5 % smaller than plain, or plain."""
    if len(plain) > 2 * _SAMPLE:
        middle = len(plain) // 2
        sample = plain[middle : middle + _SAMPLE]
        if len(zstandard.compress(sample, 1)) >= len(sample) * _PAYS:
            return Codec.NONE, plain
    packed = zstandard.compress(plain, LEVEL)
    if pays(packed, plain):
        return Codec.ZSTD, packed
    return Codec.NONE, plain


def pays(packed: bytes, plain: bytes) -> bool:
    """Whether storing `packed` is worth the work of unpacking it at each read."""
    return len(packed) < len(plain) * _PAYS


def unpack(codec: Codec, stored: bytes, *, limit: int) -> bytes:
    """The plain bytes; raises TooLarge when they are more than `limit`, Malformed for what the codec can't read.

    At most `limit` + 1 bytes are ever produced, whatever a frame's header claims.
    """
    if codec is Codec.NONE:
        if len(stored) > limit:
            raise TooLarge(f"more than {limit} bytes", limit=limit)
        return stored
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
        stored, read_across_frames=True
    )
    try:
        plain = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise Malformed("the bytes are not a valid zstd stream") from error
    if len(plain) > limit:
        raise TooLarge(f"more than {limit} bytes after decompression", limit=limit)
    return plain
