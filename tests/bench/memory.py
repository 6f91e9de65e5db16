"""Peaks of memory: the host under concurrent blocks, the command with a file larger than its bounds."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from tests.bench.measuring import MIB, Row, peak_of, run, write_random
from tests.support.system import Api, Strata, System

_SIDE_BY_SIDE = 16
_BLOCKS = 96
HOST_LIMIT, CLIENT_LIMIT = 400, 200


def rows(folder: Path) -> Iterator[Row]:
    system = System(folder)
    with system.azurite(), system.host() as host:
        with Api.sign_up(system.url, "bench-blocks") as api:
            idle = peak_of(host.child.pid)
            asyncio.run(_upload_blocks(f"{system.url}/api/upload", api.client.headers["Authorization"]))
            peak = peak_of(host.child.pid)
            yield Row(
                f"host, {_SIDE_BY_SIDE} blocks of 4 MiB at once",
                f"peak {peak:.0f} MiB",
                f"idle {idle:.0f} MiB",
                limit=f"under {HOST_LIMIT}",
                kept=peak < HOST_LIMIT,
                figures={"peak_mib": peak, "idle_mib": idle},
            )
        strata = Strata(folder / "home", system.url)
        strata.sign_up("bench-large")
        large = write_random(folder / "large.bin", 2048 * MIB, seed=2)
        commands: dict[str, list[str | Path]] = {
            "up": ["up", large, "/large.bin"],
            "down": ["down", "/large.bin", folder / "back.bin"],
        }
        for name, command in commands.items():
            spent = run([strata.program(), *command, "--quiet"], strata.environment)
            yield Row(
                f"strata {name}, 2 GiB",
                f"peak {spent.peak_mib:.0f} MiB, {2048 / spent.wall:.0f} MiB/s",
                "",
                limit=f"under {CLIENT_LIMIT}",
                kept=spent.peak_mib < CLIENT_LIMIT,
                figures={"peak_mib": spent.peak_mib, "wall": spent.wall},
            )


async def _upload_blocks(url: str, authorization: str) -> None:
    blocks = iter([os.urandom(4 * MIB) for _ in range(_BLOCKS)])
    async with aiohttp.ClientSession(headers={"Authorization": authorization}) as session:

        async def send() -> None:
            for block in blocks:
                async with session.post(url, data=block) as answer:
                    answer.raise_for_status()

        await asyncio.gather(*(send() for _ in range(_SIDE_BY_SIDE)))
