"""The body of a batch: one line of JSON, then the bytes of blocks, one behind the other."""

import azure.functions as func
import msgspec

from functions._http import body_of, codec_of
from functions._shapes import Batch
from shared.domain.codecs import decode
from shared.domain.errors import Malformed, TooLarge, UnsupportedMedia

MEDIA = "application/vnd.strata.batch"

MAX_FILES = 1000
MAX_CONTENT = 8 * 1024 * 1024
"""Plain bytes of all blocks of a batch: two full packs, which a Functions instance holds several times over."""

MAX_LINE = 4 * 1024 * 1024
"""Bytes of the JSON: a thousand files of one block each need about 300 KiB, with names of usual length."""


def batch_of(req: func.HttpRequest) -> tuple[Batch, list[bytes]]:
    """What the batch asks for, and the blocks that it brings; raises UnsupportedMedia, TooLarge, Malformed."""
    media = req.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != MEDIA:
        raise UnsupportedMedia(f"the body must be {MEDIA}")
    limit = MAX_LINE + 1 + MAX_CONTENT
    body = decode(codec_of(req), body_of(req, limit=limit), limit=limit)
    end = body.find(b"\n", 0, MAX_LINE + 1)
    if end < 0:
        raise Malformed("the body begins with one line of JSON, of at most 4 MiB, that ends with a newline")
    try:
        batch = msgspec.json.decode(memoryview(body)[:end], type=Batch)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the first line can't be read: {error}") from error
    if len(batch.files) > MAX_FILES:
        raise TooLarge(f"send at most {MAX_FILES} files at once", limit=MAX_FILES)
    return batch, _contents(memoryview(body)[end + 1 :], batch.sizes)


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
