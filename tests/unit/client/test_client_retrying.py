"""When a call is tried again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

import pytest

from client.errors import NotThere, Stopped, Unexpected, Unreachable
from client.http_answers import Answer, HttpFailure, NeverReached, Taker, TimedOut
from client.retrying import Patience, parse_retry_after
from client.transport import Call, Transport

QUICK = Patience(tries=4, first_pause=0.0)


def answer(status: int, document: object = None, **headers: str) -> Answer:
    body = b"" if document is None else json.dumps(document).encode()
    return Answer(
        status, {name.lower().replace("_", "-"): text for name, text in headers.items()}, bytearray(body)
    )


@dataclass(frozen=True)
class Asked:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    repeatable: bool


class Script:
    """A server that plays a list of answers, the last one forever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[Asked] = []

    def transport(self, patience: Patience = QUICK, stop: Event | None = None) -> Transport:
        return Transport(self, "http://api.test/", stop or Event(), patience)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        repeatable: bool = True,
        most: int = 0,
        into: Taker | None = None,
    ) -> Answer:
        self.requests.append(Asked(method, url, headers or {}, body, repeatable))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_pauses_double_up_to_a_limit_and_then_end() -> None:
    patience = Patience(tries=6, first_pause=1.0, longest_pause=5.0, jitter=lambda: 1.0)
    assert [patience.pause(n, None) for n in range(1, 7)] == [1.0, 2.0, 4.0, 5.0, 5.0, None]


def test_pauses_are_random_parts() -> None:
    assert Patience(first_pause=1.0, jitter=lambda: 0.25).pause(1, None) == 0.25


def test_what_the_server_asks_for_is_the_least() -> None:
    patience = Patience(jitter=lambda: 1.0)
    assert 7.0 <= (patience.pause(1, 7.0) or 0) < 8.0
    assert patience.pause(1, 3600.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("soon", None),
        ("-3", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_a_call_survives_a_server_that_is_away_for_a_moment() -> None:
    script = Script(NeverReached("refused"), answer(503), answer(429), answer(200))
    assert script.transport().send(Call("GET", "files/list")).status == 200
    assert len(script.requests) == 4


def test_repetitions_are_the_same_request() -> None:
    script = Script(TimedOut("slow"), answer(201))
    script.transport().send(Call("POST", "files/commit", headers={"Idempotency-Key": "k"}, body=b"{}"))
    first, second = script.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == "k"
    assert first.body == second.body


def test_tries_are_bounded() -> None:
    script = Script(answer(503, {"code": "busy", "title": "Too busy"}))
    with pytest.raises(Unreachable, match=r"Too busy.*4 tries") as caught:
        script.transport().send(Call("GET", "x"))
    assert (len(script.requests), caught.value.code, caught.value.exit_code) == (4, "busy", 7)


def test_a_server_that_asks_for_an_hour_is_away() -> None:
    script = Script(answer(503, Retry_After="3600"))
    with pytest.raises(Unreachable, match="3600 s"):
        script.transport().send(Call("GET", "x"))
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    script = Script(answer(status))
    with pytest.raises((NotThere, Unexpected, Exception)):
        script.transport().send(Call("GET", "x"))
    assert len(script.requests) == 1


def test_a_call_that_may_have_been_carried_out_is_not_repeated_unless_that_is_harmless() -> None:
    script = Script(HttpFailure("reset"), answer(201))
    with pytest.raises(Unreachable):
        script.transport().send(Call("POST", "register", repeatable=False))
    assert len(script.requests) == 1
    script = Script(NeverReached("refused"), answer(201))
    assert script.transport().send(Call("POST", "register", repeatable=False)).status == 201


def test_a_refusal_says_after_how_many_tries_it_came() -> None:
    script = Script(HttpFailure("reset"), answer(404))
    with pytest.raises(NotThere) as caught:
        script.transport().send(Call("DELETE", "files/delete/1"))
    assert caught.value.tries == 2


def test_the_end_of_the_run_ends_a_pause() -> None:
    stop = Event()
    script = Script(answer(503))
    ended: list[BaseException] = []

    def call() -> None:
        try:
            script.transport(
                Patience(first_pause=1000.0, longest_pause=1000.0, jitter=lambda: 1.0), stop
            ).send(Call("GET", "x"))
        except Stopped as error:
            ended.append(error)

    thread = Thread(target=call)
    thread.start()
    stop.set()
    thread.join(10)
    assert ended
