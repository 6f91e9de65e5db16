"""Somebody works on the same things at the same moment: what a run believed when it planned is not so any more."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client.cli import run
from client.errors import Stopped
from client.sync.actions import Plan
from client.sync.contents import Contents
from client.sync.digest import Ignores, Walk
from client.sync.executing import Executor
from client.sync.landing import Landing
from client.sync.ledger import Ledger
from client.sync.scanning import Scan, scan_folder
from client.sync.trees import Names
from tests.e2e.sync_folders import Device, sign_up, until_equal
from tests.support.system import System


@pytest.fixture
def pair(system: System, tmp_path: Path, request: pytest.FixtureRequest) -> list[Device]:
    name = "".join(character if character.isalnum() else "-" for character in request.node.name[-60:])
    return sign_up(tmp_path, system.url, name, 2)


class Here:
    """Runs a device's sync in this process, so that a test can be in the middle of it."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch = patch
        self._capture = capture

    def sync(self, device: Device) -> int:
        for name, value in device.strata.environment.items():
            self.patch.setenv(name, value)
        code = run(["--json", "sync", str(device.folder)])
        self._capture.readouterr()
        return code


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capfd)


def _once(work: Callable[[], object]) -> Callable[[], None]:
    left = [work]

    def do() -> None:
        if left:
            left.pop()()

    return do


def _write_there(ann: Device, ben: Device) -> None:
    ben.write("from ben", b"2")
    ben.sync()


def _edit_there(ann: Device, ben: Device) -> None:
    ben.sync()
    ben.write("file", b"edited by ben")
    ben.sync()


def _write_here(ann: Device, ben: Device) -> None:
    ann.write("folder/one more", b"2")


def _edit_here(ann: Device, ben: Device) -> None:
    ann.write("file", b"edited again")


@pytest.mark.parametrize("meanwhile", [_write_there, _edit_there, _write_here, _edit_here])
def test_what_happens_behind_the_last_upload_is_seen_by_the_same_run(
    pair: list[Device], here: Here, meanwhile: Callable[[Device, Device], None]
) -> None:
    ann, ben = pair
    ann.write("file", b"1")
    time.sleep(0.1)  # younger files are looked at twice in any case
    run = Executor.run
    once = _once(lambda: meanwhile(ann, ben))

    def and_then(self: Executor, plan: Plan) -> bool:
        done = run(self, plan)
        once()
        return done

    here.patch.setattr(Executor, "run", and_then)
    assert here.sync(ann) == 0
    ben.sync()
    assert ann.tree == ben.tree


@pytest.mark.parametrize("moment", ["before the last look", "after it"])
def test_a_folder_that_gains_a_file_while_it_is_deleted_stays_for_it(
    pair: list[Device], here: Here, moment: str
) -> None:
    ann, ben = pair
    ann.write("folder/old", b"1")
    until_equal(pair)
    (ann.folder / "folder" / "old").unlink()
    (ann.folder / "folder").rmdir()

    def from_ben() -> None:
        ben.write("folder/new", b"2")
        ben.sync()

    meanwhile = _once(from_ben)
    look = Executor._look_again

    def look_again(self: Executor) -> None:
        if moment == "before the last look":
            meanwhile()
        look(self)
        meanwhile()

    here.patch.setattr(Executor, "_look_again", look_again)
    assert here.sync(ann) == 0
    assert until_equal(pair) == {"folder": None, "folder/new": b"2"}


def test_a_file_that_is_edited_while_it_is_deleted_keeps_the_edit(pair: list[Device], here: Here) -> None:
    ann, ben = pair
    ann.write("file", b"before")
    until_equal(pair)
    (ann.folder / "file").unlink()

    def from_ben() -> None:
        ben.write("file", b"edited")
        ben.sync()

    meanwhile = _once(from_ben)
    look = Executor._look_again

    def look_again(self: Executor) -> None:
        meanwhile()
        look(self)

    here.patch.setattr(Executor, "_look_again", look_again)
    assert here.sync(ann) == 0
    assert until_equal(pair) == {"file": b"edited"}
    assert ann.strata.json("trash")["trash"] == []


def test_a_folder_that_is_moved_past_the_scan_is_not_taken_for_deleted(
    pair: list[Device], here: Here
) -> None:
    """It leaves a folder that is still to be scanned, for one that was: it is seen nowhere."""
    ann, _ = pair
    ann.write("z/photos/1.jpg", b"1")
    ann.write("a/other", b"2")
    until_equal(pair)
    before = {file["file_id"] for file in ann.strata.json("ls", "--recursive")["files"]}
    moved = _once(lambda: (ann.folder / "z" / "photos").rename(ann.folder / "a" / "photos"))

    def scan(root: Path, ignores: Ignores, walk: Walk | None) -> Scan:
        first = not (ann.folder / "a" / "photos").exists()
        found = scan_folder(root, ignores, walk)
        if first:
            moved()
            for path in [path for path in found.entries if path[:2] == ("z", "photos")]:
                del found.entries[path]
        return found

    here.patch.setattr("client.sync.rounds.scan_folder", scan)
    ann.write("b", b"something to look for")
    assert here.sync(ann) == 0
    assert ann.strata.json("trash")["trash"] == []
    assert {file["file_id"] for file in ann.strata.json("ls", "--recursive")["files"]} > before
    assert "a/photos/1.jpg" in until_equal(pair)


def test_two_devices_that_make_the_same_new_file_keep_both(pair: list[Device], here: Here) -> None:
    ann, ben = pair
    until_equal(pair)
    ann.write("new", b"from ann")
    ben.write("new", b"from ben")
    run = Executor.run
    meanwhile = _once(ben.sync)

    def late(self: Executor, plan: object) -> None:
        meanwhile()
        run(self, plan)  # type: ignore[arg-type]

    here.patch.setattr(Executor, "run", late)
    assert here.sync(ann) == 0
    tree = until_equal(pair)
    assert set(tree.values()) == {b"from ann", b"from ben"}
    assert tree["new"] == b"from ben"


def test_a_watch_outlives_its_server(stopped_system: System, tmp_path: Path) -> None:
    system = stopped_system
    with system.azurite():
        with system.host() as host:
            (ann,) = sign_up(tmp_path, system.url, "patient", 1)
            watch = ann.start("--watch", "--interval", "1")
            ann.write("before", b"1")
            _wait_until(lambda: len(ann.strata.json("ls")["files"]) == 1)
            host.kill()
        try:
            ann.write("meanwhile", b"2")
            assert watch.poll() is None
            with system.host():
                _wait_until(lambda: len(ann.strata.json("ls")["files"]) == 2)
        finally:
            watch.terminate()
            out, _ = watch.communicate(timeout=30)
        assert watch.returncode == 0, out


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _killed_before_it_wrote_down(here: Here, device: Device) -> None:
    """A run that does all of its plan, and whose process ends before any row of it is in the state."""

    def forget(self: Ledger) -> None:
        if self._changes:
            raise Stopped("killed")

    with here.patch.context() as patch:
        patch.setattr(Ledger, "flush", forget)
        assert here.sync(device) != 0


def test_a_file_that_a_killed_run_has_sent_and_that_is_edited_again_is_in_no_conflict(
    pair: list[Device], here: Here
) -> None:
    ann = pair[0]
    ann.write("a", b"first")
    until_equal(pair)
    ann.write("a", b"second")
    _killed_before_it_wrote_down(here, ann)
    ann.write("a", b"third")
    told = ann.sync()
    assert told["conflicts"] == []
    assert ann.tree == {"a": b"third"}
    assert until_equal(pair) == {"a": b"third"}


def test_a_file_that_a_killed_run_has_deleted_and_that_comes_back_stays(
    pair: list[Device], here: Here
) -> None:
    ann = pair[0]
    ann.write("a", b"content")
    ann.write("b", b"another")
    until_equal(pair)
    (ann.folder / "a").unlink()
    _killed_before_it_wrote_down(here, ann)
    ann.write("a", b"content")
    assert until_equal(pair) == {"a": b"content", "b": b"another"}


def test_what_has_come_is_not_read_again(pair: list[Device], here: Here) -> None:
    ann, ben = pair
    time.sleep(0.1)  # what was written in this very moment would be looked at once more
    ann.write("large", random.Random(3).randbytes(3_000_000))
    for number in range(20):
        ann.write(f"small/{number}", b"%d" % number)
    ann.sync()
    time.sleep(0.1)
    read: list[Names] = []
    look = Contents.read

    def noting(self: Contents, path: Names, *arguments: object) -> object:
        read.append(path)
        return look(self, path, *arguments)  # type: ignore[arg-type]

    here.patch.setattr(Contents, "read", noting)
    assert here.sync(ben) == 0
    assert ben.tree == ann.tree
    assert read == []
    ben.write("small/7", b"8")
    assert here.sync(ben) == 0
    assert set(read) == {("small", "7")}


@pytest.mark.parametrize("name", ["small", "large"])
def test_an_edit_in_the_moment_after_a_landing_is_sent(pair: list[Device], here: Here, name: str) -> None:
    """Of the same size, so that only its time tells, and before anything was written down about what has landed."""
    ann, ben = pair
    size = 100 if name == "small" else 3_000_000
    ann.write(name, b"from ann".ljust(size, b"."))
    ann.sync()
    keep = Landing.keep

    def edit_behind(self: Landing, *arguments: object) -> object:
        identity = keep(self, *arguments)  # type: ignore[arg-type]
        ben.write(name, b"from ben".ljust(size, b"."))
        return identity

    with here.patch.context() as patch:
        patch.setattr(Landing, "keep", edit_behind)
        assert here.sync(ben) == 0
    assert until_equal(pair) == {name: b"from ben".ljust(size, b".")}
