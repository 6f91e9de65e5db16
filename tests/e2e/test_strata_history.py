"""Moving, deleting and bringing back through the command: nothing is sent again and nothing is lost."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.system import Strata, System


@pytest.fixture
def username(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:60].replace("[", "-").replace("]", "")


@pytest.fixture
def strata(system: System, tmp_path: Path, username: str) -> Strata:
    made = Strata(tmp_path / "home", system.url)
    made.sign_up(username)
    return made


def _paths(strata: Strata) -> list[str]:
    return sorted(file["path"] for file in strata.json("ls", "--recursive")["files"])


def test_a_folder_is_moved_deleted_and_restored_whole(strata: Strata, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt"):
        (tree / name).write_text(name)
    strata.json("up", tree, "/")
    assert strata.json("mkdir", "/archive") == {"path": "/archive"}
    assert strata.json("mv", "/tree", "/archive/")["path"] == "/archive/tree"
    assert _paths(strata) == ["/archive/tree/a.txt", "/archive/tree/deep/b.txt"]

    assert strata.run("rm", "/archive/tree").returncode == 6, "a folder is not deleted by mistake"
    strata.json("rm", "--recursive", "/archive/tree")
    assert _paths(strata) == []
    (entry,) = strata.json("trash")["trash"]
    assert (entry["kind"], entry["name"]) == ("folder", "tree")
    assert strata.json("restore", entry["id"])["path"] == "/archive/tree"
    strata.json("down", "/archive/tree", tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "b.txt").read_text() == "deep/b.txt"


def test_an_old_version_comes_back_as_a_new_one(strata: Strata, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    for text in ("first", "second", "third"):
        file.write_text(text)
        strata.json("up", file, "/notes.txt")
    versions = strata.json("history", "/notes.txt")["versions"]
    assert [version["version"] for version in versions] == [3, 2, 1]
    assert strata.json("restore", "/notes.txt", "--version", "1")["version"] == 4
    strata.json("down", "/notes.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_text() == "first"
    assert strata.run("restore", "/notes.txt", "--version", "9").returncode == 4


def test_a_taken_name_is_answered_and_not_overwritten(strata: Strata, tmp_path: Path) -> None:
    file = tmp_path / "plan.txt"
    file.write_text("old")
    strata.json("up", file, "/plan.txt")
    strata.json("rm", "/plan.txt")
    file.write_text("new")
    strata.json("up", file, "/plan.txt")
    (entry,) = strata.json("trash")["trash"]
    assert strata.run("restore", entry["id"]).returncode == 5
    assert strata.json("restore", entry["id"], "--to", "/rescued.txt")["path"] == "/rescued.txt"
    assert _paths(strata) == ["/plan.txt", "/rescued.txt"]


def test_what_is_purged_is_gone(strata: Strata, tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("never again")
    strata.json("up", file, "/secret.txt")
    strata.json("rm", "/secret.txt")
    (entry,) = strata.json("trash")["trash"]
    assert strata.json("trash", "--purge", entry["id"]) == {"id": entry["id"], "files": 1, "bytes": 11}
    assert strata.json("trash")["trash"] == []
    assert strata.run("restore", entry["id"]).returncode == 4


def test_what_a_device_did_is_undone(strata: Strata, username: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a", "b", "c"):
        (tree / name).write_text(f"{name}, as it should be")
    strata.json("up", tree, "/tree")
    other = Strata(tmp_path / "other", strata.url)
    device = other.log_in(username)
    since = datetime.now(UTC).isoformat()
    for name in ("a", "b"):
        (tree / name).write_text("encrypted by something nasty")
    other.json("up", tree, "/tree")
    other.json("rm", "/tree/c")
    other.json("mv", "/tree/a", "/tree/a.locked")
    other.json("up", tree / "b", "/tree/ransom note")

    planned = other.json("undo", "--since", since, "--dry-run")
    assert (planned["done"], planned["undone_count"], planned["kept_count"]) == (False, 4, 0)
    assert "/tree/ransom note" in _paths(strata)
    assert strata.run("undo", "--since", since, "--device", device).returncode == 2, "nobody can be asked"
    done = strata.json("undo", "--since", since, "--device", device, "--yes")
    assert (done["done"], done["undone_count"]) == (True, 4)
    assert _paths(strata) == ["/tree/a", "/tree/b", "/tree/c"]
    strata.json("down", "/tree", tmp_path / "back")
    for name in ("a", "b", "c"):
        assert (tmp_path / "back" / name).read_text() == f"{name}, as it should be"
    assert strata.json("undo", "--since", since, "--device", device, "--yes")["undone_count"] == 0


def test_times_that_are_none(strata: Strata) -> None:
    for arguments in (("--since", "soon"), ("--since", "1h", "--until", "2h"), ("--since", "1e9d")):
        assert strata.run("undo", *arguments).returncode == 2


def test_a_lost_device_is_ended(strata: Strata, username: str, tmp_path: Path) -> None:
    phone = Strata(tmp_path / "phone", strata.url)
    device = phone.log_in(username)
    strata.json("devices", "--rename", device, "--to", "lost phone")
    assert {each["name"] for each in strata.json("devices")["devices"]} > {"lost phone"}
    assert strata.run("devices", "--revoke", "no such thing").returncode == 4
    assert strata.run("devices", "--rename", device).returncode == 2
    assert strata.json("devices", "--revoke", "lost phone") == {"revoked": device}
    assert phone.run("ls").returncode == 3
    assert [each["current"] for each in strata.json("devices")["devices"]] == [True]
