"""What is read and what is believed: a file is hashed once, and again whenever there is a doubt."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from client.crew import Crew
from client.errors import LocalProblem
from client.reading import Identity, Reading
from client.sync.contents import Contents, Read
from client.sync.database import Database
from client.sync.ignoring import Ignoring
from client.sync.scanning import STEP_NS, asking, scan_folder
from client.sync.trees import Content, LocalEntry, Names
from shared.domain.blocks import BlockRef, hash_of, root_hash
from tests.unit.client.running import KIB, MIB, noise

LONG_AGO = 1_500_000_000_000_000_000


class Folder:
    """A folder that is looked at, with a count of what was read."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        self.contents = Contents(database, root)
        self.troubles: dict[Names, LocalProblem] = {}

    def look(self) -> tuple[dict[Names, LocalEntry], int]:
        """The entries, and how many files were read for them."""
        read: list[int] = []
        with Crew(2, room=1, stop=Event()) as crew:
            entries = self.contents.entries(
                scan_folder(self.root, asking(Ignoring())).entries,
                crew,
                on_read=read.append,
                on_trouble=lambda path, error: self.troubles.update({path: error}),
            )
        return entries, len(read)

    def is_doubtful(self) -> bool:
        self.look()
        return self.contents.doubtful


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Folder:
    (tmp_path / "root").mkdir()
    return Folder(tmp_path / "root", database)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read an hour after they were written, so that nothing is racy."""
    from time import time_ns

    monkeypatch.setattr("client.sync.contents.time_ns", lambda: time_ns() + 3_600 * 10**9)


def content_of(*blocks: bytes) -> Content:
    refs = [BlockRef(hash_of(block), len(block)) for block in blocks]
    return Content(root_hash(refs), sum(map(len, blocks)))


def test_a_file_is_read_once(folder: Folder, later: None) -> None:
    (folder.root / "a").write_bytes(b"content")
    (folder.root / "empty").touch()
    entries, read = folder.look()
    assert read == 2
    assert entries["a",].content == content_of(b"content")
    assert entries["empty",].content == content_of()
    assert folder.look() == (entries, 0)


def test_a_file_that_was_read_too_soon_after_it_was_written_is_read_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.root / "a").write_bytes(b"content")
    soon = (folder.root / "a").stat().st_mtime_ns + 1
    monkeypatch.setattr("client.sync.contents.time_ns", lambda: soon)
    assert folder.look()[1] == 1
    assert folder.look()[1] == 1


def test_what_is_racy_is_doubtful_unless_it_is_known(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(name: str, content: bytes, *, looked_at_after: int) -> None:
        (folder.root / name).write_bytes(content)
        now = (folder.root / name).stat().st_ctime_ns + looked_at_after
        monkeypatch.setattr("client.sync.scanning.time_ns", lambda: now)
        monkeypatch.setattr("client.sync.contents.time_ns", lambda: now)

    write("old", b"old", looked_at_after=STEP_NS)
    assert not folder.is_doubtful()
    write("new", b"new", looked_at_after=1)
    assert folder.is_doubtful()
    identity = Identity.of((folder.root / "new").stat())
    blocks = [BlockRef(hash_of(b"new"), 3)]
    folder.contents.remember([Read(("new",), identity, blocks, clean=True)])  # as a download does
    assert not folder.is_doubtful()
    write("new", b"own", looked_at_after=1)
    assert folder.is_doubtful()


def test_the_same_size_and_time_do_not_hide_an_edit(folder: Folder, later: None) -> None:
    file = folder.root / "a"
    file.write_bytes(b"before")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    folder.look()
    file.write_bytes(b"after!")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    entries, read = folder.look()
    assert (read, entries["a",].content) == (1, content_of(b"after!"))


def test_what_lies_in_a_folder_that_was_moved_is_not_read_again(folder: Folder, later: None) -> None:
    (folder.root / "old").mkdir()
    for number in range(5):
        (folder.root / "old" / str(number)).write_bytes(b"%d" % number)
    folder.look()
    (folder.root / "old").rename(folder.root / "new")
    entries, read = folder.look()
    assert read == 0
    assert entries["new", "3"].content == content_of(b"3")
    assert folder.look()[1] == 0


def test_a_swap_of_two_files_is_seen(folder: Folder, later: None) -> None:
    for name in ("a", "b"):
        (folder.root / name).write_bytes(name.encode())
        os.utime(folder.root / name, ns=(LONG_AGO, LONG_AGO))
    folder.look()
    (folder.root / "a").rename(folder.root / "c")
    (folder.root / "b").rename(folder.root / "a")
    (folder.root / "c").rename(folder.root / "b")
    entries, _ = folder.look()
    assert (entries["a",].content, entries["b",].content) == (content_of(b"b"), content_of(b"a"))


def test_known_cuts_are_kept_when_only_the_time_has_changed(folder: Folder, later: None) -> None:
    """Other programs may cut otherwise: the same bytes must stay the same content."""
    content = noise(3 * MIB)
    halves = content[: MIB + 1], content[MIB + 1 :]
    place = folder.root / "a"
    place.write_bytes(content)
    with Crew(1, room=1, stop=Event()) as crew:
        read = folder.contents.read(("a",), crew.stop)
    assert read is not None
    refs = [BlockRef(hash_of(half), len(half)) for half in halves]
    folder.contents.remember([type(read)(("a",), read.identity, refs, clean=False)])
    os.utime(place, ns=(LONG_AGO, LONG_AGO))
    entries, reads = folder.look()
    assert (reads, entries["a",].content) == (1, content_of(*halves))
    place.write_bytes(content[:-1] + b"!")
    assert folder.look()[0]["a",].content not in (content_of(*halves), None)


def test_a_file_that_keeps_changing_has_no_content_and_is_told_about(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.root / "busy").write_bytes(noise(400 * KIB))
    (folder.root / "calm").write_bytes(b"1")
    real = Reading.unchanged

    def unchanged(self: Reading) -> bool:
        return real(self) and self.path.name != "busy"

    monkeypatch.setattr(Reading, "unchanged", unchanged)
    entries, _ = folder.look()
    assert entries["busy",].content is None
    assert entries["calm",].content == content_of(b"1")
    assert folder.troubles["busy",].code == "changed"


def test_where_a_content_lies_is_known(folder: Folder, later: None) -> None:
    (folder.root / "a").write_bytes(b"same")
    (folder.root / "b").write_bytes(b"same")
    folder.look()
    assert sorted(folder.contents.paths_of(content_of(b"same"))) == [("a",), ("b",)]
    assert folder.contents.last_seen(("a",)) == content_of(b"same")
    assert folder.contents.last_seen(("c",)) is None


def test_names_that_are_no_text_can_be_remembered(folder: Folder, later: None) -> None:
    (folder.root / "a").touch()
    read = folder.contents.read(("a",), Event())
    assert read is not None
    path = (os.fsdecode(b"\xff"), "a")
    folder.contents.remember([type(read)(path, read.identity, read.blocks, clean=True)])
    assert folder.contents.paths_of(content_of()) == [path]
