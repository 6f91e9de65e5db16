"""How many requests run at once, how many may wait, and what happens to the rest.

`maxConcurrentRequests` run, others wait in the order of arrival; running and waiting together are bounded by
`maxOutstandingRequests`, and a request beyond is refused at once (429) rather than kept until its client gives up.
Microsoft's host does the same with an ActionBlock whose BoundedCapacity includes the running items
(azure-webjobs-sdk-extensions `HttpThrottleMiddleware`). A request holds its place while its body is read, so the
memory for bodies is bounded too; the minimum rate of bodies keeps slow senders from holding all places.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext


class Overloaded(Exception):
    """There is no place left to wait in."""


class Throttle:
    """Both limits; None means unbounded."""

    def __init__(self, max_concurrent: int | None, max_outstanding: int | None) -> None:
        self._running = asyncio.Semaphore(max_concurrent) if max_concurrent is not None else nullcontext()
        self._max_outstanding = max_outstanding
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """Requests that run or wait."""
        return self._outstanding

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place to run in; raises Overloaded at once when too many wait already."""
        if self._max_outstanding is not None and self._outstanding >= self._max_outstanding:
            raise Overloaded
        self._outstanding += 1
        try:
            async with self._running:
                yield
        finally:
            self._outstanding -= 1
