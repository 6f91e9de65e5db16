"""A host in this process, serving an app that a test writes down as text."""

import asyncio
import json
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tools.local.host.hostjson import parse_host_json
from tools.local.host.loading import LoadedApp, load_app
from tools.local.host.server import Host, Options

HEAD = """
import asyncio, logging, os, threading, time
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
Response = func.HttpResponse
"""


@dataclass
class Served:
    """A host under test, and two ways to talk to it."""

    host: Host
    port: int
    client: aiohttp.ClientSession
    stopped: bool = False

    async def stop(self) -> bool:
        self.stopped = True
        return await self.host.stop()

    async def exchange(self, raw: bytes) -> bytes:
        """Send bytes as they are and return all that comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        await writer.drain()
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def head(self, raw: bytes) -> bytes:
        """Send bytes as they are and return the head of the answer, without waiting for the connection to close."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        try:
            async with asyncio.timeout(10):
                return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()

    async def get(self, path: str, **more: object) -> tuple[int, str]:
        async with self.client.get(path, **more) as answer:
            return answer.status, await answer.text()


@pytest.fixture(autouse=True)
def fresh_imports() -> Iterator[None]:
    """An app is imported under one name and puts its folder on the path: take both back."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("function_app", None)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedApp]:
    """Write the source down as a function app and load it."""

    def write_and_load(source: str, environment: dict[str, str] | None = None) -> LoadedApp:
        (tmp_path / "function_app.py").write_text(HEAD + textwrap.dedent(source))
        return load_app(tmp_path, environment or {})

    return write_and_load


@pytest.fixture
def serve(
    tmp_path: Path, load: Callable[..., LoadedApp]
) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """Serve an app on a free port: `async with serve(source, host_json=..., grace=...) as served`."""

    @asynccontextmanager
    async def serving(
        source: str,
        *,
        host_json: dict[str, object] | None = None,
        http: dict[str, object] | None = None,
        environment: dict[str, str] | None = None,
        **options: object,
    ) -> AsyncIterator[Served]:
        document = {
            "version": "2.0",
            "extensions": {"http": {"routePrefix": "", **(http or {})}},
            **(host_json or {}),
        }
        settings = parse_host_json(json.loads(json.dumps(document)))
        app = load(source, environment)
        host = Host(
            app,
            settings,
            Options(**{"address": "127.0.0.1", "port": 0, "state": tmp_path / "state", **options}),
        )
        await host.start()
        base = f"http://127.0.0.1:{host.triggers[0].port}"
        async with aiohttp.ClientSession(base, auto_decompress=False) as client:
            served = Served(host, host.triggers[0].port, client)
            try:
                yield served
            finally:
                if not served.stopped:
                    await host.stop()

    return serving
