"""When a watched folder is looked at again."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import cast

import pytest

from client.api import Api
from client.errors import NotThere, Unreachable
from client.retrying import chance
from client.sync.database import Database
from client.sync.waking import Listening, Polling, Waker
from client.wire import Changes, Told


class Messenger:
    """Hears of remote changes when the test says so."""

    def __init__(self) -> None:
        self.news: Queue[bool] = Queue()

    def wait(self, stop: Event) -> bool:
        return self.news.get()


@pytest.fixture
def remote() -> Messenger:
    return Messenger()


@pytest.fixture
def woken(tmp_path: Path, remote: Messenger) -> Iterator[Callable[[], bool]]:
    """Waits for a wake, for at most ten seconds; whether it came."""
    blind: list[str] = []
    (tmp_path / "folder").mkdir()
    with Waker(tmp_path / "folder", remote, on_blind=blind.append) as waker:

        def woke() -> bool:
            done = Event()

            def wait() -> None:
                waker.wait()
                done.set()

            Thread(target=wait, daemon=True).start()
            return done.wait(10)

        yield woke
        remote.news.put(False)
    assert blind == []


def test_a_change_on_the_server_wakes(woken: Callable[[], bool], remote: Messenger) -> None:
    remote.news.put(True)
    assert woken()


def test_a_saved_file_wakes(woken: Callable[[], bool], tmp_path: Path) -> None:
    def save() -> None:  # more than once, since the watcher takes a moment to begin
        for number in range(5):
            (tmp_path / "folder" / str(number)).write_text("x")
            Event().wait(0.4)

    saving = Thread(target=save)
    saving.start()
    try:
        assert woken()
    finally:
        saving.join()


class _Api:
    def __init__(self, answer: Changes | Exception) -> None:
        self.answer = answer

    def changes(self, cursor: str | None, *, limit: int) -> Changes:
        assert (cursor, limit) == ("here", 1)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        (Changes(changes=[], cursor="here", has_more=False), False),
        (Unreachable("away"), True),
    ],
)
def test_polling_asks_the_journal(tmp_path: Path, answer: Changes | Exception, changed: bool) -> None:
    with Database(tmp_path / "state.db") as database:
        database.put(cursor="here")
        polling = Polling(lambda _: cast(Api, _Api(answer)), database, 0.001)
        assert polling.wait(Event()) is changed
        stopped = Event()
        stopped.set()
        assert polling.wait(stopped) is False


class _Telling:
    """Answers waits in turn: with a word of the server, or with an error."""

    def __init__(self, *answers: Told | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def wait_for_changes(self, cursor: str) -> Told:
        self.asked.append(cursor)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changes(self, cursor: str | None, *, limit: int) -> Changes:
        self.asked.append("polled")
        return Changes(changes=[], cursor=str(cursor), has_more=False)


def listening(database: Database, *answers: Told | Exception) -> tuple[Listening, _Telling]:
    server = _Telling(*answers)
    return Listening(lambda _: cast(Api, server), database, 0.001), server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as opened:
        yield opened


def test_nothing_is_asked_before_the_first_run(database: Database) -> None:
    remote, server = listening(database)
    assert remote.wait(Event()) is False
    assert server.asked == []


def test_news_are_told_once_until_the_journal_was_followed(database: Database) -> None:
    database.put(cursor="one")
    remote, server = listening(database, Told(changed=False), Told(changed=True), Told(changed=True))
    remote._interval = 60
    assert [remote.wait(Event()) for _ in range(4)] == [False, True, False, False]
    assert server.asked == ["one", "one"]
    database.put(cursor="two")
    assert remote.wait(Event()) is True
    assert server.asked[-1] == "two"


def test_a_run_that_never_follows_is_woken_again(database: Database) -> None:
    database.put(cursor="one")
    remote, _ = listening(database, Told(changed=True), Told(changed=True))
    assert remote.wait(Event()) is True
    Event().wait(0.01)
    assert remote.wait(Event()) is True


def test_a_server_that_is_away_wakes_after_a_pause(database: Database) -> None:
    database.put(cursor="one")
    remote, _ = listening(database, Unreachable("away"), Unreachable("away"))
    assert remote.wait(Event()) is True
    stopped = Event()
    stopped.set()
    assert remote.wait(stopped) is False


class _Unhurried(Event):
    """Notes how long somebody waits for it, and doesn't take that long."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


def test_devices_that_lost_their_server_come_back_one_after_the_other(database: Database) -> None:
    database.put(cursor="one")
    stop = _Unhurried()
    for jitter in (0.0, 0.25, 1.0):
        answers = (Unreachable("away"), Told(changed=False, superseded=True), Told(changed=True))
        remote, server = listening(database, *answers)
        remote._interval, remote._jitter = 30, partial(float, jitter)
        assert remote.wait(stop) is True, "a run looks, and says what is wrong"
        assert remote.wait(stop) is True
        assert remote.wait(stop) is True, "and then it listens again"
        assert server.asked == ["one", "one", "one"]
    assert stop.waits == [15, 15, 18.75, 18.75, 30, 30]
    assert all(0 <= chance() <= 1 for _ in range(100))
    assert len({chance() for _ in range(10)}) == 10


def test_a_wait_that_another_one_has_ended_pauses(database: Database) -> None:
    database.put(cursor="one")
    remote, _ = listening(database, Told(changed=False, superseded=True))
    assert remote.wait(Event()) is True, "and looks, since nobody told it anything"


def test_a_server_that_can_not_tell_is_asked(database: Database) -> None:
    database.put(cursor="one")
    remote, server = listening(database, NotThere("no such route"))
    assert [remote.wait(Event()) for _ in range(3)] == [False, False, False]
    assert server.asked == ["one", "polled", "polled"]
