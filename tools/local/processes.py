"""Start other programs, know when they are ready, and leave none of them behind.

Three ways in which a development stack goes wrong, and what is done about each:

* Ctrl-C goes to every process of the terminal's foreground group, so the database is gone before the server has
  finished. Children run in sessions of their own: only their starter gets the signal, and stops them in order.
* A starter that is killed leaves children that hold ports. On Linux a child asks the kernel for SIGTERM when its
  starter dies (PR_SET_PDEATHSIG). "Starter" means the *thread* that started it: don't start children from
  short-lived threads.
* A program that was started is not one that answers: `wait_until_ready` asks until it does, within a limit, and notices
  when it died instead.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

LOOPBACK = "127.0.0.1"
READY_WITHIN = 60.0
"""Seconds for a program to answer: Azurite needs two on an idle machine, and machines aren't always idle."""

STOP_WITHIN = 30.0
"""Seconds between SIGTERM and SIGKILL: Azurite loses what it hasn't written yet, so it gets more than enough."""

_PROBE_EVERY = 0.05
_TAIL_LINES = 20
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessFailed(Exception):
    """A program could not be started, ended by itself or never got ready; the message holds the end of its log."""


@dataclass(slots=True)
class Child:
    """A running program with a name for people and a file that has all of its output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self, seconds: float = STOP_WITHIN) -> bool:
        """Ask it to end (SIGTERM) and wait; return False when it had to be killed after so many seconds."""
        if self.is_running():
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                return False
        return True

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        if self.is_running():
            self._signal(signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        """The last lines of its output."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        # The whole session: a child may have children. It may end by itself just before.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Child:
    """Start a program in a session of its own, output into the log file (begun anew).

    `environment` replaces the whole environment. Raises ProcessFailed when there is no such program.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()) if _LIBC else None,
            )
        except OSError as error:
            raise ProcessFailed(f"{name} can't be started: {error}") from error
    return Child(name, process, log)


def wait_until_ready(child: Child, answers: Callable[[], bool], seconds: float = READY_WITHIN) -> None:
    """Return once `answers()` is true; raises ProcessFailed when the child ends first or takes too long.

    Asks twenty times a second: programs of others tell nobody when they are ready.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        if not child.is_running():
            code = child.process.returncode
            raise ProcessFailed(
                f"{child.name} ended with code {code}; the end of {child.log}:\n{child.tail()}"
            )
        if time.monotonic() > deadline:
            raise ProcessFailed(
                f"{child.name} is not ready after {seconds:g} s; see {child.log}\n{child.tail()}"
            )
        time.sleep(_PROBE_EVERY)


@contextmanager
def supervised(child: Child) -> Iterator[Child]:
    """Stop the child when the block ends, however it ends."""
    try:
        yield child
    finally:
        child.stop()


_PORTS = range(20_000, 32_000)
"""Below what Linux gives to connections that go out: such a port may be taken while its server is restarted."""

# Processes that start servers at the same time begin at places of their own, and none takes a port twice.
_candidates = islice(cycle(_PORTS), os.getpid() * 401 % len(_PORTS), None)


def free_ports(count: int) -> list[int]:
    """Return that many different ports that nobody listens on now; the next moment they may be taken."""
    return list(islice(filter(is_free, _candidates), count))


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: a port whose connections are only just closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _die_with(parent: int) -> Callable[[], None]:
    def arrange() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # It may have died before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return arrange
