"""Changes in the local folder: nothing is replaced, moved or removed that isn't what was planned about."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.errors import LocalProblem
from client.sync import aside, renames
from client.sync.landing import Landing, part_of
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.rounds import OLD_PART, remove_parts
from client.sync.scanning import fingerprint_at
from client.sync.trees import Fingerprint, Kind
from client.targets import nanoseconds
from shared.domain.blocks import hash_of
from shared.domain.ids import VersionId

VERSION = VersionId("0123456789abcdef" * 2)
WHEN = "2024-05-06T07:08:09.123456+00:00"


@pytest.fixture(params=["with the system's own renames", "without"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LocalFolder:
    """Its system may have no renames but those that replace."""
    if request.param == "without":
        monkeypatch.setattr(renames, "_rename", lambda: None)
    return LocalFolder(tmp_path.resolve())


def marks(path: Path) -> Fingerprint:
    found = fingerprint_at(path)
    assert found is not None
    return found


def land(folder: LocalFolder, name: str, content: bytes, replaces: Fingerprint | None) -> None:
    landing = Landing(folder, folder.at((name,)), VERSION, len(content))
    landing.write(content, [0])
    landing.keep(WHEN, replaces)


def test_a_file_appears_whole_with_its_time(folder: LocalFolder) -> None:
    land(folder, "a", b"content", None)
    assert (folder.root / "a").read_bytes() == b"content"
    assert (folder.root / "a").stat().st_mtime_ns == nanoseconds(WHEN) == 1_714_979_289_123_456_000
    assert os.listdir(folder.root) == ["a"]


def test_a_file_is_replaced_only_as_it_was_known(folder: LocalFolder) -> None:
    place = folder.root / "a"
    place.write_bytes(b"old")
    place.chmod(0o750)
    known = marks(place)
    land(folder, "a", b"new", known)
    assert place.read_bytes() == b"new"
    assert place.stat().st_mode & 0o777 == 0o750
    place.write_bytes(b"edited meanwhile")
    with pytest.raises(Outdated):
        land(folder, "a", b"newer", known)
    assert place.read_bytes() == b"edited meanwhile"


def test_a_file_never_lands_on_something_new(folder: LocalFolder) -> None:
    (folder.root / "a").write_bytes(b"somebody's")
    with pytest.raises(Outdated):
        land(folder, "a", b"ours", None)
    (folder.root / "b").symlink_to("a")
    with pytest.raises(Outdated):
        land(folder, "b", b"ours", None)
    assert (folder.root / "a").read_bytes() == b"somebody's"


def test_a_part_that_was_left_is_gone_on_with(folder: LocalFolder) -> None:
    place = folder.root / "a"
    first = Landing(folder, place, VERSION, 8)
    first.write(b"1234", [4])
    first.leave()
    assert part_of(place, VERSION).exists()
    second = Landing(folder, place, VERSION, 8)
    assert second.resumes
    assert second.holds(4, 4, hash_of(b"1234"))
    assert not second.holds(0, 4, hash_of(b"1234"))
    second.write(b"1234", [0])
    second.keep(WHEN, None)
    assert place.read_bytes() == b"12341234"


def test_a_full_disk_leaves_what_was_there(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder.root / "a"
    place.write_bytes(b"old")
    known = marks(place)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("client.part_file.os.fsync", full)
    with pytest.raises(LocalProblem) as raised:
        land(folder, "a", b"new", known)
    assert raised.value.code == "disk_full"
    assert place.read_bytes() == b"old"


@pytest.mark.parametrize("when", ["begin_writing", "os.fsync"])
def test_what_the_disk_has_refused_is_not_gone_on_with(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It can still be read, and the next fsync would say that it is there."""

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("client.part_file._ON_ITS_WAY", 4)
    monkeypatch.setattr(f"client.part_file.{when}", broken)
    with pytest.raises(LocalProblem, match="Input/output error"):
        land(folder, "a", b"content", None)
    assert os.listdir(folder.root) == []


def test_what_was_written_before_the_disk_was_full_is_gone_on_with(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Landing(folder, folder.root / "a", VERSION, 8)
    landing.write(b"half", [0])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(LocalProblem):
        patch.setattr("client.part_file.os.pwrite", full)
        landing.write(b"rest", [4])
    landing.leave()
    assert Landing(folder, folder.root / "a", VERSION, 8).holds(0, 4, hash_of(b"half"))


def test_a_link_that_took_a_folders_place_is_not_followed(folder: LocalFolder, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"1")
    (folder.root / "folder").symlink_to(outside)
    with pytest.raises(Outdated):
        land(folder, "folder/new", b"x", None)
    for attempt in (
        lambda: folder.at(("folder", "new")),
        lambda: folder.make_folder(("folder", "new")),
        lambda: folder.delete(("folder", "victim"), Kind.FILE, marks(outside / "victim")),
        lambda: folder.move(("folder", "victim"), ("here",), Kind.FILE, marks(outside / "victim")),
    ):
        with pytest.raises(Outdated):
            attempt()
    assert os.listdir(outside) == ["victim"]


def test_a_file_is_deleted_only_as_it_was_known(folder: LocalFolder) -> None:
    place = folder.root / "a"
    place.write_bytes(b"1")
    known = marks(place)
    place.write_bytes(b"22")
    with pytest.raises(Outdated):
        folder.delete(("a",), Kind.FILE, known)
    assert place.exists()
    folder.delete(("a",), Kind.FILE, marks(place))
    folder.delete(("a",), Kind.FILE, known)  # once more is the same as once
    assert not place.exists()


def test_a_folder_is_deleted_only_when_it_is_empty(folder: LocalFolder) -> None:
    place = folder.root / "f"
    place.mkdir()
    (place / "unknown").touch()
    with pytest.raises(Outdated):
        folder.delete(("f",), Kind.FOLDER, marks(place))
    assert (place / "unknown").exists()
    (place / "unknown").unlink()
    folder.delete(("f",), Kind.FOLDER, marks(place))
    assert not place.exists()


def test_a_folder_that_is_another_one_by_now_stays(folder: LocalFolder) -> None:
    place = folder.root / "f"
    place.mkdir()
    known = marks(place)
    place.rename(folder.root / "g")
    place.mkdir()
    with pytest.raises(Outdated):
        folder.delete(("f",), Kind.FOLDER, known)
    with pytest.raises(Outdated):
        folder.move(("f",), ("h",), Kind.FOLDER, known)


def test_a_move_takes_nobodys_place(folder: LocalFolder) -> None:
    for name in ("a", "b"):
        (folder.root / name).write_text(name)
    (folder.root / "empty").mkdir()
    (folder.root / "full").mkdir()
    for source, target in ((("a",), ("b",)), (("full",), ("empty",)), (("a",), ("gone", "a"))):
        kind = Kind.FOLDER if (folder.root / source[0]).is_dir() else Kind.FILE
        with pytest.raises(Outdated):
            folder.move(source, target, kind, marks(folder.root.joinpath(*source)))
    folder.move(("a",), ("full", "c"), Kind.FILE, marks(folder.root / "a"))
    assert (folder.root / "full" / "c").read_text() == "a"
    folder.make_durable()


def test_a_move_of_one_name_for_a_file_is_not_taken_for_a_respelling(folder: LocalFolder) -> None:
    """Two names of one file (hard links): renaming one onto the other would do nothing, and look done."""
    (folder.root / "a").touch()
    os.link(folder.root / "a", folder.root / "b")
    with pytest.raises(Outdated):
        folder.move(("a",), ("b",), Kind.FILE, marks(folder.root / "a"))


def test_a_folder_is_made_only_where_nothing_is(folder: LocalFolder) -> None:
    assert folder.make_folder(("f",)) == marks(folder.root / "f")
    for path in (("f",), ("gone", "f")):
        with pytest.raises(Outdated):
            folder.make_folder(path)


def test_a_part_that_is_the_file_in_its_place_by_another_name_is_not_written_to(folder: LocalFolder) -> None:
    """A run was killed between its link and the end of the part; then somebody saved into the file."""
    place = folder.root / "a"
    place.write_bytes(b"the edit")
    os.link(place, part_of(place, VERSION))
    landing = Landing(folder, place, VERSION, 8)
    assert not landing.resumes
    landing.write(b"theirs..", [0])
    landing.leave()
    assert place.read_bytes() == b"the edit"
    assert part_of(place, VERSION).read_bytes() == b"theirs.."


def _save(place: Path, content: bytes) -> None:
    """As editors do: another file takes the place of the old one."""
    new = place.with_name("new")
    new.write_bytes(content)
    new.replace(place)


def _after_the_look(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Have something done between the look at what is there and what is done to it."""
    look, deeds = LocalFolder.check, iter([deed])

    def check(folder: LocalFolder, *about: Any) -> None:
        look(folder, *about)
        for once in deeds:
            once()

    monkeypatch.setattr(LocalFolder, "check", check)


@pytest.mark.parametrize("name", ["a", "ä"])
def test_what_is_saved_in_the_last_moment_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = LocalFolder(tmp_path)
    place = tmp_path / name
    place.write_bytes(b"old")
    known = marks(place)
    _after_the_look(monkeypatch, lambda: _save(place, b"saved"))
    with pytest.raises(Outdated):
        land(folder, name, b"theirs", known)
    assert place.read_bytes() == b"saved"
    assert part_of(place, VERSION).read_bytes() == b"theirs", "what has come is gone on with"


def test_what_is_saved_in_the_last_moment_is_not_deleted(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder.root / "a"
    place.write_bytes(b"old")
    known = marks(place)
    _after_the_look(monkeypatch, lambda: _save(place, b"saved"))
    with pytest.raises(Outdated):
        folder.delete(("a",), Kind.FILE, known)
    assert place.read_bytes() == b"saved"
    assert os.listdir(folder.root) == ["a"]


def _meanwhile(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Have something done between putting a file aside and looking at it there."""
    deeds = iter([deed])

    def look(path: Path) -> Fingerprint | None:
        if len(path.name) == len(".strata-0123456789abcdef.part"):
            for once in deeds:
                once()
        return fingerprint_at(path)

    monkeypatch.setattr(aside, "fingerprint_at", look)


def _delete(folder: LocalFolder, known: Fingerprint) -> None:
    folder.delete(("a",), Kind.FILE, known)


def _replace(folder: LocalFolder, known: Fingerprint) -> None:
    land(folder, "a", b"theirs", known)


def _save_again(place: Path) -> None:
    _save(place, b"again")


def _make_folder(place: Path) -> None:
    place.unlink(missing_ok=True)
    place.mkdir()


def _move_away(place: Path) -> None:
    place.rename(place.with_name("b"))


@pytest.mark.parametrize(
    ("change", "deed", "left"),
    [
        (_delete, _save_again, {"a": b"again", "a (saved meanwhile)": b"saved"}),
        (_delete, _make_folder, {"a": None, "a (saved meanwhile)": b"saved"}),
        (_replace, _save_again, {"a": b"again", "a (saved meanwhile)": b"saved"}),
        (_replace, _make_folder, {"a": None, "a (saved meanwhile)": b"saved"}),
        (_replace, _move_away, {"a": b"saved", "b": b"theirs"}),
    ],
)
def test_of_two_deeds_in_the_last_moment_neither_is_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[LocalFolder, Fingerprint], None],
    deed: Callable[[Path], None],
    left: dict[str, bytes | None],
) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"old")
    known = marks(place)
    _after_the_look(monkeypatch, lambda: _save(place, b"saved"))
    _meanwhile(monkeypatch, lambda: deed(place))
    with pytest.raises(Outdated):
        change(LocalFolder(tmp_path), known)
    assert {it.name: None if it.is_dir() else it.read_bytes() for it in tmp_path.iterdir()} == left


def test_a_file_that_can_not_be_deleted_stays_in_its_place(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder.root / "a"
    place.write_bytes(b"old")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(LocalProblem, match="Permission denied"):
            folder.delete(("a",), Kind.FILE, marks(place))
    assert os.listdir(folder.root) == ["a"]


def test_what_is_put_aside_stays_a_day(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill in that moment: it may be what somebody had saved, perhaps with an old time."""
    part = folder.root / ".strata-0123456789abcdef.part"
    part.write_bytes(b"saved")
    os.utime(part, ns=(0, 0))
    remove_parts([part], wanted=())
    assert part.exists()
    monkeypatch.setattr("client.sync.rounds.time", lambda: time.time() + OLD_PART + 1)
    remove_parts([part], wanted=())
    assert not part.exists()


def test_a_move_takes_no_place_that_was_taken_in_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = LocalFolder(tmp_path)
    (tmp_path / "a").write_bytes(b"a")
    known = marks(tmp_path / "a")
    free = os.path.lexists

    def look(path: str | Path) -> bool:
        found = free(path)
        _save(tmp_path / "b", b"somebody's")
        return found

    monkeypatch.setattr(os.path, "lexists", look)
    with pytest.raises(Outdated):
        folder.move(("a",), ("b",), Kind.FILE, known)
    assert (tmp_path / "a").read_bytes() == b"a"
    assert (tmp_path / "b").read_bytes() == b"somebody's"


def test_renames_say_what_is_wrong(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    with pytest.raises(FileNotFoundError):
        renames.exchange(one, other)
    assert renames.move_to_free(one, other)
    one.write_bytes(b"2")
    with pytest.raises(FileExistsError):
        renames.move_to_free(one, other)
    assert renames.exchange(one, other)
    assert (one.read_bytes(), other.read_bytes()) == (b"1", b"2")
