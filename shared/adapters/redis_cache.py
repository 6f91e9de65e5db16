"""The cache in Redis.

An entry is sealed under its key: Redis is shared, forgets, and may be written to by others, so what it gives is only
believed when this application made it, for this key. Entries end by themselves, and where memory is short Redis drops
what was not used for longest (maxmemory-policy allkeys-lru).
"""

import asyncio
import hmac
import logging

from shared.adapters.breaker import REST, Breaker
from shared.adapters.redis_connection import FAILURES, PATIENCE, RedisAddress
from shared.domain.codecs import Codec, decode, encode
from shared.domain.errors import StrataError
from shared.ports.cache import LARGEST

_log = logging.getLogger(__name__)

_PREFIX = "strata:cache:"
_SEAL = 16
_CODECS = {b"n": Codec.NONE, b"z": Codec.ZSTD}
_LETTERS = {codec: letter for letter, codec in _CODECS.items()}
# Requests that come all at once share few connections, and a dead Redis holds up few of them.
_AT_ONCE = 16
# Below this, a thread costs more than the work that it would take off the event loop: about a millisecond.
_IN_PLACE = 256 * 1024


class RedisCache:
    """Implements the Cache port; opens no connection before it is used.

    An entry lives for `seconds`, and after a failure Redis is left alone for `rest` seconds.
    """

    def __init__(self, address: RedisAddress, *, secret: bytes, seconds: int, rest: float = REST) -> None:
        self._redis = address.client()
        self._seconds = seconds
        self._secret = hmac.digest(secret, b"cache", "sha256")
        self._breaker = Breaker("Redis, for the cache,", rest)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def is_there(self) -> bool:
        return self._breaker.is_closed

    async def get(self, key: str) -> bytes | None:
        async with self._turns:
            if not self._breaker.admits():
                return None
            try:
                async with asyncio.timeout(PATIENCE):
                    entry = await self._redis.get(_PREFIX + key)
            except FAILURES as error:
                self._breaker.failed(error)
                return None
            self._breaker.succeeded()
        return self._opened(key, entry) if isinstance(entry, bytes) else None

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > LARGEST or not self._breaker.is_closed:
            return
        small = len(value) <= _IN_PLACE
        entry = self._sealed(key, value) if small else await asyncio.to_thread(self._sealed, key, value)
        async with self._turns:
            if not self._breaker.admits():
                return
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._redis.set(_PREFIX + key, entry, ex=self._seconds)
            except FAILURES as error:
                self._breaker.failed(error)
            else:
                self._breaker.succeeded()

    async def close(self) -> None:
        await self._redis.aclose()

    def _sealed(self, key: str, value: bytes) -> bytes:
        codec, packed = encode(value)
        content = _LETTERS[codec] + packed
        return self._mark(key, content) + content

    def _opened(self, key: str, entry: bytes) -> bytes | None:
        mark, content = entry[:_SEAL], entry[_SEAL:]
        if not hmac.compare_digest(mark, self._mark(key, content)):
            _log.warning(
                "an entry of the cache was not made here, and is not used: %s", key.partition(":")[0]
            )
            return None
        try:
            return decode(_CODECS[content[:1]], content[1:], limit=LARGEST)
        except (StrataError, KeyError):
            _log.warning("an entry of the cache can't be read: %s", key.partition(":")[0])
            return None

    def _mark(self, key: str, content: bytes) -> bytes:
        # The key's length sets the two apart, so that no part of one can be taken for a part of the other.
        named = key.encode()
        return hmac.digest(self._secret, len(named).to_bytes(4) + named + content, "sha256")[:_SEAL]
