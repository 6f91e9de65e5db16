"""The host's own paths, `/admin/...`: is it up, what is in it, and run this now.

    GET  /admin/host/status, /admin/host/ping
    GET  /admin/functions, /admin/functions/{name}, /admin/functions/{name}/status
    POST /admin/functions/{name}            {"input": "..."}: run a function that isn't HTTP; 202 before it begins

For a timer the input is nothing, for a blob function it is `container/name`. Azure asks for the master key here;
Core Tools ask for none ("Manually run a non HTTP-triggered function": "a key isn't required when running locally"),
and neither does this host, which listens on this machine only. A page in a browser can't get in: a body must be
application/json, which a browser sends to strangers only after asking. Source: `FunctionsController`.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web

from tools.local.host.http_request import BodyLimits, BodyRefused, ClientGone, read_body
from tools.local.host.http_response import bare
from tools.local.host.loading import HTTP_TRIGGER, LoadedFunction
from tools.local.host.triggers import RunsOnDemand

_log = logging.getLogger("host.admin")

_RESERVED = ("/admin/", "/runtime/")
_LIMITS = BodyLimits(largest=1024 * 1024)


class Admin:
    """Answers for the host. `runners` are the triggers that run functions on demand, by kind."""

    def __init__(self, functions: tuple[LoadedFunction, ...]) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._started = time.monotonic()
        self._runs: set[asyncio.Task[None]] = set()
        self.runners: dict[str, RunsOnDemand] = {}

    def owns(self, path: str) -> bool:
        """Whether no function may answer this path."""
        return path.lower().startswith(_RESERVED)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        method, path = request.method, request.rel_url.raw_path.rstrip("/")
        folded = path.lower()
        if method == "GET" and folded == "/admin/host/status":
            uptime = round((time.monotonic() - self._started) * 1000)
            return web.json_response({"id": "local", "state": "Running", "processUptime": uptime})
        if method in ("GET", "POST") and folded == "/admin/host/ping":
            return bare(200)
        base = f"{request.scheme}://{request.host}"
        if method == "GET" and folded == "/admin/functions":
            return web.json_response([_described(each, base) for each in self._functions.values()])
        if not folded.startswith("/admin/functions/"):
            return bare(404)
        name, _, rest = folded.removeprefix("/admin/functions/").partition("/")
        function = self._functions.get(unquote(name))
        if function is None:
            return bare(404)
        if method == "GET" and rest == "status":
            # An app with a function in error doesn't start here, so there is never one to tell of.
            return web.json_response({})
        if method == "GET" and not rest:
            return web.json_response(_described(function, base))
        return await self._run(request, function) if method == "POST" and not rest else bare(404)

    async def finish(self, seconds: float) -> None:
        """Wait for the runs that were asked for, then cancel what is left."""
        runs = tuple(self._runs)
        if runs:
            await asyncio.wait(runs, timeout=seconds)
        for task in runs:
            task.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    async def _run(self, request: web.BaseRequest, function: LoadedFunction) -> web.Response:
        if request.content_type != "application/json":
            return _closing(415)
        try:
            text = _input(await read_body(request, _LIMITS))
        except BodyRefused as refusal:
            return _closing(refusal.status)
        except (ClientGone, ValueError):
            return bare(400)
        runner = self.runners.get(function.trigger.kind)
        if runner is None:
            # HTTP functions have an address of their own; of other kinds the host said at start what it can't run.
            return bare(400)
        task = asyncio.create_task(self._run_logged(runner, function, text))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return bare(202)

    async def _run_logged(self, runner: RunsOnDemand, function: LoadedFunction, text: str) -> None:
        _log.info("%s is run because /admin was asked to", function.name)
        try:
            await runner.run_now(function, text)
        except Exception:  # noqa: BLE001  # the answer is long gone: the log is the only place for it
            _log.exception("%s could not be run", function.name)


def _input(body: bytes) -> str:
    """Return the input of an invocation request; raises ValueError when it isn't one."""
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("an object is needed")
    text = document.get("input")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError("input must be a string")
    return text


def _described(function: LoadedFunction, base: str) -> Mapping[str, object]:
    bindings = [
        {"name": each.name, "type": each.kind, "direction": each.direction, **each.settings}
        for each in function.bindings
    ]
    described: dict[str, object] = {
        "name": function.name,
        "language": "python",
        "href": f"{base}/admin/functions/{function.name}",
        "isDisabled": function.disabled,
        "config": {"name": function.name, "language": "python", "bindings": bindings},
    }
    if function.trigger.kind == HTTP_TRIGGER and function.http is not None:
        described["invoke_url_template"] = f"{base}/{function.http.route}"
    return described


def _closing(status: int) -> web.Response:
    answer = bare(status)
    # What is left of the body would be read as the next request.
    answer.force_close()
    return answer
