"""A file that begins to go to the disk."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import writeback
from client.c_library import c_library

pytestmark = pytest.mark.usefixtures("asked_anew")


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What the system has is remembered."""
    for known in (writeback._begin, c_library):
        known.cache_clear()
    yield
    for known in (writeback._begin, c_library):
        known.cache_clear()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"content" * 100_000)
        yield file.fileno()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that an fsync was called for."""
    calls: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        calls.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr("client.writeback.os.fsync", counted)
    return calls


def test_nobody_waits_where_the_system_can_begin(written: int, synced: list[int]) -> None:
    writeback.begin_writing(written)
    assert synced == ([] if sys.platform == "linux" else [written])


def test_another_system_has_it_on_the_disk_at_once(
    written: int, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.writeback.sys.platform", "darwin")
    writeback.begin_writing(written)
    assert synced == [written]


def test_so_does_a_c_library_without_the_call(
    written: int, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.writeback.c_library", object)
    writeback.begin_writing(written)
    assert synced == [written]


def test_and_a_python_that_cannot_call_it(
    written: int, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    writeback.begin_writing(written)
    assert synced == [written]


class Library:
    """Has the call, which notes what it was asked and answers as a kernel that can or can't."""

    def __init__(self, answer: int) -> None:
        self.asked: list[tuple[int, ...]] = []

        def sync_file_range(*arguments: int) -> int:
            self.asked.append(arguments)
            return answer

        self.sync_file_range = sync_file_range


@pytest.mark.parametrize("able", [True, False])
def test_the_whole_file_is_begun_with(
    written: int, synced: list[int], monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    library = Library(0 if able else -1)
    monkeypatch.setattr("client.writeback.sys.platform", "linux")
    monkeypatch.setattr("client.writeback.c_library", lambda: library)
    writeback.begin_writing(written)
    assert library.asked == [(written, 0, 0, 2)], "all of it, to be written and not waited for"
    assert synced == ([] if able else [written])


def test_what_cannot_go_to_a_disk_is_told() -> None:
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        writeback.begin_writing(writing)
    os.close(reading)
    os.close(writing)
