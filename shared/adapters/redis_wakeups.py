"""Wakeups over Redis: a channel for each namespace and device, and one subscriber in each process for all its waiters.

Redis forgets a message at once, and that is enough: whoever waits has compared the journal after subscribing. When
Redis is away, rings are dropped without waiting for it (a circuit breaker lets one try through every few seconds),
waiters are told that none arrive, and the subscriber comes back by itself. Where the application signs in by a token,
the subscriber comes anew shortly before that ends, and its waiters look once.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from redis.asyncio.client import PubSub

from shared.adapters.bells import LocalBell, LocalBells
from shared.adapters.breaker import REST, Breaker
from shared.adapters.redis_connection import FAILURES, PATIENCE, RedisAddress
from shared.domain.ids import NamespaceId
from shared.ports.wakeups import Bell, Rung

_log = logging.getLogger(__name__)

_PREFIX = "strata:changed:"
# Redis answers a ping through the subscription, so that a connection which is dead but not closed is noticed.
_PING_EVERY = 10.0


class RedisWakeups:
    """Implements the Wakeups port; opens no connection before it is used."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._redis = address.client()
        self._breaker = Breaker("Redis, for wake-ups,")
        # Commits that were flushed together ring together, and few connections are enough for all of them.
        self._ringing = asyncio.Semaphore(8)
        # The subscriber waits for hours, so its time-out is the ping's business.
        self._quiet = address.client(patience=None)
        self._bells = LocalBells()
        self._subscriber: asyncio.Task[None] | None = None
        self._pubsub: PubSub | None = None
        self._asked_for: set[Rung] = set()
        self._subscribed: set[Rung] = set()
        self._changing = asyncio.Lock()

    async def ring(self, rung: Collection[Rung]) -> None:
        try:
            await self._publish(rung)
        finally:
            # Last, so that whoever rings goes on in front of the hundreds that a bell may wake here.
            for each in rung:
                self._bells.ring(each)

    async def _publish(self, rung: Collection[Rung]) -> None:
        if not self._breaker.admits():
            return
        try:
            async with self._ringing, asyncio.timeout(2 * PATIENCE):
                for each in rung:
                    await self._redis.publish(_PREFIX + each, b"")
        except FAILURES as error:
            self._breaker.failed(error)
        else:
            self._breaker.succeeded()

    @asynccontextmanager
    async def listen(self, rung: Collection[Rung]) -> AsyncIterator[Bell]:
        wanted = set(rung)
        bell = LocalBell(lambda: self._pubsub is not None and wanted <= self._subscribed)
        if self._subscriber is None or self._subscriber.done():
            self._subscriber = asyncio.create_task(self._subscribe())
        try:
            with self._bells.hung(rung, bell):
                await self._follow_listeners()
                until = asyncio.get_running_loop().time() + PATIENCE
                while not bell.sure and (left := until - asyncio.get_running_loop().time()) > 0:
                    await bell.heard(left)
                yield bell
        finally:
            await self._follow_listeners()

    async def close(self) -> None:
        if self._subscriber is not None:
            self._subscriber.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._subscriber
        await self._redis.aclose()
        await self._quiet.aclose()

    async def _subscribe(self) -> None:
        """Read what arrives, for as long as the process lives, over one connection after the other."""
        while True:
            try:
                await self._read()
                continue
            except FAILURES as error:
                _log.warning("the subscription at Redis broke: %s", error)
            finally:
                self._forget()
            await asyncio.sleep(random.uniform(0.5, 1.0) * REST / 2)  # noqa: S311 (spreads the return, no secret)

    async def _read(self) -> None:
        """Read over one connection until it breaks, or until it is time to come anew."""
        clock = asyncio.get_running_loop()
        async with self._quiet.pubsub() as pubsub:
            await pubsub.connect()
            lifetime = self._address.lifetime()
            until = math.inf if lifetime is None else clock.time() + lifetime
            self._pubsub = pubsub
            await self._follow_listeners()
            silent = False
            while (left := until - clock.time()) > 0:
                message = await pubsub.get_message(timeout=min(_PING_EVERY, left))
                if message is None and silent and left > _PING_EVERY:
                    raise TimeoutError("Redis doesn't answer a ping")
                if message is None and pubsub.subscribed:
                    await pubsub.ping()
                    silent = True
                    continue
                silent = False
                if message is not None and message["channel"]:
                    name = message["channel"].decode().removeprefix(_PREFIX)
                    self._heed(message["type"], NamespaceId(name))

    def _heed(self, kind: str, rung: Rung) -> None:
        match kind:
            case "message":
                self._bells.ring(rung)
            case "subscribe":
                self._subscribed.add(rung)
                self._bells.ring(rung)
            case "unsubscribe":
                self._subscribed.discard(rung)
                self._bells.ring(rung)
            case _:
                pass  # the answer to a ping

    async def _follow_listeners(self) -> None:
        """Subscribe to what is listened to, and to nothing else."""
        async with self._changing:
            pubsub = self._pubsub
            if pubsub is None:
                return
            wanted = self._bells.listened()
            added, dropped = wanted - self._asked_for, self._asked_for - wanted
            try:
                async with asyncio.timeout(PATIENCE):
                    if added:
                        await pubsub.subscribe(*(_PREFIX + each for each in added))
                    if dropped:
                        await pubsub.unsubscribe(*(_PREFIX + each for each in dropped))
            except FAILURES:
                return  # the reader meets the same connection, and says so
            if self._pubsub is pubsub:
                self._asked_for = set(wanted)

    def _forget(self) -> None:
        self._pubsub, self._asked_for, self._subscribed = None, set(), set()
        self._bells.ring_all()
