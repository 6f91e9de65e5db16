"""What every adapter of Presence owes: who is here is known for a while, and of a device's waits the newest counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.redis_connection import RedisAddress
from shared.adapters.redis_presence import RedisPresence
from shared.adapters.system import RandomIds
from shared.domain.ids import DeviceId
from shared.ports.presence import Presence, WaitId
from tests.support.unhurried import give_redis_time
from tools.local.running import Redis, running_redis

LONG, SHORT = 30.0, 0.8
ONE, OTHER = WaitId("1" * 32), WaitId("2" * 32)
new = RandomIds().new


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def presence(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Presence]:
    give_redis_time(monkeypatch)
    made: Presence = (
        MemoryPresence()
        if request.param == "memory"
        else RedisPresence(RedisAddress(request.getfixturevalue("redis").url))
    )
    yield made
    await made.close()


async def test_who_arrives_is_present_until_the_time_is_up(presence: Presence) -> None:
    here, away = DeviceId(new()), DeviceId(new())
    await presence.arrive(here, ONE, seconds=SHORT)
    assert await presence.present([here, away]) == {here}
    await asyncio.sleep(2 * SHORT)
    assert await presence.present([here, away]) == frozenset()


async def test_arriving_again_prolongs(presence: Presence) -> None:
    device = DeviceId(new())
    await presence.arrive(device, ONE, seconds=SHORT)
    await presence.arrive(device, OTHER, seconds=LONG)
    await asyncio.sleep(2 * SHORT)
    assert await presence.present([device]) == {device}


async def test_the_newest_wait_counts_and_one_that_nobody_knows(presence: Presence) -> None:
    device, stranger = DeviceId(new()), DeviceId(new())
    await presence.arrive(device, ONE, seconds=LONG)
    assert await presence.counts(device, ONE)
    await presence.arrive(device, OTHER, seconds=LONG)
    assert not await presence.counts(device, ONE)
    assert await presence.counts(device, OTHER)
    assert await presence.counts(stranger, ONE)


async def test_who_is_forgotten_is_away(presence: Presence) -> None:
    device = DeviceId(new())
    await presence.arrive(device, ONE, seconds=LONG)
    await presence.forget(device)
    await presence.forget(device)
    assert await presence.present([device]) == frozenset()


async def test_hundreds_of_devices(presence: Presence) -> None:
    devices = [DeviceId(new()) for _ in range(1200)]
    await asyncio.gather(*(presence.arrive(each, ONE, seconds=LONG) for each in devices[::2]))
    assert await presence.present(devices) == frozenset(devices[::2])
    assert await presence.present([]) == frozenset()


# --- Redis itself


async def test_other_processes_know(redis: Redis) -> None:
    one, other = (RedisPresence(RedisAddress(redis.url)) for _ in range(2))
    device = DeviceId(new())
    await one.arrive(device, ONE, seconds=LONG)
    assert await other.present([device]) == {device}
    await other.arrive(device, OTHER, seconds=LONG)
    assert not await one.counts(device, ONE)
    await one.close()
    await other.close()


async def test_without_redis_a_process_knows_its_own_and_nobody_waits() -> None:
    presence = RedisPresence(RedisAddress("redis://127.0.0.1:1/0"))
    device = DeviceId(new())
    started = time.perf_counter()
    await presence.arrive(device, ONE, seconds=LONG)
    assert await presence.present([device, DeviceId(new())]) == {device}
    await presence.arrive(device, OTHER, seconds=LONG)
    assert not await presence.counts(device, ONE)
    assert time.perf_counter() - started < 2
    await presence.close()


async def test_a_redis_that_was_wiped_knows_nobody_and_forbids_nothing(tmp_path: Path) -> None:
    device = DeviceId(new())
    with running_redis(tmp_path / "one") as server:
        one, other = (RedisPresence(RedisAddress(server.url)) for _ in range(2))
        await one.arrive(device, ONE, seconds=LONG)
        server.child.kill()
        with running_redis(tmp_path / "two", server.port):
            assert await one.counts(device, ONE)
            assert await other.present([device]) == frozenset(), "like absent"
        await one.close()
        await other.close()
