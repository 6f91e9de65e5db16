"""Blocks, and the manifest that makes a version of them.

A version is the ordered list of its blocks; the same block may stand in it many times. Its root hash, the
SHA-256 of the concatenated raw digests of the blocks, names the content: two versions cut in the same way
have equal root hashes exactly when they have equal bytes. An empty file has no blocks.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NewType

from shared.domain.errors import Malformed, TooLarge, Unacceptable

Buffer = bytes | bytearray | memoryview
"""Bytes that are only read."""

BLOCK_SIZE = 4 * 1024 * 1024
"""The most bytes that a block may have: 4 MiB, the size that the specification took from Dropbox."""

MAX_BLOCKS = 100_000
"""The most blocks in a manifest: about 116 GiB of file at the average cut."""

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block as a manifest names it; `size` is in plain bytes, 1 to BLOCK_SIZE."""

    sha256: Sha256
    size: int


def parse_sha256(text: str) -> Sha256:
    """Return `text` as a hash; raises Malformed unless it is 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(text):
        raise Malformed("a block's hash must be 64 lower-case hexadecimal digits (SHA-256)")
    return Sha256(text)


def hash_of(plain: Buffer) -> Sha256:
    """The SHA-256 of a block's plain bytes."""
    return Sha256(hashlib.sha256(plain).hexdigest())


def root_hash(blocks: Iterable[BlockRef]) -> Sha256:
    """The hash that stands for a whole version: SHA-256 over the raw digests, in order."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(bytes.fromhex(block.sha256))
    return Sha256(digest.hexdigest())


def check_manifest(blocks: Sequence[BlockRef], *, max_file_size: int) -> int:
    """Return the file's size in bytes.

    Raises TooLarge for too many blocks or a file over `max_file_size` bytes, Unacceptable for a block whose
    stated size is out of bounds or for one hash with two sizes.
    """
    if len(blocks) > MAX_BLOCKS:
        raise TooLarge(f"a manifest may list at most {MAX_BLOCKS} blocks", limit=MAX_BLOCKS)
    sizes: dict[str, int] = {}
    for block in blocks:
        if not 1 <= block.size <= BLOCK_SIZE:
            raise Unacceptable(f"block {block.sha256}: size must be 1 to {BLOCK_SIZE} bytes")
        if sizes.setdefault(block.sha256, block.size) != block.size:
            raise Unacceptable(f"block {block.sha256} is listed with two sizes")
    total = sum(block.size for block in blocks)
    if total > max_file_size:
        raise TooLarge(f"a file may have at most {max_file_size} bytes", limit=max_file_size)
    return total
