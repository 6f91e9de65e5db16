"""What every adapter of Wakeups owes: rings are heard by those who listen, and nobody waits for a ring to be sent."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.adapters.breaker import REST
from shared.adapters.memory.wakeups import MemoryWakeups
from shared.adapters.redis_connection import RedisAddress
from shared.adapters.redis_wakeups import RedisWakeups
from shared.adapters.system import RandomIds
from shared.domain.ids import NamespaceId
from shared.ports.wakeups import Wakeups
from tests.support.unhurried import give_redis_time
from tools.local.running import Redis, running_redis

LONG, SHORT = 10.0, 0.1


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def wakeups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wakeups]:
    give_redis_time(monkeypatch)
    made: Wakeups = (
        MemoryWakeups()
        if request.param == "memory"
        else RedisWakeups(RedisAddress(request.getfixturevalue("redis").url))
    )
    yield made
    await made.close()


def some(count: int = 1) -> list[NamespaceId]:
    ids = RandomIds()
    return [NamespaceId(ids.new()) for _ in range(count)]


async def test_a_ring_is_heard_by_all_who_listen_and_by_no_others(wakeups: Wakeups) -> None:
    one, other = some(2)
    async with (
        wakeups.listen([one]) as first,
        wakeups.listen([one, other]) as both,
        wakeups.listen([other]) as last,
    ):
        await wakeups.ring([one])
        assert await first.heard(LONG)
        assert await both.heard(LONG)
        assert not await last.heard(SHORT)
        await wakeups.ring([other])
        assert await both.heard(LONG)
        assert await last.heard(LONG)


async def test_no_lost_wakeup_a_ring_before_the_wait_is_heard_by_it(wakeups: Wakeups) -> None:
    [namespace] = some()
    async with wakeups.listen([namespace]) as bell:
        await wakeups.ring([namespace])
        await asyncio.sleep(SHORT)
        assert await bell.heard(LONG)


async def test_without_a_ring_the_time_runs_out(wakeups: Wakeups) -> None:
    async with wakeups.listen(some()) as bell:
        assert not await bell.heard(SHORT)
        assert bell.sure


async def test_one_waiter_alone_can_be_woken(wakeups: Wakeups) -> None:
    [namespace] = some()
    async with wakeups.listen([namespace]) as one, wakeups.listen([namespace]) as other:
        one.ring()
        assert await one.heard(LONG)
        assert not await other.heard(SHORT)


async def test_who_has_left_is_not_missed(wakeups: Wakeups) -> None:
    [namespace] = some()
    for _ in range(3):
        async with wakeups.listen([namespace]) as bell:
            await wakeups.ring([namespace])
            assert await bell.heard(LONG)
    await wakeups.ring([namespace])


async def test_hundreds_of_waiters(wakeups: Wakeups) -> None:
    namespaces = some(20)

    async def wait(number: int, ready: asyncio.Semaphore) -> bool:
        async with wakeups.listen([namespaces[number % 20], namespaces[(number + 1) % 20]]) as bell:
            ready.release()
            return await bell.heard(LONG)

    ready = asyncio.Semaphore(0)
    waiters = [asyncio.create_task(wait(number, ready)) for number in range(400)]
    for _ in waiters:
        await ready.acquire()
    await wakeups.ring(namespaces[::2])
    assert all(await asyncio.gather(*waiters))


# --- Redis itself


async def test_rings_reach_other_processes(redis: Redis) -> None:
    here, there = RedisWakeups(RedisAddress(redis.url)), RedisWakeups(RedisAddress(redis.url))
    [namespace] = some()
    async with there.listen([namespace]) as bell:
        assert bell.sure
        await here.ring([namespace])
        assert await bell.heard(LONG)
    await here.close()
    await there.close()


async def test_many_rings_at_once_all_arrive(redis: Redis) -> None:
    here, there = RedisWakeups(RedisAddress(redis.url)), RedisWakeups(RedisAddress(redis.url))
    namespaces = some(64)
    async with AsyncExitStack() as stack:
        bells = [await stack.enter_async_context(there.listen([each])) for each in namespaces]
        await asyncio.gather(*(here.ring([each]) for each in namespaces))
        assert all([await bell.heard(LONG) for bell in bells])
    await here.close()
    await there.close()


async def test_without_redis_nobody_waits_and_nobody_is_sure() -> None:
    wakeups = RedisWakeups(RedisAddress("redis://127.0.0.1:1/0"))
    [namespace] = some()
    async with wakeups.listen([namespace]) as bell:
        assert not bell.sure
        await wakeups.ring([namespace])
        assert await bell.heard(LONG), "within the process rings need no Redis"
        started = time.perf_counter()
        for _ in range(100):
            await wakeups.ring([namespace])
        assert time.perf_counter() - started < REST, "after one failure it is left alone"
    await wakeups.close()


async def test_redis_that_dies_is_noticed_and_comes_back(tmp_path: Path) -> None:
    with running_redis(tmp_path / "one") as server:
        here, there = RedisWakeups(RedisAddress(server.url)), RedisWakeups(RedisAddress(server.url))
        [namespace] = some()
        async with there.listen([namespace]) as bell:
            assert bell.sure
            server.child.kill()
            while bell.sure:
                await bell.heard(LONG)
            assert not bell.sure
            with running_redis(tmp_path / "two", server.port):
                while not bell.sure:
                    await bell.heard(LONG)
                async with asyncio.timeout(3 * REST):
                    heard = False
                    while not heard:  # until the one who rings has come back, too
                        await here.ring([namespace])
                        heard = await bell.heard(SHORT)
        await here.close()
        await there.close()
