"""Syncs that die, servers that go away, disks that fill up: the next run goes on, and nothing was lost or doubled."""

import errno
import os
import random
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from client.cli import run
from client.gateway_sending import grouped
from client.sync.landing import Landing
from client.sync.trees import Fingerprint
from tests.e2e.sync_folders import Device, chance, sign_up, until_equal
from tests.support.system import System

MIB = 1024 * 1024
JOBS = 4


@pytest.fixture
def pair(system: System, tmp_path: Path, request: pytest.FixtureRequest) -> list[Device]:
    return sign_up(tmp_path, system.url, request.node.name[5:60], 2)


def _requests_with_blocks(system: System) -> int:
    return (system.folder / "host.log").read_text().count('"function": "upload_block')


def _kill_after(device: Device, seconds: float) -> bool:
    """Start a sync and end it with SIGKILL; whether it was still running."""
    run = device.start("--jobs", str(JOBS), "--no-compress")
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return True
    run.communicate()
    return False


def test_a_first_upload_that_is_killed_again_and_again_sends_no_block_twice(
    system: System, pair: list[Device]
) -> None:
    ann, ben = pair
    dice = chance()
    for number in range(6):
        ann.write(f"large-{number}.bin", dice.randbytes(12 * MIB))
    for number in range(200):
        ann.write(f"small/{number % 5}/{number}.txt", dice.randbytes(dice.randrange(1, 3000)))
    before = _requests_with_blocks(system)
    kills = sum(_kill_after(ann, dice.uniform(0.4, 2.5)) for _ in range(6))
    done = ann.sync("--no-compress")
    print(f"{kills} kills")
    large = {path for path in ann.tree if path.startswith("large")}
    requests = sum(len(list(grouped(_blocks_of(ann, f"/{path}"), int))) for path in large)
    # Of what was under way at a kill, the answers are lost, and only that may be sent again; what is left then of a
    # file may need a request more than it would have.
    assert _requests_with_blocks(system) - before <= requests + kills * (JOBS + len(large))
    assert done["settled"]
    assert [file["version"] for file in ann.strata.json("ls", "--recursive")["files"]] == [1] * 206
    ben.sync()
    assert ben.tree == ann.tree


def _blocks_of(device: Device, path: str) -> list[int]:
    """The sizes of a file's blocks."""
    (state,) = (device.strata.home / "sync").glob("*.db")
    with sqlite3.connect(state) as connection:
        ((packed,),) = connection.execute(
            "SELECT blocks FROM manifests JOIN base USING (root_hash) WHERE name = ?", (path[1:],)
        ).fetchall()
    return [int.from_bytes(packed[at + 32 : at + 36]) for at in range(0, len(packed), 36)]


def test_a_download_that_is_killed_goes_on_where_it_was(pair: list[Device]) -> None:
    ann, ben = pair
    dice = chance()
    size = 96 * MIB
    ann.write("large.bin", dice.randbytes(size))
    for number in range(50):
        ann.write(f"small/{number}", dice.randbytes(100))
    ann.sync()
    run = ben.start("--jobs", "2", "--limit-down", str(24 * 1024))
    deadline = time.monotonic() + 60
    while _arrived(ben) < 16 * MIB:
        assert time.monotonic() < deadline
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    run.kill()
    run.communicate()
    assert not (ben.folder / "large.bin").exists()
    done = ben.sync()
    assert done["wire"]["received"] < size - 12 * MIB, "what had arrived is not fetched again"
    assert ben.tree == ann.tree
    assert not list(ben.folder.rglob(".strata-*"))


def _arrived(device: Device) -> int:
    """Bytes on the disk of parts: they are made with their full size, and filled."""
    total = 0
    for part in device.folder.rglob(".strata-*.part"):
        try:
            total += part.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def test_runs_that_are_killed_at_any_moment_lose_nothing_and_end_equal(pair: list[Device]) -> None:
    dice = chance()
    pair[0].write("base/file", b"common")
    until_equal(pair)
    alive = {b"common"}
    for turn in range(8):
        device = dice.choice(pair)
        content = b"%d written" % turn
        target = dice.choice(("base/file", f"new-{turn}", f"base/other-{turn}"))
        if (device.folder / target).exists():
            alive.discard((device.folder / target).read_bytes())
        device.write(target, content)
        alive.add(content)
        if dice.random() < 0.3 and (device.folder / "base").exists():
            (device.folder / "base").rename(device.folder / f"base-{turn}")
            (device.folder / f"base-{turn}").rename(device.folder / "base")
        _kill_after(device, dice.uniform(0.3, 0.9))
    tree = until_equal(pair, most=8)
    assert alive <= set(tree.values())


def test_a_server_that_dies_in_a_sync_is_waited_for_by_the_next(
    stopped_system: System, tmp_path: Path
) -> None:
    system = stopped_system
    with system.azurite():
        with system.host() as host:
            ann, ben = sign_up(tmp_path, system.url, "patient", 2)
            ann.write("large.bin", chance().randbytes(60 * MIB))
            ann.write("small.txt", b"small")
            run = ann.start("--limit-up", str(16 * 1024), "--no-compress")
            deadline = time.monotonic() + 60
            while _requests_with_blocks(system) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            host.kill()
            out, _ = run.communicate(timeout=120)
        assert run.returncode == 7, out
        assert '"code":"unavailable"' in out
        code, told = ben.try_sync()
        assert (code, told["error"]["code"]) == (7, "unavailable")
        with system.host():
            assert until_equal([ann, ben]).keys() == {"large.bin", "small.txt"}


def test_a_full_disk_stops_what_comes_down_and_keeps_what_was_there(
    pair: list[Device], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ann, ben = pair
    ann.write("a", b"old")
    until_equal(pair)
    ann.write("a", b"new content")
    ann.write("b", chance().randbytes(2 * MIB))
    ann.sync()
    ben.write("from ben", b"goes up all the same")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        for name, value in ben.strata.environment.items():
            patch.setenv(name, value)
        patch.setattr("client.part_file.os.pwrite", full)
        assert run(["--json", "sync", str(ben.folder)]) == 8
    assert '"code":"disk_full"' in capfd.readouterr().out
    assert ben.tree == {"a": b"old", "from ben": b"goes up all the same"}
    assert until_equal(pair).keys() == {"a", "b", "from ben"}
    assert ann.tree["a"] == b"new content"


def test_a_file_that_changes_while_a_run_goes_on_is_neither_torn_nor_lost(
    pair: list[Device], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The remote edit is on its way when somebody saves here: both are kept."""
    ann, ben = pair
    ann.write("notes", b"common")
    until_equal(pair)
    ann.write("notes", b"from ann")
    ann.sync()
    keep = Landing.keep
    late = iter([b"saved in the last moment"])

    def save_before(self: Landing, *arguments: object) -> object:
        for content in late:
            ben.write("notes", content)
        return keep(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        for name, value in ben.strata.environment.items():
            patch.setenv(name, value)
        patch.setattr(Landing, "keep", save_before)
        assert run(["--json", "sync", str(ben.folder)]) == 0
    assert set(until_equal(pair).values()) == {b"from ann", b"saved in the last moment"}
    capfd.readouterr()


def test_an_older_file_that_is_moved_over_one_that_has_just_arrived_is_an_edit(
    pair: list[Device], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither its time nor its size tells that it came just now."""
    ann, ben = pair
    ann.write("notes", b"from ann")
    ann.sync()
    older = tmp_path / "older"
    older.write_bytes(b"moved_in")
    os.utime(older, (1_000_000_000, 1_000_000_000))
    put_in_place = Landing._put_in_place

    def move_over(self: Landing, replaces: Fingerprint | None) -> None:
        put_in_place(self, replaces)
        older.replace(self.place)

    with monkeypatch.context() as patch:
        for name, value in ben.strata.environment.items():
            patch.setenv(name, value)
        patch.setattr(Landing, "_put_in_place", move_over)
        assert run(["--json", "sync", str(ben.folder)]) == 0
    assert until_equal(pair) == {"notes": b"moved_in"}
    capfd.readouterr()


def test_two_syncs_of_one_folder_do_not_run_at_once(pair: list[Device]) -> None:
    ann, _ = pair
    ann.write("large.bin", random.Random(1).randbytes(8 * MIB))
    first = ann.start("--limit-up", "2048", "--no-compress")
    deadline = time.monotonic() + 30
    while not list((ann.strata.home / "sync").glob("*.db")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    code, told = ann.try_sync()
    assert (code, told["error"]["code"]) == (5, "sync_running")
    assert ann.strata.json("status", ann.folder)["running"]
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0, out
    assert not ann.strata.json("status", ann.folder)["running"]
