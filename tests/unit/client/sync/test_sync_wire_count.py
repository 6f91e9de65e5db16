"""What is counted on the line, and how it is slowed down."""

from threading import Event

import httpx
import pytest

from client.errors import Stopped
from client.sync.wire_count import Bucket, Limits, WireCount, WireMeter
from client.transport import open_http
from tests.unit.client.fake_server import FakeServer


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.stopped = False
        monkeypatch.setattr("client.sync.wire_count.monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.stopped


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_second_is_free_and_then_the_rate_holds(clock: Clock) -> None:
    bucket = Bucket(100.0, clock)  # type: ignore[arg-type]
    bucket.take(100)
    assert clock.now == 1_000.0
    for _ in range(10):
        bucket.take(50)
    assert clock.now == pytest.approx(1_005.0)


def test_what_was_not_used_is_saved_for_a_second_only(clock: Clock) -> None:
    bucket = Bucket(100.0, clock)  # type: ignore[arg-type]
    clock.now += 3_600
    bucket.take(100)
    bucket.take(100)
    assert clock.now == pytest.approx(4_601.0)


def test_the_end_of_a_run_ends_the_pause(clock: Clock) -> None:
    bucket = Bucket(100.0, clock)  # type: ignore[arg-type]
    clock.stopped = True
    with pytest.raises(Stopped):
        bucket.take(1_000)


def test_requests_and_answers_are_counted_as_they_are_written(server: FakeServer) -> None:
    raw = {"Host": "h", "User-Agent": "u", "Accept": "*/*", "X": "12345"}
    with open_http(1) as http:
        meter = WireMeter(Event())
        meter.attach(http)
        http.headers.clear()
        answer = http.post(f"{server.url}/api/login", headers=raw, content=b'{"username":"","password":""}')
        assert answer.status_code == 401
    request = "POST /api/login HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in raw.items())
    sent = len(request) + len("Content-Length: 29\r\n\r\n") + 29
    got = len("HTTP/1.1 401 \r\n") + len(answer.reason_phrase) + len(answer.content) + 2
    got += sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    assert meter.count == WireCount(sent, got, 1)


def test_the_count_is_of_what_travelled_not_of_what_it_holds() -> None:
    import gzip

    plain = b"all work and no play " * 1_000
    packed = gzip.compress(plain)
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(packed))
    )
    meter = WireMeter(Event())
    with httpx.Client(transport=transport) as http:
        meter.attach(http)
        assert http.get("http://h/").content == plain
    assert len(packed) < meter.count.received < len(packed) + 200


def test_each_try_counts(server: FakeServer) -> None:
    meter = WireMeter(Event())
    with open_http(1) as http:
        meter.attach(http)
        http.get(f"{server.url}/api/nowhere")
        before = meter.count
        http.get(f"{server.url}/api/nowhere")
        http.get(f"{server.url}/api/nowhere")
    assert meter.since(before).calls == 2
    assert meter.since(before).sent == 2 * before.sent


@pytest.mark.parametrize(("limits", "least"), [(Limits(up=1_000.0), 4.0), (Limits(down=1_000.0), 0.0)])
def test_limits_hold_for_each_direction(
    server: FakeServer, clock: Clock, limits: Limits, least: float
) -> None:
    meter = WireMeter(clock, limits)  # type: ignore[arg-type]
    with open_http(1) as http:
        meter.attach(http)
        http.post(f"{server.url}/api/login", content=b'{"username":"%s","password":""}' % (b"x" * 5_000))
    assert least <= clock.now - 1_000.0 <= least + 0.6
