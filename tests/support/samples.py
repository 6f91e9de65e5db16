"""Bytes to test with: always the same ones, made from nothing but a word."""

import hashlib
from itertools import count

from shared.domain.blocks import BlockRef, hash_of


def noise(word: str, size: int) -> bytes:
    """`size` bytes that don't shrink: SHA-256 of the word and a counter, one digest after the other.

    Whoever builds another client can make the same bytes in a few lines and check its cuts against ours.
    """
    made = bytearray()
    for number in count():
        if len(made) >= size:
            return bytes(made[:size])
        made += hashlib.sha256(f"{word}:{number}".encode()).digest()
    raise AssertionError("counting never ends")


def prose(word: str, size: int) -> bytes:
    """`size` bytes that shrink well, and are different for each word."""
    line = f"{word} is written down here, and here it is again.\n".encode()
    return (line * (size // len(line) + 1))[:size]


def ref_of(block: bytes) -> BlockRef:
    return BlockRef(hash_of(block), len(block))
