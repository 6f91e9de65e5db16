"""Moving, deleting and bringing back through the command: nothing is sent again and nothing is lost."""

from pathlib import Path

import pytest

from tests.support.system import Strata, System


@pytest.fixture
def strata(system: System, tmp_path: Path, request: pytest.FixtureRequest) -> Strata:
    made = Strata(tmp_path / "home", system.url)
    made.sign_up(request.node.name[:60].replace("[", "-").replace("]", ""))
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
