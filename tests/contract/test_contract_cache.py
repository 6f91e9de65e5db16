"""What every adapter of Cache owes: what was put under a key or nothing, without raising and without waiting."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.adapters.memory.cache import MemoryCache
from shared.adapters.redis_cache import RedisCache
from shared.adapters.redis_connection import RedisAddress
from shared.ports.cache import LARGEST, Cache
from tests.support.samples import noise, prose
from tests.support.unhurried import give_redis_time
from tools.local.running import Redis, running_redis

SECRET = bytes(range(32))
SECONDS = 600


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cache]:
    if request.param == "memory":
        yield MemoryCache()
        return
    give_redis_time(monkeypatch)
    address = RedisAddress(request.getfixturevalue("redis").url)
    await emptied(address)
    made = cache_at(address)
    yield made
    await made.close()


def cache_at(address: RedisAddress, secret: bytes = SECRET) -> RedisCache:
    return RedisCache(address, secret=secret, seconds=SECONDS)


async def emptied(address: RedisAddress) -> None:
    client = address.client()
    await client.flushall()
    await client.aclose()


@pytest.mark.parametrize(
    "value", [b"", b"x", b"\0\xff" * 9, prose("words", 300_000), noise("chance", 300_000)], ids=len
)
async def test_what_was_put_is_got_and_nothing_else(cache: Cache, value: bytes) -> None:
    assert await cache.get("key") is None
    await cache.put("key", value)
    assert await cache.get("key") == value
    assert await cache.get("key2") is None
    assert await cache.get("ke") is None
    assert cache.is_there


async def test_putting_again_is_harmless(cache: Cache) -> None:
    for _ in range(2):
        await cache.put("key", b"value")
    assert await cache.get("key") == b"value"


async def test_what_is_too_large_is_not_kept(cache: Cache) -> None:
    largest = noise("large", LARGEST)
    await cache.put("largest", largest)
    assert await cache.get("largest") == largest
    await cache.put("larger", largest + b"x")
    assert await cache.get("larger") is None
    assert cache.is_there


async def test_hundreds_at_once(cache: Cache) -> None:
    keys = [f"key {number}" for number in range(400)]
    await asyncio.gather(*(cache.put(key, key.encode() * 50) for key in keys))
    assert await asyncio.gather(*map(cache.get, keys)) == [key.encode() * 50 for key in keys]


# --- Redis itself


async def test_processes_share_entries_and_entries_end(redis: Redis) -> None:
    address = RedisAddress(redis.url)
    await emptied(address)
    here, there, client = cache_at(address), cache_at(address), address.client()
    await here.put("key", b"value")
    assert await there.get("key") == b"value"
    [name] = await client.keys("*")
    assert 0 < await client.ttl(name) <= SECONDS
    for each in (here.close, there.close, client.aclose):
        await each()


async def test_redis_is_not_believed(redis: Redis) -> None:
    """Garbage, a part of an entry, another key's entry, another application's: none of it is found."""
    address = RedisAddress(redis.url)
    await emptied(address)
    cache, stranger, client = cache_at(address), cache_at(address, bytes(32)), address.client()
    await cache.put("key", b"a value of some length")
    [name] = await client.keys("*")
    entry = await client.get(name)
    assert isinstance(entry, bytes)
    flipped = [entry[:at] + bytes([entry[at] ^ 1]) + entry[at + 1 :] for at in range(len(entry))]
    for lie in (b"", b"x", b"\xff" * 100, entry[:-1], entry + b"x", entry[16:], *flipped):
        await client.set(name, lie)
        assert await cache.get("key") is None
        assert cache.is_there
    await client.set(name, entry)
    assert await cache.get("key") == b"a value of some length"
    await client.rename(name, name.replace(b"key", b"yek"))
    assert await cache.get("yek") is None
    await stranger.put("key", b"a stranger's")
    assert await cache.get("key") is None
    # A key of another type is an error of Redis, and no reason to wait or to raise.
    await client.delete(name)
    await client.rpush(name, "a list")
    assert await cache.get("key") is None
    for each in (cache.close, stranger.close, client.aclose):
        await each()


async def test_a_wiped_redis_has_nothing_and_takes_new_entries(redis: Redis) -> None:
    address = RedisAddress(redis.url)
    cache = cache_at(address)
    await cache.put("key", b"value")
    await emptied(address)
    assert await cache.get("key") is None
    await cache.put("key", b"value")
    assert await cache.get("key") == b"value"
    await cache.close()


async def test_a_dead_redis_costs_one_try_and_comes_back(tmp_path: Path) -> None:
    with running_redis(tmp_path / "one") as server:
        cache = RedisCache(RedisAddress(server.url), secret=SECRET, seconds=SECONDS, rest=0.5)
        await cache.put("key", b"value")
        server.child.kill()
        assert await asyncio.gather(*(cache.get("key") for _ in range(500))) == [None] * 500
        await cache.put("key", b"value")
        assert not cache.is_there
        with running_redis(tmp_path / "two", server.port):
            async with asyncio.timeout(30):
                while not cache.is_there:
                    assert await cache.get("key") is None
                    await asyncio.sleep(0.05)
            await cache.put("key", b"value")
            assert await cache.get("key") == b"value"
        await cache.close()


async def test_a_redis_that_never_answers_holds_up_few_and_not_for_long() -> None:
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = cache_at(RedisAddress(f"redis://127.0.0.1:{port}/0"))
    assert await asyncio.gather(*(cache.get(str(number)) for number in range(300))) == [None] * 300
    assert 0 < asked <= 16, "the rest heard of it, and did not try"
    assert not cache.is_there
    await cache.close()
    server.close()
