"""When a watched folder is looked at again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import cast

import pytest

from client.api import Api
from client.errors import Unreachable
from client.sync.database import Database
from client.sync.waking import Polling, Waker
from client.wire import Changes


class Told:
    """Hears of remote changes when the test says so."""

    def __init__(self) -> None:
        self.news: Queue[bool] = Queue()

    def wait(self, stop: Event) -> bool:
        return self.news.get()


@pytest.fixture
def remote() -> Told:
    return Told()


@pytest.fixture
def woken(tmp_path: Path, remote: Told) -> Iterator[Callable[[], bool]]:
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


def test_a_change_on_the_server_wakes(woken: Callable[[], bool], remote: Told) -> None:
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
