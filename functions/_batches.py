"""The bodies of batches: one line of JSON, then the bytes of blocks, one behind the other."""

from typing import TypeVar

import azure.functions as func
import msgspec

from functions._http import body_of, codec_of
from functions._shapes import Batch, SentBlocks
from shared.domain.blocks import parse_sha256
from shared.domain.codecs import Codec, decode
from shared.domain.errors import Malformed, TooLarge, UnsupportedMedia
from shared.usecases.admit_blocks import Sent

T = TypeVar("T")

MEDIA = "application/vnd.strata.batch"
BLOCKS_MEDIA = "application/vnd.strata.blocks"

MAX_BLOCKS = 64

MAX_FILES = 1000
MAX_CONTENT = 8 * 1024 * 1024
"""Plain bytes of all blocks of a batch: a full pack, which a Functions instance holds several times over."""

MAX_LINE = 4 * 1024 * 1024
"""Bytes of the JSON: a thousand files of one block each need about 300 KiB, with names of usual length."""


def batch_of(req: func.HttpRequest) -> tuple[Batch, list[bytes]]:
    """What the batch asks for, and the blocks that it brings; raises UnsupportedMedia, TooLarge, Malformed."""
    batch, rest = _parts(req, MEDIA, Batch)
    if len(batch.files) > MAX_FILES:
        raise TooLarge(f"send at most {MAX_FILES} files at once", limit=MAX_FILES)
    return batch, _contents(rest, batch.sizes)


def blocks_of(req: func.HttpRequest) -> list[Sent]:
    """The blocks that a request brings, as they came; raises as `batch_of` does."""
    told, rest = _parts(req, BLOCKS_MEDIA, SentBlocks)
    if len(told.blocks) > MAX_BLOCKS:
        raise TooLarge(f"send at most {MAX_BLOCKS} blocks at once", limit=MAX_BLOCKS)
    contents = _contents(rest, [block.size for block in told.blocks])
    return [
        Sent(content, Codec(block.codec), parse_sha256(block.sha256))
        for block, content in zip(told.blocks, contents, strict=True)
    ]


def _parts(req: func.HttpRequest, media: str, shape: type[T]) -> tuple[T, memoryview]:
    """What the first line says, and the bytes behind it."""
    if req.headers.get("content-type", "").partition(";")[0].strip().lower() != media:
        raise UnsupportedMedia(f"the body must be {media}")
    limit = MAX_LINE + 1 + MAX_CONTENT
    body = decode(codec_of(req), body_of(req, limit=limit), limit=limit)
    end = body.find(b"\n", 0, MAX_LINE + 1)
    if end < 0:
        raise Malformed("the body begins with one line of JSON, of at most 4 MiB, that ends with a newline")
    try:
        told = msgspec.json.decode(memoryview(body)[:end], type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the first line can't be read: {error}") from error
    return told, memoryview(body)[end + 1 :]


def _contents(rest: memoryview, sizes: list[int]) -> list[bytes]:
    if sum(sizes) > MAX_CONTENT:
        raise TooLarge(f"send blocks of at most {MAX_CONTENT} bytes at once", limit=MAX_CONTENT)
    if sum(sizes) != len(rest):
        raise Malformed(f"sizes add up to {sum(sizes)} bytes, but {len(rest)} follow the first line")
    contents: list[bytes] = []
    offset = 0
    for size in sizes:
        contents.append(bytes(rest[offset : offset + size]))
        offset += size
    return contents
