"""Bring the parts up in order, watch over them, take them down in the opposite order.

While the parts are coming up a signal interrupts whatever is being waited for. From the moment that they are
taken down, further signals are only answered with a line: cutting Azurite off loses what it hasn't written yet.
"""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools.local import running
from tools.local.azurite import ensure_installed
from tools.local.azurite.install import PROJECT
from tools.local.processes import STOP_WITHIN, Child, ProcessFailed
from tools.local.up.secrets import load_secrets
from tools.local.up.settings import StackSettings, application_environment, refuse_taken_ports

PREPARATIONS = ("tools.ops.migrate", "tools.ops.reconcile")
"""Run before the host: bring the database to its newest form, and make rows and blobs agree after a crash."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Say = Callable[[str], None]


class Interrupted(BaseException):
    """Somebody asked the stack to stop. No Exception, so that nothing on the way takes it for a failure."""


class Stack:
    """The running parts, in the order in which they were started."""

    def __init__(self, settings: StackSettings, say: Say) -> None:
        self._settings, self._say = settings, say
        self._children: list[Child] = []

    def start(self, root: Path, preparations: Sequence[str], *, core_tools: bool) -> None:
        """Start everything and return when the host answers. Raises ProcessFailed, SettingsError or InstallFailed."""
        settings = self._settings
        if core_tools:
            running.core_tools_program()
        refuse_taken_ports(settings)
        settings.data("").mkdir(parents=True, exist_ok=True)
        environment = application_environment(settings, load_secrets(settings.folder / "secrets.json"))
        program = ensure_installed(say=self._say)
        self._say("starting Azurite ...")
        azurite = running.start_azurite(
            program, settings.data("azurite"), settings.azurite_ports, settings.log("azurite")
        )
        self._children.append(azurite.child)
        if settings.redis_url is None:
            self._say("starting Redis ...")
            redis = running.start_redis(
                settings.data("redis"), settings.ports["REDIS_PORT"], settings.log("redis")
            )
            self._children.append(redis.child)
        if settings.servicebus is None:
            self._say("starting the Service Bus ...")
            bus = running.start_servicebus(
                settings.data("servicebus.db"), settings.ports["SERVICEBUS_PORT"], settings.log("servicebus")
            )
            self._children.append(bus.child)
        for module in preparations:
            self._say(f"{module}: {_run_module(module, environment)}")
        self._say("starting the host ...")
        host = running.start_host(
            root,
            environment,
            settings.ports["STRATA_PORT"],
            settings.log("host"),
            state=settings.folder / "host",
            core_tools=core_tools,
        )
        self._children.append(host.child)

    def watch(self) -> Child:
        """Wait until one of the parts ends by itself, and return it."""
        ended: queue.SimpleQueue[Child] = queue.SimpleQueue()
        for child in self._children:
            threading.Thread(target=_report_end, args=(child, ended), daemon=True).start()
        return ended.get()

    def stop(self) -> None:
        """Stop what runs, last started first."""
        while self._children:
            child = self._children.pop()
            if not child.stop():
                self._say(
                    f"{child.name} did not end within {STOP_WITHIN:g} s and was killed; see {child.log}"
                )


def run(
    settings: StackSettings,
    root: Path,
    preparations: Sequence[str] = PREPARATIONS,
    *,
    core_tools: bool,
    say: Say,
) -> int:
    """Run the stack until it is told to stop (returns 0) or a part of it dies (returns 1)."""
    stack = Stack(settings, say)
    try:
        with _interruptible(say):
            try:
                stack.start(root, preparations, core_tools=core_tools)
                say(_welcome(settings))
                dead = stack.watch()
                say(
                    f"{dead.name} ended by itself with code {dead.process.returncode}; the end of {dead.log}:"
                )
                say(dead.tail())
                return 1
            finally:
                _be_patient(say)
                stack.stop()
                say("stopped")
    except Interrupted:
        return 0


def _run_module(module: str, environment: Mapping[str, str]) -> str:
    """Run a command of the project to its end and return its last line."""
    command = [sys.executable, "-m", module]
    result = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    output = (result.stdout + result.stderr).strip()
    if result.returncode:
        raise ProcessFailed(f"{module} failed with code {result.returncode}:\n{output}")
    lines = (result.stdout.strip() or output).splitlines()
    return lines[-1] if lines else "done"


def _report_end(child: Child, ended: "queue.SimpleQueue[Child]") -> None:
    child.process.wait()
    ended.put(child)


@contextmanager
def _interruptible(say: Say) -> Iterator[None]:
    """The first signal raises Interrupted inside the block, later ones don't; afterwards they are what they were."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # First, so that a second one can't break off the stopping that the first one began.
        _be_patient(say)
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _be_patient(say: Say) -> None:
    def explain(number: int, frame: FrameType | None) -> None:
        say("still stopping: Azurite is writing what it holds")

    for number in _SIGNALS:
        signal.signal(number, explain)


def _welcome(settings: StackSettings) -> str:
    url = settings.url
    body = """'{"username": "alice", "password": "correct horse battery"}'"""
    return f"""
Strata is running at {url}

  try    curl -s {url}/api/register -H 'Content-Type: application/json' -d {body}
         .venv/bin/strata --help
  logs   {settings.log("host").parent}
  stop   Ctrl-C
"""
