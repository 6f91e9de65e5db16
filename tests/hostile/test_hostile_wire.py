"""Attacks below HTTP libraries: framing that lies, addresses in disguise, headers that should count for nothing."""

import pytest

from tests.hostile.raw import Target, head
from tests.support.samples import noise
from tests.support.system import Api

BLOCK = noise("wire", 1000)


@pytest.fixture(scope="module")
def bearer(ann: Api) -> str:
    return f"Authorization: {ann.client.headers['Authorization']}"


@pytest.mark.parametrize("path", ["/api/upload", "/api/files/upload?path=/cut.bin"])
def test_a_body_that_ends_early_leaves_nothing(target: Target, bearer: str, path: str) -> None:
    with target.nothing_stored():
        raw = head("POST", path, bearer, "Content-Length: 1000") + BLOCK[:400]
        reply = target.exchange(raw, hang_up=True)
        assert reply is None or reply.status == 400


def test_a_body_that_is_longer_than_it_says_is_cut_where_it_says(target: Target, bearer: str) -> None:
    with target.nothing_stored():
        mark = f"X-Content-SHA256: {'0' * 64}"
        raw = head("POST", "/api/upload", bearer, mark, "Content-Length: 400").replace(
            b"Connection: close\r\n", b""
        )
        reply = target.exchange(raw + BLOCK)
        assert reply is not None and reply.status in (400, 422)


@pytest.mark.parametrize(
    "framing",
    [
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: 5 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Content-Length : 5"],
        [" Content-Length: 5"],
    ],
    ids=" / ".join,
)
@pytest.mark.parametrize("path", ["/api/upload", "/api/files/upload?path=/smuggled.bin"])
def test_framing_that_two_servers_could_read_in_two_ways(
    target: Target, bearer: str, path: str, framing: list[str]
) -> None:
    with target.nothing_stored():
        raw = (
            head("POST", path, bearer, *framing)
            + b"0\r\n\r\nGET /api/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        assert target.status(raw) in (400, 411, 501)


@pytest.mark.parametrize("path", ["/api/upload", "/api/files/upload?path=/chunked.bin", "/api/files/commit"])
def test_chunked_bodies_are_not_taken(target: Target, bearer: str, path: str) -> None:
    chunks = b"3e8\r\n" + BLOCK + b"\r\n0\r\n\r\n"
    with target.nothing_stored():
        reply = target.exchange(head("POST", path, bearer, "Transfer-Encoding: chunked") + chunks)
        assert reply is not None and (reply.status, reply.code) == (411, "length_required")
        for broken in (b"zz\r\n", b"-5\r\nabc", b"5\r\nabc", b"FFFFFFFFFFFFFFFFFFFF\r\nx"):
            raw = head("POST", path, bearer, "Transfer-Encoding: chunked") + broken
            reply = target.exchange(raw, hang_up=True)
            assert reply is None or reply.status in (400, 413), broken


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/api/files/upload?path=/huge", 101 * 2**20, 413),
        ("/api/files/upload?path=/huge", 2**63, 413),
        ("/api/files/upload?path=/huge", 10**30, 400),
        ("/api/upload", 101 * 2**20, 413),
        ("/api/login", 101 * 2**20, 413),
    ],
)
def test_a_body_that_is_announced_too_large_is_not_waited_for(
    target: Target, bearer: str, path: str, length: int, status: int
) -> None:
    with target.nothing_stored():
        before = target.forget_peak()
        assert (
            target.status(head("POST", path, bearer, f"Content-Length: {length}") + b"some of it") == status
        )
        assert target.memory("VmHWM") < before + 64


def test_a_block_of_five_mebibytes(target: Target, bearer: str) -> None:
    with target.nothing_stored():
        body = bytes(5 * 2**20)
        reply = target.exchange(head("POST", "/api/upload", bearer, f"Content-Length: {len(body)}") + body)
        assert reply is not None and (reply.status, reply.code) == (413, "too_large")


LISTED = "/api/files/list"


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        # Other spellings of one address, which the address decides about ...
        ("/api/files/list", {200}),
        ("/API/Files/LIST", {200}),
        ("/api/%66iles/list", {200}),
        ("/api/./files/list", {200}),
        ("/api/x/../files/list", {200}),
        ("/api/x/%2e%2e/files/list", {200}),
        ("/../../api/files/list", {200}),
        # ... and what only looks like it.
        ("//api/files/list", {404}),
        ("/api//files/list", {404}),
        ("/api/files/list;jsessionid=1", {404}),
        ("/api/files%2flist", {404}),
        ("/api%2ffiles%2flist", {404}),
        ("/api/files\\list", {404}),
        ("/api/files%5clist", {404}),
        ("/api/files/list%00", {400, 404}),
        ("/api/files/list%20", {404}),
        ("/api/files/list.json", {404}),
        ("/api/files/%252e%252e/list", {404}),
        ("/api/files/%c0%ae%c0%ae/list", {400, 404}),
        ("/api/files/..%2f..%2fetc%2fpasswd", {404}),
        ("/api/files/list%", {200, 400, 404}),
        ("/", {404}),
        ("*", {400, 404}),
        ("/api/" + "a/" * 3000, {400, 404}),
        ("/api/files/list?" + "x" * 8000, {200, 400, 414}),
        ("/api/files/list?cursor=%00", {400}),
        ("/api/files/list?limit=1&limit=2", {400}),
        ("/api/files/list?namespace=%ff", {400}),
    ],
)
def test_addresses_in_disguise(target: Target, bearer: str, path: str, statuses: set[int]) -> None:
    with target.nothing_stored():
        assert target.status(head("GET", path, bearer)) in statuses
        if 200 in statuses:
            assert target.status(head("GET", path)) in {401, *statuses} - {200}, (
                "no spelling gets by the token"
            )


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "FOO", "GET\x00", "get"])
def test_methods(target: Target, bearer: str, method: str) -> None:
    assert target.status(head(method, LISTED, bearer)) in (400, 404, 405, 501)


@pytest.mark.parametrize(
    "line", ["X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE"]
)
def test_the_method_is_the_method(target: Target, ann: Api, bearer: str, line: str) -> None:
    file = ann.upload("/override.txt", b"stays")["file_id"]
    assert target.status(head("POST", f"/api/files/delete/{file}", bearer, line)) == 405
    assert target.status(head("GET", f"/api/files/download/{file}?_method=DELETE", bearer, line)) == 200
    assert ann.download(file) == b"stays"


@pytest.mark.parametrize(
    "line",
    [
        "X-Original-URL: /api/files/list",
        "X-Rewrite-URL: /api/files/list",
        "X-Forwarded-Host: evil.example",
        "Forwarded: host=evil.example",
        "X-Forwarded-For: 127.0.0.1",
        "X-MS-CLIENT-PRINCIPAL: eyJhIjoxfQ==",
        "X-MS-CLIENT-PRINCIPAL-ID: 0",
        "x-ms-copy-source: http://127.0.0.1/secret",
        "Cookie: access_token=x",
    ],
)
def test_headers_that_count_for_nothing(target: Target, bearer: str, line: str) -> None:
    assert target.status(head("GET", "/api/nothing", bearer, line)) == 404
    assert target.status(head("GET", LISTED, line)) == 401
    upload = head("POST", "/api/files/upload?path=/hosted.txt", bearer, line, "Content-Length: 1") + b"x"
    reply = target.exchange(upload)
    assert reply is not None and reply.status == 201
    assert b"evil.example" not in reply.body


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "a b", "é", "x" * 5000, "[::1"])
def test_the_host_header_makes_no_addresses(target: Target, bearer: str, host: str) -> None:
    raw = head("POST", "/api/files/upload?path=/hosted.txt", bearer, "Content-Length: 1")
    reply = target.exchange(raw.replace(b"Host: 127.0.0.1", f"Host: {host}".encode()) + b"x")
    assert reply is not None and reply.status in (201, 400)
    assert host.encode() not in reply.body


def test_no_host_header(target: Target, bearer: str) -> None:
    raw = head("GET", LISTED, bearer).replace(b"Host: 127.0.0.1\r\n", b"")
    assert target.status(raw) in (200, 400)


@pytest.mark.parametrize(
    "line",
    [
        "X-File-Name: a\x00b",
        "X-File-Name: a\rb",
        "X-File-Name: a\nb",
        "X-File-Name: a\r\n b",
        "X-File-Name: a%0d%0aSet-Cookie:%20x=1",
        "X-File-Name: %00",
        "Idempotency-Key: a\x00",
        "Idempotency-Key: \xff",
        "If-Match: \x01",
        "Bad Header: x",
        ": x",
        "X: " + "x" * 70_000,
    ],
    ids=lambda line: ascii(line[:30]),
)
def test_headers_with_control_characters(target: Target, bearer: str, line: str) -> None:
    with target.nothing_stored():
        reply = target.exchange(head("POST", "/api/files/upload", bearer, line, "Content-Length: 1") + b"x")
        assert reply is not None and reply.status in (400, 422, 431)
        assert "set-cookie" not in reply.headers


def test_two_tokens(target: Target, ann: Api, eve: Api, bearer: str) -> None:
    other = f"Authorization: {eve.client.headers['Authorization']}"
    for lines in ([bearer, other], [bearer, bearer], [bearer, "authorization: Basic YTpi"]):
        reply = target.exchange(head("GET", LISTED, *lines))
        assert reply is not None and reply.status == 400


def test_a_token_of_60_kilobytes(target: Target) -> None:
    assert target.status(head("GET", LISTED, "Authorization: Bearer " + "x" * 60_000)) in (400, 401, 431)


def test_thousands_of_headers(target: Target, bearer: str) -> None:
    lines = [f"X-{number}: y" for number in range(5000)]
    assert target.status(head("GET", LISTED, bearer, *lines)) in (200, 400, 431)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_http(target: Target, raw: bytes) -> None:
    reply = target.exchange(raw, hang_up=True)
    assert reply is None or reply.status in (400, 404, 414, 431, 505)
