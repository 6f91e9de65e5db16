"""500 devices wait at one host, within its memory, and all of them hear of a change."""

import asyncio
import time
from pathlib import Path

from tests.bench.measuring import cpu_of, peak_of
from tests.support.crowd import Crowd, plant_crowd
from tests.support.system import System
from tools.local.running import Azurite, FunctionsHost, running_redis

USERS, DEVICES = 50, 10
WAIT = 60
MOST_MB = 300


def test_no_lost_wakeup_500_devices_wait_at_one_host_within_300_mb(tmp_path: Path, azurite: Azurite) -> None:
    with running_redis(tmp_path) as redis:
        settings = {"REDIS_URL": redis.url, "LONGEST_WAIT_SECONDS": str(WAIT)}
        system = System(tmp_path, settings, azurite.ports)
        with system.host() as host:
            crowd = plant_crowd(system.environment, users=USERS, devices=DEVICES)
            idle = peak_of(host.child.pid)
            asyncio.run(_wait_and_ring(crowd, host))
            peak = peak_of(host.child.pid) * 1.048576
    print(f"peak {peak:.0f} MB, idle {idle:.0f} MiB")
    assert peak < MOST_MB


async def _wait_and_ring(crowd: Crowd, host: FunctionsHost) -> None:
    async with crowd.session() as callers:
        cursors = await asyncio.gather(*(callers.cursor(mine[0]) for mine in crowd.tokens))
        waiting = [
            asyncio.create_task(callers.wait(token, cursor, WAIT))
            for mine, cursor in zip(crowd.tokens, cursors, strict=True)
            for token in mine
        ]
        assert len(waiting) == USERS * DEVICES
        await asyncio.to_thread(_until_idle, host.child.pid)
        assert not any(task.done() for task in waiting), "all of them wait"
        await asyncio.gather(*(callers.change(mine[0], "news") for mine in crowd.tokens))
        assert all(await asyncio.gather(*waiting))


def _until_idle(pid: int) -> None:
    """Wait until a process has nothing more to do; bounded."""
    before = cpu_of(pid)
    for _ in range(100):
        time.sleep(0.2)
        now = cpu_of(pid)
        if now - before < 0.02:
            return
        before = now
    raise TimeoutError("the host is still busy")
