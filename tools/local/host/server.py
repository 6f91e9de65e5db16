"""The life of a host: load, start the triggers, wait for a signal, stop in order.

On SIGTERM or SIGINT no new work is taken; what runs may finish within the grace period; then the module's
`async def close()`, if it has one, lets go of connections; the exit code is 0. A second signal ends the process
where it stands: whoever presses Ctrl-C twice means it.
"""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.local.host.admin import Admin
from tools.local.host.blob_trigger import BlobTrigger
from tools.local.host.errors import HostError
from tools.local.host.hostjson import HostSettings
from tools.local.host.http_request import DEFAULT_BODY_LIMIT, BodyLimits
from tools.local.host.http_trigger import HttpTrigger
from tools.local.host.invocation import Invoker
from tools.local.host.loading import HTTP_TRIGGER, LoadedApp
from tools.local.host.servicebus_output import ServiceBusOutputs
from tools.local.host.servicebus_trigger import ServiceBusTrigger
from tools.local.host.timer_trigger import TimerTrigger
from tools.local.host.triggers import Parts, RunsOnDemand, Trigger, TriggerFactory

_log = logging.getLogger("host")

DEFAULT_GRACE = 10.0
"""Seconds that running invocations have to finish once the host is told to stop."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve an app. `port` 0 lets the system choose; `grace` in seconds; None threads is Python's default.

    `environment` holds the app's settings, which triggers look up.
    """

    address: str
    port: int
    state: Path
    grace: float = DEFAULT_GRACE
    threads: int | None = None
    limits: BodyLimits = field(default_factory=BodyLimits)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


class Host:
    """An app that is being served. `start` it, and `stop` it exactly once."""

    def __init__(self, app: LoadedApp, settings: HostSettings, options: Options) -> None:
        self._app, self._options = app, options
        self._outputs = ServiceBusOutputs(app.functions, options.environment)
        self.invoker = Invoker(timeout=settings.timeout, threads=options.threads, outputs=self._outputs)
        self.triggers: list[Trigger] = []
        self.admin = Admin(app.functions)
        factories = _factories(options, self.admin)
        kinds: dict[str, list[str]] = {}
        for function in app.functions:
            kinds.setdefault(function.trigger.kind, []).append(function.name)
        for kind, names in kinds.items():
            if kind not in factories:
                _log.warning("not run, since this host has no %s yet: %s", kind, ", ".join(names))
        for kind, factory in factories.items():
            chosen = tuple(each for each in app.functions if each.trigger.kind == kind)
            trigger = factory(
                Parts(
                    functions=chosen,
                    settings=settings,
                    invoker=self.invoker,
                    state=options.state,
                    address=options.address,
                    port=options.port,
                    grace=options.grace,
                    environment=options.environment,
                    host_id=_host_id(app.root, options.environment),
                )
            )
            self.triggers.append(trigger)
            if isinstance(trigger, RunsOnDemand):
                self.admin.runners[kind] = trigger

    async def start(self) -> None:
        """Start every trigger; raises HostError when one can't, after stopping those that could."""
        try:
            for trigger in self.triggers:
                await trigger.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> bool:
        """Stop in order; return whether everything ended: False when work had to be cut off or `close` failed."""
        deadline = asyncio.get_running_loop().time() + self._options.grace
        ending = (trigger.stop() for trigger in self.triggers)
        await asyncio.gather(self.admin.finish(self._options.grace), *ending)
        left = max(deadline - asyncio.get_running_loop().time(), 0.05)
        late = await self.invoker.drain(left)
        if late:
            _log.warning("%d invocation(s) took longer than the grace period and were cancelled", late)
        await self._outputs.close()
        closed = await self._close()
        return closed and not late

    async def _close(self) -> bool:
        if self._app.close is None:
            return True
        try:
            async with asyncio.timeout(self._options.grace or None):
                await self._app.close()
        except Exception:  # noqa: BLE001  # the app's own code: whatever it raises, the host has to end
            _log.exception("close() of the app failed")
            return False
        return True


async def serve(app: LoadedApp, settings: HostSettings, options: Options) -> bool:
    """Serve until a signal; return whether the end was a clean one. Raises HostError when it can't start."""
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            # Not an exception: that would wait for the very things that are stuck.
            os._exit(128 + number)
        _log.info("stopping on %s", signal.Signals(number).name)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    host = Host(app, settings, options)
    await host.start()
    await asked.wait()
    clean = await host.stop()
    _log.info("stopped")
    if host.invoker.busy_threads:
        # Python joins its threads on exit, and nothing can interrupt a function that hangs in one.
        _log.warning("%d function(s) still run in threads and are abandoned", host.invoker.busy_threads)
        logging.shutdown()
        os._exit(0 if clean else 1)
    return clean


def options_from_environment(
    address: str, port: int, state: Path, grace: float, environment: Mapping[str, str]
) -> Options:
    """Complete the command line with the settings that Azure's host and worker read from the environment.

    Raises HostError for a value that isn't a number in range.
    """
    threads = _number(environment, "PYTHON_THREADPOOL_THREAD_COUNT")
    largest = _number(environment, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT")
    limits = BodyLimits(largest=largest or DEFAULT_BODY_LIMIT)
    return Options(address, port, state, grace, threads, limits, dict(environment))


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise HostError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)


def _factories(options: Options, admin: Admin) -> Mapping[str, TriggerFactory]:
    """The kinds of trigger that this host has, by azure-functions' name for them. HTTP is first to start."""
    return {
        HTTP_TRIGGER: lambda parts: HttpTrigger(parts, options.limits, admin),
        "timerTrigger": TimerTrigger,
        "blobTrigger": BlobTrigger,
        "serviceBusTrigger": ServiceBusTrigger,
    }


def _host_id(root: Path, environment: Mapping[str, str]) -> str:
    """What tells this app's receipts from another's in one storage account.

    AzureFunctionsWebHost__hostid sets it, as in Azure; else it comes from the folder, as in `ScriptHostIdProvider`.
    """
    digest = hashlib.sha256(str(root).encode()).hexdigest()
    return environment.get("AzureFunctionsWebHost__hostid") or f"local-{digest[:16]}"
