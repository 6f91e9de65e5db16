"""Listing files, beside a function of the same host that does nothing."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from tests.bench.measuring import Row
from tests.support.system import ROOT, Api, System
from tools.local.running import running_host

REQUESTS = 2000
_SIDE_BY_SIDE = 16

_APP = f'''"""The application with one function more, which does nothing."""
import runpy

import azure.functions as func

_served = runpy.run_path({str(ROOT / "function_app.py")!r})
app, close = _served["app"], _served["close"]


@app.route("empty", methods=["GET"])
async def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("")
'''


def rows(folder: Path) -> Iterator[Row]:
    system = System(folder)
    root = folder / "app"
    root.mkdir()
    shutil.copy(ROOT / "host.json", root)
    (root / "function_app.py").write_text(_APP)
    with system.azurite():
        system.ops("migrate")
        with (
            running_host(root, system.environment, system.port, folder=folder),
            Api.sign_up(system.url, "bench") as api,
        ):
            for number in range(100):
                api.upload(f"/folder/file-{number}.txt", b"content")
            authorization = api.client.headers["Authorization"]
            empty = asyncio.run(_rate(f"{system.url}/empty", authorization))
            for limit in (10, 100):
                listed = asyncio.run(_rate(f"{system.url}/api/files/list?limit={limit}", authorization))
                yield Row(
                    f"files/list, {limit} entries",
                    f"{listed:.0f} requests/s",
                    f"empty function: {empty:.0f} requests/s",
                    listed / empty,
                    figures={"requests_per_second": listed, "empty": empty},
                )


async def _rate(url: str, authorization: str) -> float:
    """Requests a second, with a fixed number on their way at once."""
    numbers = iter(range(REQUESTS))
    async with aiohttp.ClientSession(headers={"Authorization": authorization}) as session:

        async def ask() -> None:
            for _ in numbers:
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    await answer.read()

        start = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(_SIDE_BY_SIDE)))
        return REQUESTS / (time.perf_counter() - start)
