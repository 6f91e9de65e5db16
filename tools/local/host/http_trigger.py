"""HTTP: the trigger that answers.

A request passes, in this order: the host's own paths; the route table; the throttle; the key; the body; the function;
the answer. What doesn't get to the function is answered as Microsoft's host answers it: a status without a body.

    400  a path or a body that isn't HTTP        413  a body over the limit
    401  a key is missing or wrong               429  too many wait already
    404  no route takes path and method          500  the function raised, or took too long
    408  a body that trickles
"""

import asyncio
import logging

from aiohttp import web

from tools.local.host.admin import Admin
from tools.local.host.context import TraceContext
from tools.local.host.errors import HostError
from tools.local.host.http_request import (
    BodyLimits,
    BodyRefused,
    ClientGone,
    query_value,
    read_body,
    to_function_request,
)
from tools.local.host.http_response import UnusableResult, bare, to_web_response
from tools.local.host.invocation import InvocationFailed
from tools.local.host.keys import HEADER, PARAMETER, load_keys
from tools.local.host.routes import Route, build_routes
from tools.local.host.throttle import Overloaded, Throttle
from tools.local.host.triggers import Parts

_log = logging.getLogger("host.http")

KEEP_ALIVE = 130.0
"""Seconds that an idle connection stays open, and that the head of a first request may take: Kestrel's default."""

_LINGER = 2.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender gets to see the answer."""

_READ_BUFFER = 256 * 1024


class Connection(web.RequestHandler):
    """One connection. aiohttp answers what it can't parse with the offending line, and logs it: both may hold a key."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status < 500:
            _log.warning("a request that isn't HTTP: %s", type(exc).__name__)
        else:
            _log.error("the host failed to answer a request", exc_info=exc)
        # Something was sent already: an error in the middle of an answer can only be shown by breaking it off.
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        answer = bare(status)
        answer.force_close()
        return answer


class Listener(web.Server):
    """The factory of connections."""

    def __call__(self) -> web.RequestHandler:
        # Without an access log, since it would hold whole URLs; a compressed body is the function's to unpack.
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp documents None and doesn't annotate it
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=_LINGER,
            read_bufsize=_READ_BUFFER,
            auto_decompress=False,
        )


class HttpTrigger:
    """Serves the HTTP functions of an app on one address and port; port 0 lets the system choose one."""

    def __init__(self, parts: Parts, limits: BodyLimits, admin: Admin) -> None:
        self._parts = parts
        self._admin = admin
        self._limits = limits
        self._routes = build_routes(parts.functions, parts.settings.http.route_prefix)
        guarded = [each.name for each in parts.functions if each.http and each.http.level != "anonymous"]
        self._keys = load_keys(parts.state / "keys.json", guarded)
        self._runner: web.ServerRunner | None = None

    @property
    def port(self) -> int:
        """The port that is served; only after `start`."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the HTTP trigger isn't listening")
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        http = self._parts.settings.http
        self._throttle = Throttle(http.max_concurrent, http.max_outstanding)
        server = Listener(self._handle)
        # aiohttp waits twice for this long: for the answer, then for the connection's own task.
        self._runner = web.ServerRunner(server, shutdown_timeout=max(self._parts.grace / 2, 0.05))
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._parts.address, self._parts.port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise HostError(
                f"can't listen on {self._parts.address}:{self._parts.port}: {error.strerror}"
            ) from error
        for route in self._routes.routes:
            methods = ",".join(sorted(route.methods)) if route.methods else "all"
            _log.info("route /%s [%s] -> %s", route.template.text, methods, route.function.name)
        _log.info("listening on http://%s:%d", self._parts.address, self.port)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        path = request.rel_url.raw_path
        if self._admin.owns(path):
            return await self._admin.answer(request)
        try:
            found = self._routes.find(request.method, path)
        except ValueError:
            return bare(400)
        if found is None:
            return bare(404)
        route, values = found
        try:
            async with self._throttle.place():
                return await self._answer(request, route, dict(values))
        except Overloaded:
            _log.warning("refused: %d requests run or wait", self._throttle.outstanding)
            return bare(429)

    async def _answer(self, request: web.BaseRequest, route: Route, values: dict[str, str]) -> web.Response:
        function = route.function
        presented = request.headers.get(HEADER) or query_value(request.rel_url.raw_query_string, PARAMETER)
        if not self._keys.admit(function, presented):
            return bare(401)
        if function.disabled:
            return bare(404)
        try:
            body = await read_body(request, self._limits)
        except BodyRefused as refusal:
            _log.warning("%s: refused with %d: %s", function.name, refusal.status, refusal)
            answer = bare(refusal.status)
            # What is left of the body would be read as the next request.
            answer.force_close()
            return answer
        except ClientGone:
            _log.info("%s: the client left before its body ended", function.name)
            return bare(400)
        return await self._call(request, route, values, body)

    async def _call(
        self, request: web.BaseRequest, route: Route, values: dict[str, str], body: bytes
    ) -> web.Response:
        binding = route.function.http
        if binding is None:
            raise RuntimeError("only HTTP functions have routes")
        method, template = request.method, f"/{route.template.text}"

        def describe(result: object) -> dict[str, object]:
            return {"method": method, "route": template, "status": getattr(result, "status_code", 200)}

        trace = TraceContext(request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))
        arguments = {binding.parameter: to_function_request(request, values, body)}
        try:
            # No retry policy: the caller of an HTTP function gets the failure and decides.
            result = await self._parts.invoker.invoke(
                route.function, arguments, trace=trace, describe=describe
            )
            return to_web_response(result, method)
        except InvocationFailed:
            return bare(500)
        except UnusableResult as error:
            _log.error("%s: %s", route.function.name, error)
            return bare(500)
