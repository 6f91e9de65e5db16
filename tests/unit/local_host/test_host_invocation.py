"""The runner that every trigger uses: retries with a synthetic trigger, time limits, threads, contexts, logs."""

import asyncio
import contextvars
import dataclasses
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.local.host.context import current_scope, thread_storage
from tools.local.host.hostjson import HostSettings
from tools.local.host.invocation import InvocationFailed, InvocationTimedOut, Invoker
from tools.local.host.loading import Binding, LoadedFunction
from tools.local.host.logs import JsonLines, TextLines
from tools.local.host.retry import UNBOUNDED, RetryPolicy
from tools.local.host.triggers import Parts


def synthetic(call: Callable[..., object], *, wants_context: bool = True) -> LoadedFunction:
    """A function with a trigger that this host doesn't have."""
    trigger = Binding("item", "syntheticTrigger", "in", {})
    return LoadedFunction(
        "synthetic",
        call,
        asyncio.iscoroutinefunction(call),
        wants_context,
        Path("/app"),
        trigger,
        (trigger,),
        None,
        None,
        False,
    )


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the host's loggers write, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


class Sleeps:
    """Takes the place of the clock: remembers how long it was asked to wait."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy("fixedDelay", 3, 2, 2), [2, 2, 2]),
        (RetryPolicy("exponentialBackoff", 4, 1, 5), [1, 2, 4, 5]),
        (RetryPolicy("fixedDelay", 0, 2, 2), []),
    ],
)
async def test_a_failing_function_is_tried_again_as_the_policy_says(
    policy: RetryPolicy, delays: list[float]
) -> None:
    seen: list[tuple[int, int, str, str | None]] = []

    async def fail(item: object, context: object) -> None:
        retry = context.retry_context
        before = retry.exception.message if retry.retry_count else None
        seen.append((retry.retry_count, retry.max_retry_count, context.invocation_id, before))
        raise ValueError(f"no {len(seen)}")

    sleeps = Sleeps()
    invoker = Invoker(timeout=None, sleep=sleeps)
    with pytest.raises(InvocationFailed) as failed:
        await invoker.invoke(synthetic(fail), {"item": 1}, retry=policy)
    assert sleeps.waited == delays
    tries = len(delays) + 1
    assert [each[0] for each in seen] == list(range(tries))
    assert {each[1] for each in seen} == {policy.max_retries}
    assert len({each[2] for each in seen}) == tries
    assert [each[3] for each in seen] == [None] + [f"no {n}" for n in range(1, tries)]
    assert str(failed.value.__cause__) == f"no {tries}"
    assert await invoker.drain(0.1) == 0


async def test_retries_end_with_the_first_success() -> None:
    left = [True, True]

    async def twice(item: object) -> str:
        if left and left.pop():
            raise OSError
        return "done"

    sleeps = Sleeps()
    invoker = Invoker(timeout=None, sleep=sleeps)
    policy = RetryPolicy("fixedDelay", UNBOUNDED, 1, 1)
    assert await invoker.invoke(synthetic(twice, wants_context=False), {"item": 1}, retry=policy) == "done"
    assert sleeps.waited == [1, 1]


async def test_without_a_policy_nothing_is_tried_again() -> None:
    calls = []

    def fail(item: object) -> None:
        calls.append(item)
        raise ValueError

    with pytest.raises(InvocationFailed):
        await Invoker(timeout=None).invoke(synthetic(fail, wants_context=False), {"item": 1})
    assert calls == [1]


async def test_the_time_limit_cancels_and_is_told_apart_from_a_timeout_of_the_function() -> None:
    cancelled = []

    async def slow(item: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def own(item: object) -> None:
        raise TimeoutError("mine")

    invoker = Invoker(timeout=0.05)
    with pytest.raises(InvocationTimedOut):
        await invoker.invoke(synthetic(slow, wants_context=False), {"item": 1})
    assert cancelled == [True]
    with pytest.raises(InvocationFailed) as failed:
        await invoker.invoke(synthetic(own, wants_context=False), {"item": 1})
    assert not isinstance(failed.value, InvocationTimedOut)


async def test_a_plain_function_runs_in_a_thread_with_the_context_of_its_invocation() -> None:
    marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker")
    marker.set("from the loop")

    def where(item: object, context: object) -> tuple[object, ...]:
        scope = current_scope.get()
        assert scope is not None
        return (
            threading.current_thread() is threading.main_thread(),
            marker.get(),
            scope.invocation_id == context.invocation_id == thread_storage.invocation_id,
            context.thread_local_storage is thread_storage,
            context.function_name,
            context.function_directory,
        )

    result = await Invoker(timeout=None, threads=1).invoke(synthetic(where), {"item": 1})
    assert result == (False, "from the loop", True, True, "synthetic", "/app")
    assert current_scope.get() is None


async def test_as_many_threads_as_the_setting_says() -> None:
    both = threading.Barrier(2, timeout=5)

    def meet(item: object) -> None:
        both.wait()

    invoker = Invoker(timeout=None, threads=2)
    function = synthetic(meet, wants_context=False)
    await asyncio.gather(invoker.invoke(function, {"item": 1}), invoker.invoke(function, {"item": 2}))

    alone = Invoker(timeout=None, threads=1)
    both.reset()
    first = asyncio.create_task(alone.invoke(function, {"item": 1}))
    second = asyncio.create_task(alone.invoke(function, {"item": 2}))
    while both.n_waiting == 0:
        await asyncio.sleep(0.01)
    assert alone.busy_threads == 1
    both.abort()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [InvocationFailed, InvocationFailed]


async def test_an_invocation_survives_its_caller_and_is_drained() -> None:
    go, ended = asyncio.Event(), []

    async def work(item: object) -> None:
        await go.wait()
        ended.append(item)

    invoker = Invoker(timeout=None)
    caller = asyncio.create_task(invoker.invoke(synthetic(work, wants_context=False), {"item": 1}))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert invoker.running == 1
    go.set()
    assert await invoker.drain(5) == 0
    assert ended == [1]


async def test_what_does_not_end_in_time_is_cancelled() -> None:
    async def forever(item: object) -> None:
        await asyncio.Event().wait()

    invoker = Invoker(timeout=None)
    caller = asyncio.create_task(invoker.invoke(synthetic(forever, wants_context=False), {"item": 1}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await invoker.drain(0.05) == 1
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_the_log_line_of_an_invocation_and_of_what_it_logged(log: io.StringIO) -> None:
    async def talk(item: object, context: object) -> str:
        logging.getLogger("adapter").warning("inside %s", "it")
        return context.invocation_id

    invoker = Invoker(timeout=None)
    invocation_id = await invoker.invoke(
        synthetic(talk), {"item": 1}, describe=lambda result: {"status": 201}
    )
    inside, done = lines(log)
    assert inside["message"] == "inside it"
    assert inside["level"] == "warning"
    assert inside["logger"] == "adapter"
    assert done["status"] == 201
    assert done["duration_ms"] >= 0
    for line in (inside, done):
        assert line["function"] == "synthetic"
        assert line["invocation_id"] == invocation_id


async def test_a_failure_is_logged_with_its_traceback(log: io.StringIO) -> None:
    def fail(item: object) -> None:
        raise ValueError("what went wrong")

    with pytest.raises(InvocationFailed):
        await Invoker(timeout=None).invoke(synthetic(fail, wants_context=False), {"item": 1})
    (failed,) = lines(log)
    assert failed["level"] == "error"
    assert "ValueError: what went wrong" in failed["exception"]


def test_text_lines_are_for_people() -> None:
    record = logging.LogRecord("host", logging.INFO, __file__, 1, "done", None, None)
    record.status = 200
    assert TextLines().format(record).endswith("INFO    host: done status=200")


def test_a_functions_own_policy_goes_before_that_of_host_json() -> None:
    own, general = RetryPolicy("fixedDelay", 1, 1, 1), RetryPolicy("fixedDelay", 9, 9, 9)
    function = synthetic(lambda item: None)
    parts = Parts(
        (function,), HostSettings(retry=general), Invoker(timeout=None), Path(), "127.0.0.1", 0, 1.0
    )
    assert parts.retry_of(function) == general
    assert parts.retry_of(dataclasses.replace(function, retry=own)) == own
