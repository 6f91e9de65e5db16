"""What is counted on the line, and how it is slowed down."""

import gzip
from threading import Event

import pytest

from client.errors import Stopped
from client.http import Http
from client.sync.wire_count import Bucket, Limits, WireCount, WireMeter
from tests.unit.client.fake_line import served
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


def test_everything_that_passes_is_counted() -> None:
    body = b"x" * 300_000
    with served(
        lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    ) as line:
        meter = WireMeter(Event())
        with Http(1) as http:
            meter.attach(http)
            http.request("POST", f"{line.url}/somewhere", headers={"X": "12345"}, body=body)
    assert len(line.requests) == 1
    assert meter.count == WireCount(len(line.requests[0]), line.sent, 1)


def test_the_count_is_of_what_travelled_not_of_what_it_holds() -> None:
    plain = b"all work and no play " * 1_000
    packed = gzip.compress(plain)
    part = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    meter = WireMeter(Event())
    with served(lambda request: head + part) as line, Http(1) as http:
        meter.attach(http)
        assert http.request("GET", line.url).body == plain
    assert meter.count.received == line.sent == len(head + part)


def test_each_try_counts(server: FakeServer) -> None:
    meter = WireMeter(Event())
    with Http(1) as http:
        meter.attach(http)
        http.request("GET", f"{server.url}/api/nowhere")
        before = meter.count
        http.request("GET", f"{server.url}/api/nowhere")
        http.request("GET", f"{server.url}/api/nowhere")
    assert meter.since(before).calls == 2
    assert meter.since(before).sent == 2 * before.sent


@pytest.mark.parametrize(("limits", "least"), [(Limits(up=1_000.0), 4.0), (Limits(down=1_000.0), 0.0)])
def test_limits_hold_for_each_direction(
    server: FakeServer, clock: Clock, limits: Limits, least: float
) -> None:
    meter = WireMeter(clock, limits)  # type: ignore[arg-type]
    with Http(1) as http:
        meter.attach(http)
        http.request(
            "POST", f"{server.url}/api/login", body=b'{"username":"%s","password":""}' % (b"x" * 5_000)
        )
    assert least <= clock.now - 1_000.0 <= least + 0.6
