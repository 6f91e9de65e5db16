"""Run one function once: its context, its time limit, its thread, its retries, its line in the log.

Every trigger calls functions through here, so that a timer and a request are timed, logged, cancelled and
counted alike. `async def` runs on the host's one event loop; a plain `def` runs in a pool of threads whose size is
PYTHON_THREADPOOL_THREAD_COUNT, as in Microsoft's worker (unset: Python's own default, min(32, cores + 4)). A
function that blocks in `async def` therefore stops the whole host, here as there.

An invocation that takes too long is cancelled, and an HTTP caller gets a 500. Microsoft's host restarts the worker
besides (`WebScriptHostExceptionHandler.OnTimeoutExceptionAsync`), and with it everything that ran there; that is not
copied.
"""

import asyncio
import contextvars
import functools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tools.local.host.context import Context, RetryContext, Scope, TraceContext, current_scope, thread_storage
from tools.local.host.loading import LoadedFunction
from tools.local.host.retry import RetryPolicy

_log = logging.getLogger("host.invocation")


class InvocationFailed(Exception):
    """The function raised, after all tries; the exception is the cause and is logged already."""


class InvocationTimedOut(InvocationFailed):
    """The function took longer than functionTimeout allows."""


class Outputs(Protocol):
    """What sends the values that functions give to their output bindings."""

    def arguments(self, function: LoadedFunction) -> Mapping[str, object]:
        """What the function gets for its outputs, by their names."""

    async def send(self, function: LoadedFunction, arguments: Mapping[str, object], result: object) -> None:
        """Send what was set, or returned. A failure is a failure of the function."""


class NoOutputs:
    """For functions that have none."""

    def arguments(self, function: LoadedFunction) -> Mapping[str, object]:
        return {}

    async def send(self, function: LoadedFunction, arguments: Mapping[str, object], result: object) -> None:
        """Nothing is sent."""


class Invoker:
    """Runs functions; `timeout` is in seconds, None for no limit, and holds for each try by itself."""

    def __init__(
        self,
        *,
        timeout: float | None,
        threads: int | None = None,
        outputs: Outputs | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="function")
        self._sleep = sleep
        self._outputs = outputs or NoOutputs()
        self._running: set[asyncio.Task[object]] = set()
        self._busy: set[str] = set()

    @property
    def running(self) -> int:
        """How many invocations have begun and not ended."""
        return len(self._running)

    @property
    def busy_threads(self) -> int:
        """How many threads are in a function now, those of timed out invocations included."""
        return len(self._busy)

    async def invoke(
        self,
        function: LoadedFunction,
        arguments: Mapping[str, object],
        *,
        trace: TraceContext | None = None,
        retry: RetryPolicy | None = None,
        describe: Callable[[object], Mapping[str, object]] = lambda result: {},
    ) -> object:
        """Call the function with arguments by binding name and return what it returns.

        With `retry` a failure is tried again as the policy says, each time under a new invocation id. Raises
        InvocationFailed when the last try failed. `describe` adds fields to the log line of a success.

        The invocation is a task of its own: when the caller is cancelled (a client that went away, say) the
        function runs to its end, as in Azure, where nobody tells it.
        """
        task = asyncio.create_task(self._tries(function, arguments, trace or TraceContext(), retry, describe))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # A failure is logged where it happens; without this, one whose caller left is reported a second time.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def drain(self, seconds: float) -> int:
        """Wait for what is running, then cancel the rest; return how many had to be cancelled."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        late = tuple(self._running)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        # Threads can't be cancelled: the pool waits for none, and leftovers end with the process.
        self._threads.shutdown(wait=False, cancel_futures=True)
        return len(late)

    async def _tries(
        self,
        function: LoadedFunction,
        arguments: Mapping[str, object],
        trace: TraceContext,
        retry: RetryPolicy | None,
        describe: Callable[[object], Mapping[str, object]],
    ) -> object:
        failure: InvocationFailed | None = None
        attempt = 0
        limit = retry.max_retries if retry else 0
        while True:
            context = RetryContext(attempt, limit, failure.__cause__ if failure else None)
            try:
                return await self._once(function, arguments, trace, context, describe)
            except InvocationFailed as error:
                failure = error
                attempt += 1
                delay = retry.delay_before(attempt) if retry else None
                if delay is None:
                    raise
            await self._sleep(delay)

    async def _once(
        self,
        function: LoadedFunction,
        arguments: Mapping[str, object],
        trace: TraceContext,
        retry: RetryContext,
        describe: Callable[[object], Mapping[str, object]],
    ) -> object:
        scope = Scope(function.name, str(uuid.uuid4()))
        outputs = self._outputs.arguments(function)
        values = {**arguments, **outputs}
        if function.wants_context:
            values["context"] = Context(scope, str(function.directory), trace, retry)
        token = current_scope.set(scope)
        started = time.perf_counter()
        fields: dict[str, object] = {"retry": retry.retry_count} if retry.retry_count else {}
        try:
            try:
                async with asyncio.timeout(self._timeout) as limit:
                    result = await self._call(function, values, scope)
                    await self._outputs.send(function, outputs, result)
            except TimeoutError as error:
                # A function's own TimeoutError is its failure, not the host's limit.
                if not limit.expired():
                    raise
                raise InvocationTimedOut(f"{function.name} took longer than {self._timeout:g} s") from error
        except asyncio.CancelledError:
            _log.warning("cancelled", extra=fields | _lasted(started))
            raise
        except InvocationTimedOut as error:
            _log.error("timed out: %s", error, extra=fields | _lasted(started))
            raise
        except Exception as error:
            _log.exception("failed: %s", type(error).__name__, extra=fields | _lasted(started))
            raise InvocationFailed(f"{function.name} raised {type(error).__name__}") from error
        else:
            _log.info("done", extra=fields | dict(describe(result)) | _lasted(started))
            return result
        finally:
            current_scope.reset(token)

    async def _call(self, function: LoadedFunction, values: Mapping[str, object], scope: Scope) -> object:
        if function.is_async:
            return await function.call(**values)
        call = functools.partial(self._in_thread, function.call, values, scope.invocation_id)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, contextvars.copy_context().run, call)

    def _in_thread(
        self, call: Callable[..., object], values: Mapping[str, object], invocation_id: str
    ) -> object:
        thread_storage.invocation_id = invocation_id
        self._busy.add(invocation_id)
        try:
            return call(**values)
        finally:
            self._busy.discard(invocation_id)


def _lasted(started: float) -> dict[str, object]:
    return {"duration_ms": round((time.perf_counter() - started) * 1000, 1)}
