"""Presence in Redis: a key for each device that waits, which ends by itself.

What this process knows of its own waiters is remembered here too: it is right while Redis is away, and for one process
that is all there is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from shared.adapters.breaker import Breaker
from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.redis_connection import FAILURES, PATIENCE, RedisAddress
from shared.domain.ids import DeviceId
from shared.ports.presence import WaitId

_PREFIX = "strata:present:"
_AT_ONCE = 500


class RedisPresence:
    """Implements the Presence port; opens no connection before it is used."""

    def __init__(self, address: RedisAddress) -> None:
        self._redis = address.client()
        self._breaker = Breaker("Redis, for presence,")
        # Hundreds of devices may come back in the same moment, and few connections are enough for all of them.
        self._asking = asyncio.Semaphore(8)
        self._here = MemoryPresence()

    async def arrive(self, device: DeviceId, wait: WaitId, *, seconds: float) -> None:
        await self._here.arrive(device, wait, seconds=seconds)
        await self._ask(lambda: self._redis.set(_PREFIX + device, wait, px=max(1, round(seconds * 1000))))

    async def counts(self, device: DeviceId, wait: WaitId) -> bool:
        if not await self._here.counts(device, wait):
            return False
        known = await self._ask(lambda: self._redis.get(_PREFIX + device))
        return known is None or bool(known.decode() == wait)

    async def present(self, devices: Collection[DeviceId]) -> frozenset[DeviceId]:
        asked, found = list(devices), set(await self._here.present(devices))
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            known = await self._ask(partial(self._redis.mget, [_PREFIX + each for each in some]))
            found |= {each for each, wait in zip(some, known or (), strict=False) if wait is not None}
        return frozenset(found)

    async def forget(self, device: DeviceId) -> None:
        await self._here.forget(device)
        await self._ask(lambda: self._redis.delete(_PREFIX + device))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, None when Redis is away."""
        if not self._breaker.admits():
            return None
        try:
            async with self._asking, asyncio.timeout(2 * PATIENCE):
                answer = await question()
        except FAILURES as error:
            self._breaker.failed(error)
            return None
        self._breaker.succeeded()
        return answer
