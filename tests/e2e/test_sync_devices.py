"""Several devices of one user, on real parts: what one does, the others have, and nothing is lost."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.sync_folders import Device, chance, sign_up, until_equal
from tests.support.system import PASSWORD, System

MIB = 1024 * 1024


@pytest.fixture
def pair(system: System, tmp_path: Path, request: pytest.FixtureRequest) -> list[Device]:
    return sign_up(tmp_path, system.url, request.node.name[5:60], 2)


def test_a_tree_comes_whole_to_another_device_and_stays(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("Grüße/日本語.txt", "こんにちは".encode())
    ann.write("deep/er/and/deeper/file", b"x")
    ann.write("empty file", b"")
    ann.write("large.bin", chance().randbytes(9 * MIB))
    (ann.folder / "empty folder").mkdir()
    os.utime(ann.folder / "empty file", ns=(1_600_000_000_123_456_000, 1_600_000_000_123_456_000))
    (ann.folder / "link").symlink_to("large.bin")
    os.mkfifo(ann.folder / "pipe")
    told = ann.sync()
    assert told["settled"]
    assert {each["path"]: each["reason"] for each in told["passed_over"]} == {
        "link": "a symbolic link",
        "pipe": "not a regular file",
    }
    assert ben.sync()["done"]["downloaded"] == 4
    (ann.folder / "pipe").unlink()
    assert ben.tree == ann.tree
    assert (ben.folder / "empty file").stat().st_mtime_ns == 1_600_000_000_123_456_000
    assert not list(ben.folder.rglob(".strata-*"))


def test_nothing_changed_costs_one_call_and_a_few_bytes(pair: list[Device]) -> None:
    ann, ben = pair
    for number in range(300):
        ann.write(f"f{number % 7}/{number}.txt", b"%d" % number)
    assert ann.sync()["settled"]
    again = ann.sync()
    assert again["settled"]
    assert again["wire"]["calls"] == 1
    assert again["wire"]["sent"] + again["wire"]["received"] < 10_000
    assert again["ratio"] is None
    ben.sync()
    assert ben.sync()["wire"]["calls"] == 1


def test_renaming_a_folder_sends_no_content_and_keeps_its_files_history(pair: list[Device]) -> None:
    ann, ben = pair
    for number in range(20):
        ann.write(f"old/sub/{number}.bin", chance().randbytes(50_000))
    ann.sync()
    ben.sync()
    before = {file["path"]: file["file_id"] for file in ann.strata.json("ls", "--recursive")["files"]}
    (ann.folder / "old").rename(ann.folder / "new")
    done = ann.sync()
    assert done["done"] | {"moved_there": 0} == dict.fromkeys(done["done"], 0)
    assert done["done"]["moved_there"] == 1
    assert done["wire"]["sent"] < 10_000
    arrived = ben.sync()
    assert arrived["done"]["moved_here"] == 1
    assert arrived["done"]["downloaded"] == 0
    assert ben.tree == ann.tree
    after = {file["path"]: file["file_id"] for file in ann.strata.json("ls", "--recursive")["files"]}
    assert after == {path.replace("/old/", "/new/"): file_id for path, file_id in before.items()}


def test_an_edit_in_the_middle_of_a_large_file_travels_as_about_a_block(pair: list[Device]) -> None:
    ann, ben = pair
    content = bytearray(chance().randbytes(64 * MIB))
    ann.write("large.bin", bytes(content))
    ann.sync()
    ben.sync()
    content[30 * MIB : 30 * MIB + 5] = b"edit!"
    ann.write("large.bin", bytes(content))
    up = ann.sync()
    assert up["wire"]["sent"] < 9 * MIB
    assert up["bytes_changed"] < 9 * MIB
    down = ben.sync()
    assert down["wire"]["received"] < 9 * MIB
    assert ben.tree == ann.tree == {"large.bin": bytes(content)}


def test_a_copy_travels_in_neither_direction(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("large", chance().randbytes(5 * MIB))
    ann.write("small", chance().randbytes(50_000))
    until_equal(pair)
    for name in ("large", "small"):
        ann.write(f"copy of {name}", (ann.folder / name).read_bytes())
    assert ann.sync()["wire"]["sent"] < 20_000
    assert ben.sync()["wire"]["received"] < 20_000
    assert ben.tree == ann.tree


def test_two_edits_are_both_kept(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("report.txt", b"common")
    until_equal(pair)
    ann.write("report.txt", b"what ann wrote")
    ben.write("report.txt", b"what ben wrote")
    ann.sync()
    (conflict,) = ben.sync()["conflicts"]
    assert conflict["path"] == "report.txt"
    assert conflict["copy"].startswith("report (conflicted copy, ")
    tree = until_equal(pair)
    assert tree == {"report.txt": b"what ann wrote", conflict["copy"]: b"what ben wrote"}
    why = ben.strata.json("why", ben.folder / "report.txt")
    assert why["rule"] == "edited_on_both"
    assert why["base"]["size"] == 6
    assert why["outcome"] == "done"


def test_equal_edits_are_no_conflict(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("a", b"before")
    until_equal(pair)
    ann.write("a", b"after")
    ben.write("a", b"after")
    ann.sync()
    assert ben.sync()["conflicts"] == []
    assert until_equal(pair) == {"a": b"after"}


def test_an_edit_survives_a_deletion_and_its_folder_with_it(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("folder/kept", b"1")
    ann.write("folder/gone", b"2")
    until_equal(pair)
    for path in ("folder/kept", "folder/gone"):
        (ann.folder / path).unlink()
    (ann.folder / "folder").rmdir()
    ben.write("folder/kept", b"edited")
    ann.sync()
    assert until_equal(pair) == {"folder": None, "folder/kept": b"edited"}


def test_what_is_deleted_lies_in_the_trash(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("folder/file", b"precious")
    until_equal(pair)
    (ben.folder / "folder/file").unlink()
    (ben.folder / "folder").rmdir()
    ben.sync()
    ann.sync()
    assert ann.tree == {}
    (entry,) = ann.strata.json("trash")["trash"]
    assert (entry["kind"], entry["name"]) == ("folder", "folder")
    ann.strata.json("restore", entry["id"])
    assert until_equal(pair) == {"folder": None, "folder/file": b"precious"}


def test_folders_that_were_filled_apart_become_one_and_lose_nothing(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("same", b"equal")
    ann.write("mine", b"ann")
    ben.write("same", b"equal")
    ben.write("theirs", b"ben")
    ann.sync()
    done = ben.sync()
    assert done["conflicts"] == []
    assert done["done"]["deleted_here"] == done["done"]["deleted_there"] == 0
    assert ben.strata.json("why", ben.folder / "same")["rule"] == "met_equal"
    assert until_equal(pair) == {"same": b"equal", "mine": b"ann", "theirs": b"ben"}


def test_a_mass_deletion_is_held_until_it_is_confirmed(pair: list[Device]) -> None:
    ann, ben = pair
    for number in range(40):
        ann.write(f"photos/{number}.jpg", b"%d" % number)
    until_equal(pair)
    for path in (ann.folder / "photos").iterdir():
        path.unlink()
    code, told = ann.try_sync()
    assert (code, told["error"]["code"]) == (10, "held")
    assert "40 of 40" in told["held"][0]
    assert len(ann.strata.json("ls", "--recursive")["files"]) == 40
    assert ben.sync()["done"]["deleted_here"] == 0
    ann.sync("--confirm")
    code, told = ben.try_sync()
    assert code == 10, "what was confirmed on one device is not yet confirmed on another"
    ben.sync("--confirm")
    assert until_equal(pair) == {"photos": None}


def test_another_folder_at_the_same_path_is_not_taken_for_an_emptied_one(pair: list[Device]) -> None:
    ann, _ = pair
    ann.write("a", b"1")
    ann.sync()
    ann.folder.rename(ann.folder.with_name("unmounted"))
    ann.folder.mkdir()
    code, told = ann.try_sync()
    assert (code, told["error"]["code"]) == (5, "sync_other_folder")
    assert len(ann.strata.json("ls")["files"]) == 1
    ann.sync("--accept-folder", "--confirm")
    assert ann.strata.json("ls")["files"] == []


def test_another_login_is_refused_before_anything_is_done(pair: list[Device], system: System) -> None:
    ann, _ = pair
    ann.write("private", b"of ann")
    ann.sync()
    other = f"other-{random.randrange(10**9)}"
    ann.strata.json("register", "--username", other, "--password-stdin", stdin=PASSWORD)
    ann.strata.json("login", "--username", other, "--password-stdin", stdin=PASSWORD)
    code, told = ann.try_sync()
    assert (code, told["error"]["code"]) == (5, "sync_other_login")
    assert ann.strata.json("ls")["files"] == []
    assert ann.tree == {"private": b"of ann"}


def test_a_watch_ends_when_somebody_else_logs_in(pair: list[Device]) -> None:
    ann, _ = pair
    ann.write("private", b"of ann")
    watch = ann.start("--watch", "--interval", "600")
    try:
        _wait_until(lambda: bool(ann.strata.json("ls")["files"]))
        other = f"other-{random.randrange(10**9)}"
        ann.strata.json("register", "--username", other, "--password-stdin", stdin=PASSWORD)
        ann.strata.json("login", "--username", other, "--password-stdin", stdin=PASSWORD)
        ann.write("another", b"of ann too")
        out, _ = watch.communicate(timeout=60)
    finally:
        watch.kill()
    assert watch.returncode == 3, out
    assert ann.strata.json("ls")["files"] == []
    assert ann.tree == {"private": b"of ann", "another": b"of ann too"}


def test_a_dry_run_says_what_it_would_do_and_does_nothing(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("new", b"1")
    told = ann.sync("--dry-run")
    assert [(step["action"], step["path"], step["rule"]) for step in told["plan"]] == [
        ("Upload", "new", "new_here")
    ]
    assert ann.strata.json("ls")["files"] == []
    ann.sync()
    told = ben.sync("--dry-run")
    assert [(step["action"], step["path"]) for step in told["plan"]] == [("Download", "new")]
    assert ben.tree == {}


def test_ignored_files_stay_where_they_are(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write(".strataignore", b"*.tmp\nbuild/\n")
    ann.write("scratch.tmp", b"1")
    ann.write("build/out", b"2")
    ann.write("source", b"3")
    ann.sync()
    ben.sync()
    assert ben.tree == {".strataignore": b"*.tmp\nbuild/\n", "source": b"3"}
    ben.write("other.tmp", b"4")
    assert not any(ben.sync()["done"].values())


def test_a_file_that_became_empty_by_itself_is_not_sent_over_its_content(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("ledger", b"ten years of numbers")
    until_equal(pair)
    before = (ann.folder / "ledger").stat()
    os.truncate(ann.folder / "ledger", 0)
    os.utime(ann.folder / "ledger", ns=(before.st_atime_ns, before.st_mtime_ns))
    told = ann.sync()
    assert told["done"]["uploaded"] == 0
    assert [each["rule"] for each in told["left_alone"]] == ["became_empty"]
    ben.sync()
    assert ben.tree == {"ledger": b"ten years of numbers"}


def test_names_that_cannot_be_kept_are_reported_and_the_rest_is_sent(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("con.txt", b"1")
    ann.write("fine", b"2")
    (ann.folder / os.fsdecode(b"bytes-\xff")).write_bytes(b"3")
    code, told = ann.try_sync()
    assert code == 6
    assert {each["path"] for each in told["passed_over"]} == {"con.txt", "bytes-\\udcff"}
    ben.sync()
    assert ben.tree == {"fine": b"2"}
    assert ann.try_sync()[0] == 6, "a run that finds nothing changed says it again"


def test_the_disk_is_compared_with_the_server(pair: list[Device]) -> None:
    ann, _ = pair
    ann.write("a", b"intact")
    ann.write("b", chance().randbytes(3 * MIB))
    ann.write("c", b"to be edited")
    ann.sync()
    assert ann.strata.json("verify", ann.folder)["counts"]["intact"] == 3
    marks = (ann.folder / "b").stat()
    with (ann.folder / "b").open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"rot")
    os.utime(ann.folder / "b", ns=(marks.st_atime_ns, marks.st_mtime_ns))
    ann.write("c", b"edited")
    for options in ((), ("--offline",)):
        done = ann.strata.run("--json", "verify", ann.folder, *options)
        assert done.returncode == 9
        assert '"damaged":1' in done.stdout
        assert '"edited":1' in done.stdout
        assert '"intact":1' in done.stdout


def test_a_watched_folder_keeps_up_with_both_sides(pair: list[Device]) -> None:
    """Without asking: between questions there would be ten minutes, so it is the server that tells."""
    ann, ben = pair
    processes = [device.start("--watch", "--interval", "600") for device in pair]
    try:
        ann.write("from ann", b"1")
        ben.write("from ben", b"2")
        _wait_until(lambda: ann.tree == ben.tree == {"from ann": b"1", "from ben": b"2"})
        ann.write("from ann", b"changed")
        (ben.folder / "from ben").rename(ben.folder / "renamed")
        _wait_until(lambda: ann.tree == ben.tree == {"from ann": b"changed", "renamed": b"2"})
    finally:
        for process in processes:
            process.terminate()
        codes = [process.communicate(timeout=20) and process.returncode for process in processes]
    assert codes == [0, 0]


def test_three_devices_with_random_edits_come_to_one_tree_and_lose_none(
    system: System, tmp_path: Path
) -> None:
    dice = chance()
    devices = sign_up(tmp_path, system.url, f"three-{dice.randrange(10**9)}", 3)
    alive: set[bytes] = set()
    for _ in range(8):
        for device in devices:
            for _ in range(dice.randrange(4)):
                _edit(device, dice, alive)
        dice.choice(devices).sync("--confirm")
    for device in devices:
        device.sync("--confirm")
    tree = until_equal(devices)
    assert alive <= {content for content in tree.values() if content is not None}


def _edit(device: Device, dice: random.Random, alive: set[bytes]) -> None:
    """Do something to the folder. `alive` are the contents that nobody has overwritten or deleted on purpose."""
    paths = sorted(device.tree)
    place = device.folder / dice.choice(("a", "b", "c", "x/a", "x/b", "y/a"))
    source = device.folder / dice.choice(paths) if paths else None
    match dice.choice(("write", "write", "move", "delete")):
        case "write" if not place.is_dir() and (place.parent.is_dir() or not place.parent.exists()):
            if place.exists():
                alive.discard(place.read_bytes())
            content = dice.randbytes(8)
            device.write(place.relative_to(device.folder).as_posix(), content)
            alive.add(content)
        case "move" if source and not place.exists() and place.parent.is_dir():
            if not place.is_relative_to(source):
                source.rename(place)
        case "delete" if source and source.is_file():
            alive.discard(source.read_bytes())
            source.unlink()
        case "delete" if source and not any(source.iterdir()):
            source.rmdir()


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)
