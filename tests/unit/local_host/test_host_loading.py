"""Loading: what is read out of an app, and which apps are refused before anything listens."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.local.host.errors import HostError
from tools.local.host.loading import HttpBinding, LoadedApp, load_app
from tools.local.host.retry import RetryPolicy


def test_an_http_function(load: Callable[..., LoadedApp]) -> None:
    (one,) = load(
        """
        @app.function_name("renamed")
        @app.route(route="/files/{id}/", methods=["get", func.HttpMethod.PUT], auth_level=func.AuthLevel.FUNCTION)
        async def one(request: func.HttpRequest, context: func.Context) -> func.HttpResponse: ...
        """.replace("request:", "req:")
    ).functions
    assert one.name == "renamed"
    assert one.is_async
    assert one.wants_context
    assert one.http == HttpBinding("req", "files/{id}", frozenset({"GET", "PUT"}), "function")
    assert one.retry is None


def test_without_methods_a_function_takes_all(load: Callable[..., LoadedApp]) -> None:
    (one,) = load("@app.route(route='x')\ndef one(req): ...").functions
    assert one.http is not None
    assert one.http.methods is None
    assert not one.is_async
    assert not one.wants_context


def test_other_triggers_are_read_but_are_not_http(load: Callable[..., LoadedApp]) -> None:
    (tick,) = load(
        """
        @app.timer_trigger(schedule="0 * * * * *", arg_name="timer")
        @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:10")
        def tick(timer: func.TimerRequest) -> None: ...
        """
    ).functions
    assert tick.http is None
    assert tick.trigger.kind == "timerTrigger"
    assert tick.trigger.settings["schedule"] == "0 * * * * *"
    assert tick.retry == RetryPolicy("fixedDelay", 3, 10, 10)


@pytest.mark.parametrize("name", ["AzureWebJobs.one.Disabled", "AzureWebJobs_one_Disabled"])
@pytest.mark.parametrize(("value", "disabled"), [("true", True), ("1", True), ("false", False), ("", False)])
def test_disabled_by_a_setting(load: Callable[..., LoadedApp], name: str, value: str, disabled: bool) -> None:
    (one,) = load("@app.route(route='x')\ndef one(req): ...", {name: value}).functions
    assert one.disabled is disabled


async def test_close_is_found(load: Callable[..., LoadedApp]) -> None:
    app = load("closed = []\nasync def close(): closed.append(1)\n@app.route(route='x')\ndef one(req): ...")
    assert app.close is not None
    await app.close()
    assert asyncio.iscoroutinefunction(app.close)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("second = func.FunctionApp()", "exactly one FunctionApp; it defines 2"),
        ("del app", "it defines 0"),
        ("def close(): ...", "`close` must be an async function"),
        ("@app.route(route='admin/x')\ndef one(req): ...", "one: a route can't start with admin"),
        ("@app.route(route='Runtime')\ndef one(req): ...", "one: a route can't start with admin"),
        ("@app.route(route='x')\ndef one(req, extra): ...", "one: the parameters must be 'req'"),
        ("@app.route(route='x')\ndef one(other): ...", "one: the parameters must be 'req'"),
        (
            "@app.route(route='x')\ndef one(req): ...\n@app.route(route='y')\ndef One(req): ...",
            "differ only in case",
        ),
        (
            "def one(req): ...\na = app.route(route='x')(one)\nb = app.route(route='y')(one)",
            "unique",
        ),
        (
            "@app.route(route='x')\n@app.blob_output(arg_name='out', path='a', connection='C')\ndef one(req, out): ...",
            "one: this host can't supply the binding 'out' of type blob",
        ),
        (
            "@app.timer_trigger(schedule='* * * * * *', arg_name='t')\n"
            "@app.retry(strategy='sometimes', max_retry_count='3')\ndef one(t): ...",
            "one: retry: strategy 'sometimes'",
        ),
    ],
)
def test_apps_that_are_refused(load: Callable[..., LoadedApp], source: str, complaint: str) -> None:
    with pytest.raises(HostError, match=complaint):
        load(source)


def test_no_app_at_all(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is missing"):
        load_app(tmp_path)


def test_an_error_of_the_app_is_shown_as_it_is(load: Callable[..., LoadedApp]) -> None:
    with pytest.raises(ZeroDivisionError):
        load("1 / 0")
