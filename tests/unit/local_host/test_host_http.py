"""The HTTP trigger from the outside: what reaches a function, what it answers, and what never gets that far."""

import asyncio
import io
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tools.local.host.http_request import BodyLimits, joined_query
from tools.local.host.logs import JsonLines

ECHO = """
calls = []
@app.route(route="echo/{name?}")
async def echo(req: func.HttpRequest, context) -> func.HttpResponse:
    calls.append(req)
    import json
    seen = {"method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
            "headers": dict(req.headers), "length": len(req.get_body()), "trace": context.trace_context.trace_parent}
    return Response(json.dumps(seen), mimetype="application/json")
@app.route(route="bytes", methods=["POST"])
def give_back(req):
    calls.append(req)
    return Response(req.get_body(), mimetype="application/octet-stream")
"""


def calls() -> list[object]:
    import function_app

    return function_app.calls


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


# The request as a function sees it


async def test_the_request(serve: Callable[..., object]) -> None:
    async with serve(ECHO) as served:
        raw = (
            b"POST /ECHO/a%2Fb%20c?x=1&X=2&empty=&flag&sum=a+b%26 HTTP/1.1\r\nHost: example.test:1\r\nX-Twice: one\r\n"
            b"x-twice: two\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n"
            b"traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\nConnection: close\r\n\r\nabc"
        )
        answer = await served.exchange(raw)
        head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/json\r\n" in head
    seen = json.loads(body)
    assert seen["method"] == "POST"
    assert seen["url"] == "http://example.test:1/ECHO/a%2Fb%20c?x=1&X=2&empty=&flag&sum=a+b%26"
    assert seen["params"] == {"x": "1,2", "sum": "a b&"}
    assert seen["route"] == {"name": "a%2Fb c"}
    assert seen["headers"]["x-twice"] == "one,two"
    assert seen["headers"]["content-encoding"] == "gzip"
    assert seen["length"] == 3
    assert seen["trace"] == "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def test_header_bytes_that_are_no_utf8_reach_the_function_as_valid_text(
    serve: Callable[..., object],
) -> None:
    async with serve(ECHO) as served:
        answer = await served.exchange(
            b"GET /echo HTTP/1.1\r\nHost: h\r\nX-Odd: a\xffb\r\nConnection: close\r\n\r\n"
        )
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-odd"] == "a\ufffdb"


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        ("", {}),
        ("a", {}),
        ("a=", {}),
        ("a=1&a=", {"a": "1,"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a;b=1", {"a;b": "1"}),
    ],
)
def test_query_strings(raw: str, params: dict[str, str]) -> None:
    assert joined_query(raw) == params


# Bodies


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_arrive_whole(serve: Callable[..., object], chunked: bool) -> None:
    seed = 7071
    print(f"seed {seed}")
    body = random.Random(seed).randbytes(5_000_011)

    async def pieces() -> object:
        for start in range(0, len(body), 65_537):
            yield body[start : start + 65_537]

    async with (
        serve(ECHO) as served,
        served.client.post("/bytes", data=pieces() if chunked else io.BytesIO(body)) as answer,
    ):
        assert await answer.read() == body


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(serve: Callable[..., object]) -> None:
    async with serve(ECHO, limits=BodyLimits(largest=10)) as served:
        # Only the head is sent: an answer shows that nothing was waited for.
        answer = await served.head(
            b"POST /bytes HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"100 Continue" not in answer
        async with served.client.post("/bytes", data=b"x" * 10) as answer:
            assert answer.status == 200
        assert len(calls()) == 1


async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read(
    serve: Callable[..., object],
) -> None:
    async with serve(ECHO, limits=BodyLimits(largest=10)) as served:
        answer = await served.exchange(
            b"POST /bytes HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"\r\n\r\n")
        assert calls() == []


async def test_who_waits_for_100_continue_gets_it(serve: Callable[..., object]) -> None:
    async with serve(ECHO) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /bytes HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(3) == b"abc"
        writer.close()


async def test_a_client_that_stops_in_the_middle_leaves_nothing_invoked(
    serve: Callable[..., object], log: io.StringIO
) -> None:
    async with serve(ECHO) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"POST /bytes HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while "the client left" not in log.getvalue():
                await asyncio.sleep(0.01)
        assert calls() == []


async def test_a_body_that_trickles_is_given_up(serve: Callable[..., object]) -> None:
    async with serve(ECHO, limits=BodyLimits(rate=1_000_000, grace=0.05)) as served:
        answer = await served.head(b"POST /bytes HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert calls() == []


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: x\r\n",
        b"Bad Header: x\r\n",
        b"X-A: a\rb\r\n",
        b"X-A: a\x00b\r\n",
        b"X-A: a\r\n folded\r\n",
        b"X-A: " + b"a" * 10_000 + b"\r\n",
    ],
)
async def test_framing_that_two_servers_could_read_differently_is_refused(
    serve: Callable[..., object], head: bytes
) -> None:
    async with serve(ECHO) as served:
        answer = await served.exchange(
            b"POST /bytes HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert calls() == []


async def test_a_chunk_that_is_none_is_a_400(serve: Callable[..., object]) -> None:
    async with serve(ECHO) as served:
        answer = await served.exchange(
            b"POST /bytes HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
        )
        assert answer.split(b" ")[1] == b"400"
        assert answer.endswith(b"\r\n\r\n")
        assert calls() == []


async def test_a_content_length_that_is_too_small_leaves_the_rest_unread(
    serve: Callable[..., object],
) -> None:
    async with serve(ECHO) as served:
        answer = await served.exchange(
            b"POST /bytes HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n"
        )
        assert b" 400 Bad Request" in answer
        assert b"GARBAGE" not in answer
        # Whether the first request is still answered depends on how the bytes arrive; it never gets more than its own.
        assert {call.get_body() for call in calls()} <= {b"abc"}


# Answers


ANSWERS = """
@app.route(route="plain")
def plain(req): return "just text"
@app.route(route="cookies")
def cookies(req):
    answer = Response("x", status_code=201, headers={"X-A": "1"})
    answer.headers.add("Set-Cookie", "a=1; Path=/")
    answer.headers.add("Set-Cookie", "b=2")
    answer.headers.add("X-Last", "first")
    answer.headers.add("X-Last", "last")
    return answer
@app.route(route="length", methods=["HEAD", "GET"])
def length(req): return Response(b"" if req.method == "HEAD" else b"four", headers={"Content-Length": "4000"})
@app.route(route="headbody", methods=["HEAD"])
def headbody(req): return Response(b"twelve bytes")
@app.route(route="empty")
def empty(req): return Response(status_code=int(req.params["status"]), body=b"body")
@app.route(route="latin")
def latin(req): return Response("ä", mimetype="text/html", charset="latin-1")
@app.route(route="none")
def none(req): return None
@app.route(route="number")
def number(req): return 42
@app.route(route="status")
def status(req): return Response("x", status_code=99)
@app.route(route="boom")
async def boom(req): raise ValueError("secret-looking detail")
@app.route(route="split")
def split(req):
    answer = Response("x")
    answer.headers._list.append(("X-Bad", "a\\r\\nSet-Cookie: stolen=1"))
    return answer
@app.route(route="badname")
def badname(req):
    answer = Response("x")
    answer.headers._list.append(("X Bad:", "a"))
    return answer
@app.route(route="wide")
def wide(req): return Response("x", headers={"X-Wide": "\u20ac"})
@app.route(route="framing")
def framing(req):
    return Response("abc", headers={"Transfer-Encoding": "chunked", "Connection": "upgrade", "Server": "x"})
"""


async def test_text_alone_is_an_answer(serve: Callable[..., object]) -> None:
    async with serve(ANSWERS) as served, served.client.get("/plain") as answer:
        assert (answer.status, await answer.text()) == (200, "just text")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_charset_and_mimetype(serve: Callable[..., object]) -> None:
    async with serve(ANSWERS) as served, served.client.get("/latin") as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=latin-1"
        assert await answer.read() == b"\xe4"


async def test_of_repeated_headers_the_last_counts_but_cookies_all_do(serve: Callable[..., object]) -> None:
    async with serve(ANSWERS) as served, served.client.get("/cookies") as answer:
        assert answer.status == 201
        assert answer.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2"]
        assert answer.headers.getall("X-Last") == ["last"]


async def test_the_answer_to_head_may_state_a_length_and_that_to_get_can_not_lie(
    serve: Callable[..., object],
) -> None:
    async with serve(ANSWERS) as served:
        async with served.client.head("/length") as answer:
            assert answer.headers["Content-Length"] == "4000"
            assert await answer.read() == b""
        async with served.client.get("/length") as answer:
            assert answer.headers["Content-Length"] == "4"
            assert await answer.read() == b"four"
        async with served.client.head("/headbody") as answer:
            assert answer.headers["Content-Length"] == "12"
        # The connection is still in step after three answers.
        assert (await served.get("/plain"))[0] == 200


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_send_none(serve: Callable[..., object], status: int) -> None:
    async with serve(ANSWERS) as served:
        raw = f"GET /empty?status={status} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        answer = await served.exchange(raw)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/none", "/number", "/status", "/boom", "/split", "/badname", "/wide"])
async def test_what_can_not_be_sent_is_a_500_without_a_body(serve: Callable[..., object], path: str) -> None:
    async with serve(ANSWERS) as served:
        answer = await served.exchange(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.endswith(b"\r\n\r\n")
        assert b"stolen" not in answer
        assert b"secret" not in answer


async def test_framing_is_the_hosts(serve: Callable[..., object]) -> None:
    async with serve(ANSWERS) as served:
        answer = await served.exchange(b"GET /framing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"abc"
        assert b"chunked" not in head
        assert b"Content-Length: 3" in head
        assert b"Connection: close" in head


# What doesn't reach a function


async def test_unknown_paths_methods_and_disabled_functions_are_bare_404s(
    serve: Callable[..., object],
) -> None:
    source = """
    @app.route(route="x", methods=["GET"])
    def x(req): return "x"
    @app.route(route="off")
    def off(req): ...
    """
    async with serve(source, environment={"AzureWebJobs.off.Disabled": "true"}) as served:
        assert await served.get("/x") == (200, "x")
        assert await served.get("/nothing") == (404, "")
        assert await served.get("/off") == (404, "")
        async with served.client.delete("/x") as answer:
            assert (answer.status, await answer.read()) == (404, b"")
        assert await served.get("/admin/host/keys") == (404, "")
        assert await served.get("/runtime/webhooks/x") == (404, "")


async def test_a_path_with_a_nul_is_a_400(serve: Callable[..., object]) -> None:
    async with serve(ECHO) as served:
        answer = await served.exchange(b"GET /echo/%00 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_the_status_of_the_host(serve: Callable[..., object]) -> None:
    async with serve(ECHO) as served:
        status, text = await served.get("/admin/host/status")
        assert status == 200
        assert json.loads(text)["state"] == "Running"


async def test_keys_in_header_and_query_and_never_in_a_log(
    serve: Callable[..., object], tmp_path: Path, log: io.StringIO
) -> None:
    source = """
    @app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
    def locked(req): return "in"
    """
    async with serve(source) as served:
        keys = json.loads((tmp_path / "state" / "keys.json").read_text())
        key = keys["functions"]["locked"]
        assert await served.get("/locked") == (401, "")
        assert await served.get("/locked", params={"code": key + "x"}) == (401, "")
        assert await served.get("/locked", params={"CODE": key}) == (200, "in")
        assert await served.get("/locked", headers={"X-Functions-Key": keys["host"]}) == (200, "in")
        assert await served.get("/locked", headers={"x-functions-key": keys["master"]}) == (200, "in")
        await served.exchange(f"GET /locked?code={key} HTTP/9.9\r\nHo st: h\r\n\r\n".encode())
    text = log.getvalue()
    assert "/locked" in text
    assert key not in text
    assert keys["host"] not in text


SLOW = """
started, gates = [], []
@app.route(route="slow")
async def slow(req):
    gate = asyncio.Event()
    started.append(req.params["n"])
    gates.append(gate)
    await gate.wait()
    return req.params["n"]
@app.route(route="block")
def block(req): raise AssertionError
"""


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_some_run_some_wait_and_the_rest_is_refused_at_once(serve: Callable[..., object]) -> None:
    async with serve(SLOW, http={"maxConcurrentRequests": 2, "maxOutstandingRequests": 3}) as served:
        import function_app

        waiting = []
        for n in range(3):
            waiting.append(asyncio.create_task(served.get("/slow", params={"n": str(n)})))
            await asyncio.sleep(0.05)
        await eventually(lambda: len(function_app.started) == 2)
        raw = b"GET /slow?n=late HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert (await served.exchange(raw)).startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        # The host's own paths don't wait in that line.
        assert (await served.get("/admin/host/status"))[0] == 200
        assert function_app.started == ["0", "1"]
        function_app.gates[0].set()
        await eventually(lambda: len(function_app.started) == 3)
        for gate in function_app.gates:
            gate.set()
        assert await asyncio.gather(*waiting) == [(200, "0"), (200, "1"), (200, "2")]


async def test_what_takes_longer_than_function_timeout_is_a_500(serve: Callable[..., object]) -> None:
    async with serve(SLOW, host_json={"functionTimeout": "00:00:01"}) as served:
        assert await served.get("/slow", params={"n": "1"}) == (500, "")


async def test_stopping_lets_a_running_request_finish_and_takes_no_new_one(
    serve: Callable[..., object],
) -> None:
    async with serve(SLOW, grace=10.0) as served:
        import function_app

        running = asyncio.create_task(served.get("/slow", params={"n": "1"}))
        await eventually(lambda: function_app.started == ["1"])
        stopping = asyncio.create_task(served.stop())
        await asyncio.sleep(0.05)
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", served.port)
        assert not running.done()
        function_app.gates[0].set()
        assert await running == (200, "1")
        assert await stopping is True


async def test_stopping_does_not_wait_for_ever(serve: Callable[..., object]) -> None:
    async with serve(SLOW, grace=0.2) as served:
        import function_app

        running = asyncio.create_task(served.get("/slow", params={"n": "1"}))
        await eventually(lambda: function_app.started == ["1"])
        async with asyncio.timeout(10):
            assert await served.stop() is False
        with pytest.raises(aiohttp.ClientError):
            await running
