"""A cache: what was kept may be gone, and nothing is ever wrong because of that.

A key names what its value is, for good: two values under one key say the same. So nothing is invalidated, and an entry
that nobody asks for any more ends by its time to live.
"""

from typing import Protocol

LARGEST = 4 * 1024 * 1024
"""Bytes of a value that is kept; beyond, reading it takes about as long as asking the database."""


class Cache(Protocol):
    """Neither call raises, nor takes longer than a moment: what is away is left alone for a while."""

    @property
    def is_there(self) -> bool:
        """Whether it answered when it was last asked."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Exactly what was put under this very key; None when that can't be had, or can't be told to be so.

        What somebody else has changed, cut off, or put under another key is not found.
        """
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Keep `value` for a while, unless it is too large to be worth it. What is there already may stay."""
        ...

    async def close(self) -> None: ...
