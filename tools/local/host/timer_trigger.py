"""Timers: run functions when their schedule says so, one run at a time.

Per function there is one task that sleeps until the next moment, runs the function, and plans on from the moment
at which that run *began*. So a run that takes longer than the schedule's distance delays the next one, which then
starts at once, and runs never overlap; moments that passed in between are made up for by one run, not by many.

A run that came due while no host was up is caught up once at start, with `past_due` set, if the timer is monitored
(`use_monitor`, on unless the schedule is due more often than once a minute). A failed run isn't a missed one: what
it needs is a retry policy. Source: `TimerListener` in azure-webjobs-sdk-extensions.

Everything is UTC. WEBSITE_TIME_ZONE is not supported here, as it isn't on the Flex plan.
"""

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import azure.functions as func
from azure.functions.meta import Datum
from azure.functions.timer import TimerRequestConverter

from tools.local.host.errors import HostError
from tools.local.host.invocation import InvocationFailed
from tools.local.host.loading import LoadedFunction
from tools.local.host.placeholders import resolve
from tools.local.host.schedule import Schedule, is_frequent, parse_schedule
from tools.local.host.timer_state import TimerStatus, claim, ran, read_status, resume, write_status
from tools.local.host.triggers import Parts, refuse_other_bindings

_log = logging.getLogger("host.timer")

CLAIM_EVERY = 1.0
"""Seconds between two looks whether the host that runs a timer is gone: a lock on a file tells nobody."""

_LONGEST_SLEEP = 30.0
# The event loop's clock stands still while a laptop sleeps; the wall clock is asked at least this often.


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer function, ready to be watched. `status` is where it is remembered, None when it isn't monitored."""

    function: LoadedFunction
    schedule: Schedule
    run_on_startup: bool
    status: Path | None
    lock: Path


class TimerTrigger:
    """Watches the clock for all timer functions of an app."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._timers = tuple(_timer(each, parts) for each in parts.functions)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if self._timers and self._parts.environment.get("WEBSITE_TIME_ZONE"):
            _log.warning("WEBSITE_TIME_ZONE is not supported: timers run in UTC")
        for timer in self._timers:
            name = timer.function.name
            if timer.function.disabled:
                _log.info("timer %s is disabled", name)
                continue
            _log.info("timer %s is next due %s", name, timer.schedule.after(datetime.now(UTC)).isoformat())
            self._tasks.append(asyncio.create_task(self._keep(timer), name=f"timer {name}"))

    async def stop(self) -> None:
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._parts.grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def run_now(self, function: LoadedFunction, text: str) -> None:
        """Run a timer out of turn. Microsoft's host leaves schedule and lock alone then, and so does this one."""
        await self._invoke(function, None, past_due=False)

    async def _keep(self, timer: Timer) -> None:
        """Watch one timer for as long as the host runs; where another host has it, wait for that one to end."""
        said = False
        try:
            while not self._stopping.is_set():
                with claim(timer.lock) as mine:
                    if mine:
                        return await self._watch(timer)
                if not said:
                    _log.info("timer %s is run by another host; waiting for it to end", timer.function.name)
                    said = True
                await self._sleep(CLAIM_EVERY)
        except Exception:
            # Nobody awaits this task before the host stops: a timer must not die in silence.
            _log.exception("timer %s is not watched any more", timer.function.name)
            raise

    async def _watch(self, timer: Timer) -> None:
        stored = read_status(timer.status) if timer.status else None
        status, missed = resume(stored, timer.schedule, datetime.now(UTC))
        if status != stored:
            self._remember(timer, status)
        if missed:
            _log.info("timer %s was due %s and is caught up now", timer.function.name, status.due.isoformat())
        if missed or timer.run_on_startup:
            status = await self._run(timer, status, past_due=missed)
        while not await self._sleep_until(status.due):
            status = await self._run(timer, status, past_due=False)

    async def _run(self, timer: Timer, status: TimerStatus, *, past_due: bool) -> TimerStatus:
        began = datetime.now(UTC)
        await self._invoke(timer.function, status if timer.status else None, past_due=past_due)
        status = ran(timer.schedule, began)
        self._remember(timer, status)
        return status

    async def _invoke(self, function: LoadedFunction, status: TimerStatus | None, *, past_due: bool) -> None:
        request = _request(status, past_due=past_due)
        # The invoker has logged the failure, and the schedule goes on.
        with contextlib.suppress(InvocationFailed):
            await self._parts.invoker.invoke(
                function, {function.trigger.name: request}, retry=self._parts.retry_of(function)
            )

    def _remember(self, timer: Timer, status: TimerStatus) -> None:
        if timer.status is not None:
            write_status(timer.status, status)

    async def _sleep_until(self, moment: datetime) -> bool:
        """Return True as soon as the host stops, False when the moment has come."""
        while not self._stopping.is_set():
            left = (moment - datetime.now(UTC)).total_seconds()
            if left <= 0:
                return False
            await self._sleep(min(left, _LONGEST_SLEEP))
        return True

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _timer(function: LoadedFunction, parts: Parts) -> Timer:
    refuse_other_bindings(function)
    settings = function.trigger.settings
    text = resolve(str(settings.get("schedule") or ""), parts.environment, function.name)
    try:
        schedule = parse_schedule(text)
    except ValueError as error:
        raise HostError(f"{function.name}: {error}") from None
    monitored = settings.get("useMonitor", True) is not False and not is_frequent(schedule, datetime.now(UTC))
    folder = parts.state / "timers"
    return Timer(
        function=function,
        schedule=schedule,
        run_on_startup=settings.get("runOnStartup") is True,
        status=folder / f"{function.name}.json" if monitored else None,
        lock=folder / f"{function.name}.lock",
    )


def _request(status: TimerStatus | None, *, past_due: bool) -> func.TimerRequest:
    """Build the argument with azure-functions' own decoder, from the JSON that Microsoft's host sends."""
    document = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": status.to_json() if status else None,
        "IsPastDue": past_due,
    }
    request = TimerRequestConverter.decode(Datum(json.dumps(document), "json"), trigger_metadata={})
    if not isinstance(request, func.TimerRequest):
        raise TypeError("azure-functions has decoded something else than a TimerRequest")
    return request
