"""A file that many threads fill at once."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from client.part_file import PartFile


def opened(path: Path) -> PartFile:
    return PartFile(os.open(path, os.O_RDWR | os.O_CREAT))


@pytest.mark.parametrize("placed", [True, False])
def test_many_threads_write_each_at_its_own_places(
    tmp_path: Path, placed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.part_file._CAN_PLACE", placed)
    content = random.Random(7).randbytes(1_000_000)
    part = opened(tmp_path / "part")
    starts = list(range(0, len(content), 10_000))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda at: part.write(memoryview(content)[at : at + 10_000], [at]), starts[::-1]))
    assert part.read(5, 100_000) == content[5:100_005]
    part.close()
    assert (tmp_path / "part").read_bytes() == content


def test_a_write_that_the_system_cuts_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr("client.part_file.os.pwrite", lambda file, view, at: pwrite(file, view[:7], at))
    part = opened(tmp_path / "part")
    part.write(b"0123456789" * 10, [3, 200])
    part.close()
    assert (tmp_path / "part").read_bytes()[3:103] == b"0123456789" * 10
    assert (tmp_path / "part").read_bytes()[200:] == b"0123456789" * 10


def test_closing_waits_for_whoever_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the bytes would go to whatever file gets the number next."""
    pwrite, under_way, go_on = os.pwrite, Event(), Event()

    def slow(file: int, view: memoryview, at: int) -> int:
        under_way.set()
        assert go_on.wait(10)
        return pwrite(file, view, at)

    monkeypatch.setattr("client.part_file.os.pwrite", slow)
    part = opened(tmp_path / "part")
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(part.write, b"content", [0])
        assert under_way.wait(10)
        part.close()
        other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
        go_on.set()
        assert writing.result(10)
    assert (tmp_path / "part").read_bytes() == b"content"
    assert os.fstat(other).st_size == 0
    os.close(other)


def test_nothing_is_done_once_it_is_closed(tmp_path: Path) -> None:
    part = opened(tmp_path / "part")
    part.close()
    part.close()
    assert not part.write(b"late", [0])
    assert part.read(0, 4) == b""
    assert not part.settle(tmp_path / "part", 1)
    assert (tmp_path / "part").read_bytes() == b""


def test_it_has_its_time(tmp_path: Path) -> None:
    part = opened(tmp_path / "part")
    assert part.settle(tmp_path / "part", 1_714_979_289_123_456_000)
    part.close()
    assert (tmp_path / "part").stat().st_mtime_ns == 1_714_979_289_123_456_000


def test_much_is_on_its_way_to_the_disk_while_more_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.part_file._ON_ITS_WAY", 100)
    begun: list[int] = []
    monkeypatch.setattr("client.part_file.begin_writing", lambda file: begun.append(os.fstat(file).st_size))
    part = opened(tmp_path / "part")
    for at in range(0, 350, 50):
        part.write(b"x" * 50, [at])
    assert begun == [100, 200, 300]
    part.close()
