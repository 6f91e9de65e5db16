"""Long lists in statements: SQL Server takes 2,100 parameters, so lists go in slices."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

SLICE = 1000


def slices(items: Sequence[T], size: int = SLICE) -> Iterator[Sequence[T]]:
    """Yield `items` in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
