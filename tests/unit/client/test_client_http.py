"""HTTP as the command speaks it, against servers that say what a test wants them to."""

import contextlib
import gzip
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client import http_connection
from client.errors import LocalProblem
from client.http import Http
from client.http_addresses import Unsendable, Url, way_to
from client.http_answers import PIECE, HttpFailure, NeverReached, TimedOut, TooLong
from tests.support.tls import make_certificate
from tests.unit.client.fake_line import Line, served
from tests.unit.client.fake_server import wait_for

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(4) as http:
        yield http


def answering(*answers: bytes | None) -> Callable[[bytes], bytes | None]:
    """One after the other, the last one forever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_request_is_written_as_http_has_it(http: Http) -> None:
    with served(answering(OK)) as line:
        http.request(
            "POST", f"{line.url}/a b?x=1", params={"y": "ä &"}, headers={"X-Given": "v"}, body=b"body"
        )
    head, _, body = line.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(each.split(": ", 1) for each in lines)
    assert first == "POST /a%20b?x=1&y=%C3%A4+%26 HTTP/1.1"
    assert headers["Host"] == f"127.0.0.1:{line.port}"
    assert (headers["X-Given"], headers["Content-Length"], body) == ("v", "4", b"body")
    assert headers["User-Agent"].startswith("strata (Python ")


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 404 \r\ncontent-LENGTH: 0\r\n\r\n", 404, b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: r\r\n\r\n",
            200,
            b"abc0123456789",
        ),
    ],
)
def test_answers_keep_their_connection(http: Http, raw: bytes, status: int, body: bytes) -> None:
    with served(answering(raw)) as line:
        for _ in range(3):
            answer = http.request("GET", line.url)
            assert (answer.status, answer.body) == (status, body)
    assert (line.connections, len(line.requests)) == (1, 3)


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.0 200 OK\r\n\r\nok"],
)
def test_an_answer_may_end_its_connection(http: Http, raw: bytes) -> None:
    with served(answering(raw)) as line:
        line.hang_up_after = True
        assert [http.request("GET", line.url).body for _ in range(2)] == [b"ok", b"ok"]
    assert line.connections == 2


@pytest.mark.parametrize("seed", range(8))
def test_bodies_of_any_size_come_in_any_pieces(http: Http, seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(chance.choice([1, 1_000, 16_384, 70_000, 3_000_000]))
    raw = b"HTTP/1.1 206 Partial\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            at = 0
            while at < len(raw):
                size = chance.choice([1, 7, 500, 100_000, 1_000_000])
                connection.sendall(raw[at : at + size])
                at += size

    with listener, ThreadPoolExecutor(1) as threads:
        done = threads.submit(serve)
        assert http.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/").body == content
        done.result(10)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
    ],
)
def test_what_is_no_answer_is_a_failure_and_keeps_nothing(http: Http, raw: bytes | None) -> None:
    with served(answering(raw, OK)) as line:
        line.hang_up_after = True
        with pytest.raises(HttpFailure):
            http.request("GET", line.url)
        assert http.request("GET", line.url).body == b"ok"
    assert line.connections == 2


def gzipped(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (
        len(packed),
        packed,
    )


def test_half_of_a_packed_body_is_not_taken_for_all_of_it(http: Http) -> None:
    packed = gzip.compress(random.Random(1).randbytes(9000))
    halves = (packed[:5000], packed[:-9], packed[:-1])
    for half in halves:
        with served(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + half)) as line:
            line.hang_up_after = True
            with pytest.raises(HttpFailure, match="damaged"):
                http.request("GET", line.url)


def test_a_packed_body_may_be_as_long_as_another(http: Http) -> None:
    with served(answering(gzipped(bytes(2000)))) as line:
        assert http.request("GET", line.url, most=2000).body == bytes(2000)
        with pytest.raises(TooLong):
            http.request("GET", line.url, most=1999)


def test_a_body_may_be_too_long(http: Http) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nmor"
    until_the_end = b"HTTP/1.1 200 OK\r\n\r\nokmore"
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"
    for raw, most in ((OK, 1), (chunked, 3), (until_the_end, 3), (huge, 2**28)):
        with served(answering(raw)) as line, pytest.raises(TooLong):
            http.request("GET", line.url, most=most)


def test_a_refusal_may_be_longer_than_what_was_asked_for(http: Http) -> None:
    with served(answering(b"HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\n" + b"x" * 50)) as line:
        assert http.request("GET", line.url, most=10).status == 403


RANGE = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000000\r\n\r\n" + bytes(range(250)) * 4_000


@pytest.mark.parametrize("limit", [None, 7_000])
def test_a_range_is_handed_on_as_it_comes(http: Http, limit: int | None) -> None:
    pieces: list[bytes] = []
    http.meter = _Counting(limit)
    with served(answering(RANGE)) as line:
        answer = http.request("GET", line.url, most=1_000_000, into=lambda piece: pieces.append(bytes(piece)))
        assert (answer.status, answer.body, answer.stays) == (206, b"", True)
    assert b"".join(pieces) == bytes(range(250)) * 4_000
    assert max(map(len, pieces)) <= PIECE
    assert http.meter.down == len(RANGE)


class _Counting:
    def __init__(self, piece: int | None) -> None:
        self.piece = piece
        self.down = 0

    def calling(self) -> None: ...

    def went_up(self, size: int) -> None: ...

    def came_down(self, size: int) -> None:
        self.down += size


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_plain_range_stands_in_the_answer(http: Http, raw: bytes) -> None:
    with served(answering(raw)) as line:
        answer = http.request("GET", line.url, into=lambda piece: pytest.fail("handed on"))
    assert answer.body == b"body"


def test_a_range_that_is_too_long_is_not_handed_on(http: Http) -> None:
    with served(answering(RANGE)) as line, pytest.raises(TooLong):
        http.request("GET", line.url, most=999_999, into=lambda piece: pytest.fail("handed on"))


def test_a_range_that_breaks_off_was_handed_on_that_far(http: Http) -> None:
    pieces: list[bytes] = []
    with served(answering(RANGE[:-100])) as line, pytest.raises(HttpFailure):
        line.hang_up_after = True
        http.request("GET", line.url, into=lambda piece: pieces.append(bytes(piece)))
    assert RANGE.partition(b"\r\n\r\n")[2].startswith(b"".join(pieces))
    assert len(b"".join(pieces)) >= 999_900 - PIECE


def test_who_takes_a_range_may_refuse_it(http: Http) -> None:
    def full(piece: memoryview) -> None:
        raise LocalProblem("the disk is full")

    with served(answering(RANGE, RANGE)) as line:
        with pytest.raises(LocalProblem):
            http.request("GET", line.url, into=full)
        assert http.request("GET", line.url).status == 206, "nothing of the first is taken for it"


def test_a_connection_that_ended_meanwhile_is_replaced_unseen(http: Http) -> None:
    with served(answering(OK)) as line:
        for _ in range(3):
            assert http.request("POST", line.url, body=b"x" * 100_000).body == b"ok"
            line.end_connections()
    assert len(line.requests) == 3


def test_an_answer_that_nobody_asked_for_is_nobodys(http: Http) -> None:
    """Some servers say why they end a connection that has waited for long."""
    with served(answering(OK)) as line:
        http.request("GET", line.url)
        line.say_unasked(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert http.request("GET", line.url).status == 200
    assert line.connections == 2


def test_what_may_be_sent_once_only_gets_a_connection_of_its_own(http: Http) -> None:
    with served(answering(OK, None)) as line:
        http.request("GET", line.url)
        with pytest.raises(HttpFailure) as caught:
            http.request("POST", line.url, repeatable=False)
    assert not isinstance(caught.value, NeverReached)
    assert (len(line.requests), line.connections) == (2, 2)


def test_connections_are_shared_and_bounded() -> None:
    with served(answering(OK)) as line, Http(3) as http, ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: http.request("GET", line.url).status, range(60)))
    assert answers == [200] * 60
    assert line.connections <= 3


def test_a_server_that_keeps_silent_has_its_time(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "SILENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimedOut, match="in time"):
        http.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")


def test_a_body_may_take_longer_than_a_silence(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "SILENCE", 1.5)
    size = 32 * 1024 * 1024  # of which the kernel holds four at the end
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve_slowly() -> None:
        connection, _ = listener.accept()
        with connection:
            left = size
            while left > 0 and (part := connection.recv(32 * 1024)):
                time.sleep(0.003)
                left -= len(part)
            connection.sendall(OK)

    with listener, ThreadPoolExecutor(1) as threads:
        done = threads.submit(serve_slowly)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert http.request("PUT", url, body=bytes(size)).body == b"ok"
        done.result(10)


def test_nobody_there(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NeverReached):
        http.request("GET", f"http://127.0.0.1:{port}/")


def test_a_refusal_before_the_body_was_read_is_an_answer(http: Http) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        connection.close()

    with listener, ThreadPoolExecutor(1) as threads:
        done = threads.submit(serve)
        answer = http.request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/", body=bytes(9_000_000))
        assert (answer.status, answer.body) == (413, b"no")
        http.__exit__(None, None, None)
        done.result(10)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0b", "☃"])
def test_nothing_is_smuggled_in_by_a_header(http: Http, value: str) -> None:
    with served(answering(OK)) as line, pytest.raises(Unsendable):
        http.request("GET", line.url, headers={"X": value})
    assert line.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "ftp://h/",
        "http://",
        "http:///x",
        "http://u:p@h/",
        "http://h:x/",
        "http://h:99999/",
        "http://[::1/",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Unsendable):
        Url.of(url)


def test_urls_in_parts() -> None:
    url = Url.of("HTTP://Files.Example.org:80/a/b?sig=a%2Bb&x=c/d")
    assert (str(url.server), url.target) == ("http://files.example.org", "/a/b?sig=a%2Bb&x=c/d")
    assert str(Url.of("https://[::1]:7071").server) == "https://[::1]:7071"
    assert Url.of("https://bücher.example/ö\x00").server.host == "xn--bcher-kva.example"
    assert Url.of("https://h/ö\x00 \x7f").target == "/%C3%B6%00%20%7F"


# -- proxies ------------------------------------------------------------------------------------------------------


def test_a_proxy_gets_whole_urls_and_its_login(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(answering(OK)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "direct.test")
        assert http.request("GET", "http://far.test:81/x").status == 200
    head = proxy.requests[0].decode()
    assert head.startswith("GET http://far.test:81/x HTTP/1.1\r\nHost: far.test:81\r\n")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in head
    assert way_to(Url.of("http://sub.direct.test/").server).proxy is False


def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(Unsendable, match="proxy"):
        way_to(Url.of("http://far.test/").server)


def test_a_tunnel_through_a_proxy_is_made_first(
    http: Http, monkeypatch: pytest.MonkeyPatch, certified: ssl.SSLContext
) -> None:
    with served(answering(OK), tls=certified) as line, _Tunnel(line) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{tunnel.port}")
        assert http.request("GET", line.url).body == b"ok"
        assert http.request("GET", line.url).body == b"ok"
    assert tunnel.asked == [f"CONNECT 127.0.0.1:{line.port} HTTP/1.1"]


def test_a_tunnel_may_be_refused(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(NeverReached, match="407"):
            http.request("GET", "https://far.test/")


def test_a_tunnel_to_a_number_has_it_in_brackets(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(NeverReached):
            http.request("GET", "https://[2001:db8::7]/")
    assert proxy.requests[0].startswith(b"CONNECT [2001:db8::7]:443 HTTP/1.1\r\nHost: [2001:db8::7]:443\r\n")


class _Tunnel:
    """A proxy that connects whoever asks with one server."""

    def __init__(self, line: Line) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = ThreadPoolExecutor(3)
        self._line = line
        self.port = self._listener.getsockname()[1]
        self.asked: list[str] = []

    def __enter__(self) -> "_Tunnel":
        self._threads.submit(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._line.end_connections()
        self._listener.close()
        self._threads.shutdown()

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        self.asked.append(near.recv(65536).decode().split("\r\n")[0])
        far = socket.create_connection(("127.0.0.1", self._line.port))
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with near, far:
            list(self._threads.map(_pour, (near, far), (far, near)))


def _pour(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := one.recv(65536):
            other.sendall(part)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's context with a certificate for 127.0.0.1 that the environment trusts."""
    context, file = _certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    http_connection.tls.cache_clear()
    yield context
    http_connection.tls.cache_clear()


def _certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    certificate, key = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_https_with_a_certificate_that_is_trusted(http: Http, certified: ssl.SSLContext) -> None:
    content = random.Random(1).randbytes(2_000_000)
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    with served(answering(raw), tls=certified) as line:
        assert http.request("POST", line.url, body=bytes(1_000_000)).body == content
        line.end_connections()
        assert http.request("POST", line.url, body=bytes(1_000_000)).body == content
    assert line.connections == 2


def test_https_with_any_other_certificate_or_name_is_refused(
    http: Http, certified: ssl.SSLContext, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    stranger, _ = _certified(folder)
    with served(answering(OK), tls=stranger) as line, pytest.raises(NeverReached, match="certificate verify"):
        http.request("GET", line.url)
    with (
        served(answering(OK), tls=certified) as line,
        pytest.raises(NeverReached, match="certificate verify"),
    ):
        http.request("GET", f"https://localhost:{line.port}/")
    assert line.requests == []


def test_nothing_secure_is_loaded_for_what_is_in_the_clear() -> None:
    """What a start loads decides what a short command costs."""
    heavy = ("ssl", "email", "http.client", "urllib.request", "httpx", "asyncio")
    code = f"import sys, client.connection, client.block_fetching; print({set(heavy)!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lines_end_with_their_test(http: Http) -> None:
    with served(answering(OK)) as line:
        http.request("GET", line.url)
    wait_for(lambda: _refused(line.port))


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
