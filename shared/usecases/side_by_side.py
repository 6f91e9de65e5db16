"""Several pieces of work at once, as one: all succeed, or the first failure is the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

SIDE_BY_SIDE = 4
"""Writes of one request that are on their way to the store at once: enough to hide the store's latency."""


async def gathered(work: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results, in order; raises what failed first, and then begins nothing more."""
    pieces = list(work)
    waiting = iter(enumerate(pieces))
    results: dict[int, T] = {}

    async def go_on() -> None:
        for index, piece in waiting:
            results[index] = await piece()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(SIDE_BY_SIDE, len(pieces))):
                group.create_task(go_on())
    except ExceptionGroup as failed:
        # One refusal is the answer, and the caller knows it by its kind: a group has none.
        raise failed.exceptions[0] from failed
    return [results[index] for index in range(len(pieces))]
