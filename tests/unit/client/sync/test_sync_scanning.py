"""What a scan finds, and what it never takes for deleted or for unchanged."""

import os
import unicodedata
from pathlib import Path

import pytest

from client.errors import LocalProblem
from client.sync.digest import Digest, Walk, digest_of, marks_of
from client.sync.ignoring import Ignoring
from client.sync.run_outcome import PassedOver
from client.sync.scanning import STEP_NS, Scan, asking, is_racy_at, scan_folder
from client.sync.trees import Kind, Names
from shared.domain.errors import Malformed, NameRefused
from shared.domain.names import parse_name

NOBODY = asking(Ignoring())
LONG_AGO = 1_500_000_000_000_000_000


def scan(root: Path, *patterns: str) -> Scan:
    return scan_folder(root, asking(Ignoring(patterns)))


@pytest.fixture
def settled_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan believes that it is an hour later, so that nothing is racy."""
    from time import time_ns

    monkeypatch.setattr("client.sync.scanning.time_ns", lambda: time_ns() + 3_600 * 10**9)


def test_files_and_folders_are_found_with_their_marks(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"12345")
    os.utime(tmp_path / "folder" / "file", ns=(LONG_AGO, LONG_AGO))
    found = scan(tmp_path).entries
    assert set(found) == {("folder",), ("folder", "file")}
    folder, file = found["folder",], found["folder", "file"]
    assert (folder.kind, folder.fingerprint.size, folder.fingerprint.mtime_ns) == (Kind.FOLDER, 0, 0)
    assert (file.fingerprint.size, file.fingerprint.mtime_ns) == (5, LONG_AGO)
    assert file.fingerprint.inode == (tmp_path / "folder" / "file").stat().st_ino


def test_links_pipes_and_impossible_names_are_passed_over_and_hold_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "away").symlink_to("/")
    os.mkfifo(folder / "pipe")
    (folder / "aux.txt").touch()
    (folder / os.fsdecode(b"\xff")).touch()
    found = scan(tmp_path)
    assert set(found.entries) == {("folder",)}
    assert found.holding == {("folder",)}
    told = {each.path[-1]: each for each in found.passed_over}
    assert told["away"] == PassedOver(("folder", "away"), "a symbolic link")
    assert told["pipe"].error is None
    assert {name for name, each in told.items() if each.error} == {"aux.txt", "\udcff"}


def test_ignored_things_are_not_looked_into_and_hold_their_folder(tmp_path: Path) -> None:
    (tmp_path / "build" / "deep").mkdir(parents=True)
    (tmp_path / "build" / "deep" / "out").touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.tmp").touch()
    found = scan(tmp_path, "build/", "*.tmp")
    assert set(found.entries) == {("src",)}
    assert found.holding == {(), ("src",)}


def test_a_glance_does_not_look_into_a_folder_that_a_scan_passes_over(
    tmp_path: Path, settled_clock: None
) -> None:
    (tmp_path / "aux").mkdir()
    (tmp_path / "aux" / "a").touch()
    assert scan(tmp_path).digest == digest_of(tmp_path, None) is not None


def test_parts_are_told_apart_and_not_synced(tmp_path: Path) -> None:
    part = tmp_path / ".strata-0123456789abcdef.part"
    part.touch()
    found = scan(tmp_path)
    assert found.entries == {}
    assert found.parts == [part]
    assert digest_of(tmp_path, None) is None


def test_what_cannot_be_listed_was_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "file").touch()
    (tmp_path / "open").mkdir()
    listed = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr("client.sync.scanning.os.scandir", refusing)
    found = scan(tmp_path)
    assert found.unlisted == {("locked",)}
    assert set(found.entries) == {("locked",), ("open",)}
    assert found.digest is None
    (told,) = found.passed_over
    assert isinstance(told.error, LocalProblem)


def test_a_folder_that_vanishes_during_the_scan_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "going").mkdir()
    listed = os.scandir

    def vanishing(path: Path) -> object:
        if Path(path).name == "going":
            Path(path).rmdir()
        return listed(path)

    monkeypatch.setattr("client.sync.scanning.os.scandir", vanishing)
    found = scan(tmp_path)
    assert found.entries == {}
    assert found.unlisted == set()


def test_a_root_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalProblem) as raised:
        scan(tmp_path / "gone")
    assert raised.value.fatal


def test_the_short_look_and_the_long_one_have_the_same_digest(tmp_path: Path, settled_clock: None) -> None:
    for number in range(30):
        (tmp_path / f"f{number % 3}" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"f{number % 3}" / "deep" / str(number)).write_bytes(b"%d" % number)
    (tmp_path / "link").symlink_to("f1")
    (tmp_path / "skipped.tmp").touch()
    digest = scan(tmp_path, "*.tmp").digest
    assert digest is not None
    assert digest_of(tmp_path, asking(Ignoring(["*.tmp"]))) == digest
    assert digest_of(tmp_path, None) != digest


@pytest.mark.parametrize("change", ["content", "time", "name", "new", "gone", "kind", "mode"])
def test_any_change_gives_another_digest(tmp_path: Path, change: str, settled_clock: None) -> None:
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(b"before")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    before = scan(tmp_path).digest
    match change:
        case "content":
            file.write_bytes(b"after!")
            os.utime(file, ns=(LONG_AGO, LONG_AGO))
        case "time":
            os.utime(file, ns=(LONG_AGO, LONG_AGO + 1))
        case "name":
            file.rename(file.with_name("other"))
        case "new":
            (tmp_path / "folder" / "empty").mkdir()
        case "gone":
            file.unlink()
        case "kind":
            file.unlink()
            file.symlink_to("elsewhere")
        case "mode":
            file.chmod(0o600)
            file.chmod(0o640)
    assert digest_of(tmp_path, None) != before
    assert scan(tmp_path).digest != before


@pytest.mark.parametrize("began", [-(10**12), 1], ids=["while it was looked for", "just before"])
def test_a_file_that_was_just_written_is_racy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, began: int
) -> None:
    (tmp_path / "fresh").touch()
    stamp = (tmp_path / "fresh").stat().st_mtime_ns
    times = iter([stamp + began, stamp + 10**9])
    monkeypatch.setattr("client.sync.scanning.time_ns", lambda: next(times))
    assert scan(tmp_path).entries["fresh",].racy


def walked(root: Path) -> Walk:
    walk = Walk()
    walk.digest = digest_of(root, None, walk)
    return walk


def told(each: PassedOver) -> tuple[Names, str, str]:
    return each.path, each.reason, str(each.error)


def test_what_was_met_on_a_walk_is_not_looked_at_again(
    tmp_path: Path, settled_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "z/deep/c", "z/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "z" / "away").symlink_to("/")
    (tmp_path / "aux").mkdir()
    before, walk = scan(tmp_path), walked(tmp_path)

    for folder, each in walk.listings.items():
        walk.listings[folder] = each._replace(began_ns=each.began_ns + 3_600 * 10**9)

    def listed(path: Path) -> None:
        pytest.fail(f"{path} is listed again")

    monkeypatch.setattr("os.scandir", listed)
    after = scan_folder(tmp_path, asking(Ignoring()), walk)
    assert list(after.entries.values()) == list(before.entries.values())
    assert after.holding == before.holding
    assert list(map(told, after.passed_over)) == list(map(told, before.passed_over))
    assert after.digest == walk.digest is not None


def test_a_scan_looks_itself_at_what_a_walk_has_not_met(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f".strata-{'0' * 32}.part").touch()
    (tmp_path / "folder" / "file").touch()
    walk = walked(tmp_path)
    assert walk.digest is None
    found = scan_folder(tmp_path, asking(Ignoring()), walk)
    assert set(found.entries) == {("folder",), ("folder", "file")}
    assert [part.name for part in found.parts] == [f".strata-{'0' * 32}.part"]


def test_what_was_stamped_while_the_walk_went_on_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    walk = walked(tmp_path)
    walk.listings[()] = walk.listings[()]._replace(began_ns=(tmp_path / "file").stat().st_mtime_ns - 10**12)
    assert scan_folder(tmp_path, asking(Ignoring()), walk).entries["file",].racy


def test_a_name_can_not_pass_for_marks(tmp_path: Path) -> None:
    """The digest is over names and numbers: neither may be read as the other."""
    one, other = Digest(), Digest()
    status = os.stat(tmp_path)
    one.entry(marks_of("a", status))
    one.entry(marks_of("b", status))
    first = repr(marks_of("a", status))[2:]
    other.entry(marks_of(f"{first}, ('b", status))
    assert one.text() != other.text()


NOW = 1_700_000_000_123_456_789
LOOKING = 100 * 10**9


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "racy"),
    [
        (NOW, NOW, True),
        (NOW - STEP_NS + 1, NOW - STEP_NS + 1, True),
        (NOW - STEP_NS, NOW - STEP_NS, False),
        (LONG_AGO, NOW - 1, True),  # its time was set back, the change of the inode tells
        (NOW - 1, LONG_AGO, True),  # where ctime is when the file was made, as on Windows
        (1_699_999_999 * 10**9, 1_699_999_999 * 10**9, True),  # whole seconds: FAT's steps are two of them
        (1_699_999_990 * 10**9, 1_699_999_990 * 10**9, False),
        (NOW + LOOKING, NOW + LOOKING, True),  # after the look began, and perhaps before it came here
        (NOW + 10**12, NOW + 10**12, False),  # the clock was set back: the next change has another time
    ],
)
def test_when_a_stamp_is_too_young_to_be_believed(mtime_ns: int, ctime_ns: int, racy: bool) -> None:
    assert is_racy_at(mtime_ns, ctime_ns, NOW, NOW + LOOKING) is racy


NAMES = [
    *(
        "a",
        "a.b",
        "_",
        "-a",
        "a b",
        "a.",
        "a ",
        ".a",
        "CON",
        "con.txt",
        "Console",
        "lpt1",
        "COM9.log",
        "commit",
    ),
    *(
        "nul",
        "null.txt",
        "aux",
        "prn",
        "LPT",
        "a" * 122,
        "a" * 123,
        "a" * 300,
        "x..y",
        "x.",
        "a\n",
        "a:b",
        "ü",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_short_way_to_judge_names_agrees_with_the_rules(tmp_path: Path, name: str) -> None:
    try:
        parse_name(name)
        holds = True
    except (Malformed, NameRefused):
        holds = False
    try:
        (tmp_path / name).touch()
    except OSError:
        assert not holds, "what this file system can't hold is no name for others either"
        return
    found = scan(tmp_path)
    assert ((name,) in found.entries) is holds
    assert bool(found.passed_over) is not holds


def test_names_are_as_the_disk_has_them(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Grüße")
    (tmp_path / apart).touch()
    assert set(scan(tmp_path).entries) == {(apart,)}


def test_a_file_whose_name_only_looks_like_a_part_is_synced_like_any_other(tmp_path: Path) -> None:
    (tmp_path / ".strata-notes.part").touch()
    (tmp_path / f".strata-{'0a' * 16}.part").touch()
    found = scan(tmp_path)
    assert set(found.entries) == {(".strata-notes.part",)}
    assert [part.name for part in found.parts] == [f".strata-{'0a' * 16}.part"]
