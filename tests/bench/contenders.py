"""Two programs that keep two folders equal through a server: `strata sync`, and rclone straight into an Azurite.

Each has an Azurite of its own, which holds nothing else, since Azurite slows down with the number of its blobs.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.bench.measuring import cpu_of
from tests.bench.rclone import Rclone
from tests.support.system import Strata, System

_REMOTE = "az:rclone/tree"

_USER = "bench"

_QUIET = 0.5
"""Seconds."""


@dataclass(frozen=True)
class Cost:
    """One run: wall seconds, processor seconds of the program and of what it talks to, bytes on the wire both ways.

    `content` is how many bytes of files it says it has had to carry, None when it doesn't say. Where the run was only
    over when its files were on the disk, `ended` is the wall seconds after which the program itself was gone.
    """

    wall: float
    client: float
    server: float
    wire: int
    content: int | None = None
    ended: float | None = None

    def __str__(self) -> str:
        ended = "" if self.ended is None else f" (the program {self.ended:.2f} s)"
        return f"{self.wall:.2f} s{ended}, CPU {self.client:.1f} + {self.server:.1f} s, {_size(self.wire)}"


class Contender(Protocol):
    """`one` is the folder of a first device, `two` that of a second one."""

    @property
    def one(self) -> Path: ...

    @property
    def two(self) -> Path: ...

    def sync_one(self) -> Cost:
        """Bring to the server what has changed on the first device; raises CalledProcessError."""
        ...

    def sync_two(self) -> Cost:
        """Bring to the second device's disk what has changed on the server; raises CalledProcessError.

        It takes until the disk has it: a program that leaves this to the system is not done when it ends.
        """
        ...

    def change_second(self) -> None:
        """Have another device in place of the second one: `two` is empty, and nothing is remembered of it."""
        ...


@dataclass
class Ours:
    """Two devices of one user; the bytes are what the command counts at its HTTP client, heads and bodies."""

    one: Path
    two: Path
    first: Strata
    second: Strata
    servers: Sequence[int]

    def sync_one(self) -> Cost:
        return self._sync(self.first, self.one)

    def sync_two(self) -> Cost:
        return self._sync(self.second, self.two, onto_disk=True)

    def change_second(self) -> None:
        _empty(self.two)
        home = self.second.home
        self.second = Strata(home.with_name(home.name + "-again"), self.second.url)
        self.second.log_in(_USER)

    def _sync(self, device: Strata, folder: Path, *, onto_disk: bool = False) -> Cost:
        _wait_for_quiet()
        before = _used(self.servers)
        command: list[str | Path] = [device.program(), "--json", "sync", folder, "--once"]
        ran = _run(command, device.environment, onto_disk=onto_disk)
        server = _used(self.servers) - before
        document: dict[str, Any] = json.loads(ran.told)
        if not document["settled"]:
            raise ValueError(f"the folders did not become equal: {ran.told.decode()}")
        wire = document["wire"]["sent"] + document["wire"]["received"]
        return Cost(ran.wall, ran.client, server, wire, document["bytes_changed"], ran.ended)


@dataclass(frozen=True)
class Peer:
    """`rclone sync` up and down, as it comes: with `--track-renames` it would not send renamed files again.

    The bytes are what passed the loopback interface meanwhile, with the heads of TCP and IP. That is only right while
    nobody but rclone and its Azurite talks over it, or next to nothing, as a system that nobody uses.
    """

    one: Path
    two: Path
    rclone: Rclone
    servers: Sequence[int]

    def sync_one(self) -> Cost:
        return self._sync(str(self.one), _REMOTE)

    def sync_two(self) -> Cost:
        return self._sync(_REMOTE, str(self.two), onto_disk=True)

    def change_second(self) -> None:
        _empty(self.two)

    def _sync(self, source: str, target: str, *, onto_disk: bool = False) -> Cost:
        _wait_for_quiet()
        before, passed = _used(self.servers), _loopback_bytes()
        command = [self.rclone.program, "sync", source, target]
        ran = _run(command, self.rclone.environment, onto_disk=onto_disk)
        server, wire = _used(self.servers) - before, _loopback_bytes() - passed
        return Cost(ran.wall, ran.client, server, wire, ended=ran.ended)


@contextmanager
def ours(folder: Path) -> Iterator[Ours]:
    """A system in `folder` with one user on two devices."""
    one, two = _folders(folder)
    system = System(folder / "system")
    with system.azurite() as azurite, system.host() as host:
        first, second = (Strata(folder / name, system.url) for name in ("home-one", "home-two"))
        first.sign_up(_USER)
        second.log_in(_USER)
        yield Ours(one, two, first, second, (host.child.pid, azurite.child.pid))


@contextmanager
def peer(folder: Path) -> Iterator[Peer]:
    """An Azurite in `folder`; raises FileNotFoundError where rclone isn't installed."""
    one, two = _folders(folder)
    with System(folder / "system").azurite() as azurite:
        yield Peer(one, two, Rclone.to(azurite.connection_string), (azurite.child.pid,))


def _folders(folder: Path) -> tuple[Path, Path]:
    one, two = folder / "one", folder / "two"
    for each in (one, two):
        each.mkdir(parents=True)
    return one, two


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _wait_for_quiet() -> None:
    """Let the machine be done with what was before: bytes of another on their way to the disk, and servers that clear
    up, would be paid for by whoever comes next."""
    os.sync()
    time.sleep(_QUIET)


@dataclass(frozen=True)
class _Ran:
    """As in a `Cost`; and what the program wrote."""

    wall: float
    client: float
    told: bytes
    ended: float | None


def _run(command: Sequence[str | Path], environment: dict[str, str], *, onto_disk: bool) -> _Ran:
    """Run a program to its end, and on until what it has written is on the disk; raises CalledProcessError."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        told = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        ended = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, told)
    client = usage.ru_utime + usage.ru_stime
    if not onto_disk:
        return _Ran(ended, client, told, None)
    os.sync()
    return _Ran(time.perf_counter() - start, client, told, ended)


def _used(processes: Sequence[int]) -> float:
    return sum(map(cpu_of, processes))


def _loopback_bytes() -> int:
    """Bytes that have passed the loopback interface since the machine was started; what is sent is received once."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[0])
    raise ValueError("there is no loopback interface to count at")


def _size(size: int) -> str:
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"
