"""What is remembered of a folder: written whole or not at all, and about nothing else."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.errors import Conflicting, LocalProblem
from client.sync.actions import Upload
from client.sync.base_rows import BaseRows, Drop, Put, Refill, Replace
from client.sync.binding import bind
from client.sync.contents import Contents
from client.sync.database import Database
from client.sync.decisions import KEPT, Decision, Decisions, State, Trees, decision
from client.sync.folder import find_folder, only_one
from client.sync.ledger import Ledger
from client.sync.local_changes import LocalFolder
from client.sync.manifests import Manifests
from client.sync.remote import ROOT
from client.sync.rules import KNOWN, NEW_HERE, Change
from client.sync.trees import BaseEntry, Content, Fingerprint, Kind, LocalEntry, LocalTree, RemoteTree
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from shared.domain.ids import NodeId, VersionId

CONTENT = Content(Sha256("a" * 64), 5)
OTHER = Content(Sha256("b" * 64), 7)
MARKS = Fingerprint(5, 1_700_000_000_123_456_789, 2**64 - 1, 2**63)


def file(node: str, parent: str = ROOT, name: str = "file") -> BaseEntry:
    return BaseEntry(NodeId(node), NodeId(parent), name, Kind.FILE, CONTENT, VersionId("v1"), MARKS)


def folder(node: str, parent: str = ROOT, name: str = "folder") -> BaseEntry:
    return BaseEntry(NodeId(node), NodeId(parent), name, Kind.FOLDER, fingerprint=Fingerprint(0, 0, 1, 2))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "sync" / "state.db") as database:
        yield database


def test_rows_come_back_as_they_were_put(database: Database, tmp_path: Path) -> None:
    rows = BaseRows(database)
    rows.apply([Put(file("1")), Put(folder("2")), Put(BaseEntry(NodeId("3"), ROOT, "c", Kind.FILE))])
    with Database(database.path) as again:
        assert BaseRows(again).load() == {
            NodeId("1"): file("1"),
            NodeId("2"): folder("2"),
            NodeId("3"): BaseEntry(NodeId("3"), ROOT, "c", Kind.FILE),
        }


def test_a_row_changes_in_the_part_that_an_action_was_about(database: Database) -> None:
    rows = BaseRows(database)
    rows.apply([Put(file("1")), Put(file("2")), Put(file("3"))])
    marks = Fingerprint(7, 1, 2, 3)
    rows.apply(
        [
            Refill(NodeId("1"), OTHER, VersionId("v2"), marks),
            Replace(NodeId("2"), NodeId("f"), "renamed"),
            Drop((NodeId("3"), NodeId("unknown"))),
        ]
    )
    assert rows.load() == {
        NodeId("1"): BaseEntry(NodeId("1"), ROOT, "file", Kind.FILE, OTHER, VersionId("v2"), marks),
        NodeId("2"): file("2", "f", "renamed"),
    }


def test_a_node_that_takes_anothers_place_takes_what_is_below_it(database: Database) -> None:
    rows = BaseRows(database)
    rows.apply([Put(folder("old")), Put(file("1", "old"))])
    rows.apply([Put(folder("new"), instead_of=NodeId("old"))])
    assert rows.load() == {NodeId("new"): folder("new"), NodeId("1"): file("1", "new")}


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction():
        BaseRows(database).apply([Put(file("1"))])
        database.put(cursor="c")
        raise ZeroDivisionError
    assert BaseRows(database).load() == {}
    assert database.get("cursor") is None


def test_a_damaged_memory_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(LocalProblem) as raised:
        Database(tmp_path / "state.db")
    assert raised.value.code == "state_damaged"


def test_a_memory_of_another_version_is_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LocalProblem, match="another version"):
        Database(tmp_path / "state.db")


def test_a_memory_is_about_one_login_and_one_folder(database: Database, tmp_path: Path) -> None:
    root = tmp_path / "folder"
    root.mkdir()
    here = find_folder(root)
    bind(database, here, url="http://a", user_id="u")
    bind(database, here, url="http://a", user_id="u")
    for url, user in (("http://b", "u"), ("http://a", "other")):
        with pytest.raises(Conflicting) as raised:
            bind(database, here, url=url, user_id=user)
        assert raised.value.code == "sync_other_login"
    root.rename(tmp_path / "moved away")
    root.mkdir()
    with pytest.raises(Conflicting) as raised:
        bind(database, find_folder(root), url="http://a", user_id="u")
    assert raised.value.code == "sync_other_folder"
    bind(database, find_folder(root), url="http://a", user_id="u", accept_folder=True)
    bind(database, find_folder(root), url="http://a", user_id="u")


def test_a_folder_is_known_by_its_path_without_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert find_folder(tmp_path / "link") == find_folder(tmp_path / "real")
    (tmp_path / "file").touch()
    for nothing in ("gone", "file"):
        with pytest.raises(LocalProblem):
            find_folder(tmp_path / nothing)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    here = find_folder(tmp_path / "folder")
    with only_one(here, tmp_path / "home"):
        with pytest.raises(Conflicting) as raised, only_one(here, tmp_path / "home"):
            raise AssertionError
        assert raised.value.code == "sync_running"
    with only_one(here, tmp_path / "home"):
        pass


def test_blocks_are_known_while_something_names_them(database: Database) -> None:
    manifests = Manifests(database)
    kept = [BlockRef(hash_of(b"1"), 1), BlockRef(hash_of(b"22"), 2)]
    lost = [BlockRef(hash_of(b"333"), 3)]
    manifests.keep([kept, lost, []])
    entry = BaseEntry(NodeId("1"), ROOT, "a", Kind.FILE, Content(root_hash(kept), 3), VersionId("v"), MARKS)
    BaseRows(database).apply([Put(entry)])
    manifests.let_go()
    assert manifests.blocks(Content(root_hash(kept), 3)) == kept
    assert manifests.blocks(Content(root_hash(kept), 4)) is None
    assert manifests.blocks(Content(root_hash(lost), 3)) is None


def test_the_ledger_writes_after_the_names_are_on_the_disk(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = LocalFolder(tmp_path)
    ledger = Ledger(database, here, Contents(database, tmp_path), [NodeId("1")])
    here.touch(tmp_path)
    synced: list[dict[NodeId, BaseEntry]] = []
    fsync = os.fsync
    monkeypatch.setattr(
        "client.sync.local_changes.os.fsync",
        lambda descriptor: (synced.append(BaseRows(database).load()), fsync(descriptor)),
    )
    ledger.note(changes=[Put(file("2")), Drop((NodeId("1"),))])
    assert ledger.has_row(NodeId("2")) and not ledger.has_row(NodeId("1"))
    assert BaseRows(database).load() == {}
    ledger.flush()
    assert synced == [{}], "the folder was brought to the disk once, before any row was there"
    assert BaseRows(database).load().keys() == {NodeId("2")}


def test_a_decision_is_kept_with_what_it_was_made_of(database: Database) -> None:
    local = LocalEntry(("folder", "a"), Kind.FILE, OTHER, MARKS)
    trees = Trees({NodeId("1"): file("1")}, LocalTree({local.path: local}), RemoteTree(ROOT, {}))
    rule = KNOWN[Change.EDITED, Change.ABSENT]
    action = Upload(rule, local.path, local.path, OTHER, MARKS, ROOT, NodeId("1"), VersionId("v1"))
    decisions = Decisions(database)
    decisions.keep([decision(action, trees, "done", "2024-01-01T00:00:00Z")])
    assert decisions.about("folder/a") == Decision(
        "folder/a",
        "2024-01-01T00:00:00Z",
        "edited_here_deleted_there",
        rule.why,
        "Upload",
        "done",
        State("file", "file", 5, CONTENT.root_hash, "v1"),
        State("file", "a", 7, OTHER.root_hash),
        None,
    )
    assert decisions.about("folder/b") is None


def test_only_the_newest_decisions_are_kept(database: Database) -> None:
    decisions = Decisions(database)
    times = [f"2024-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(KEPT + 5)]
    decisions.keep(
        Decision(str(n), time, NEW_HERE.name, "", "", "", None, None, None) for n, time in enumerate(times)
    )
    decisions.trim()
    assert decisions.about("4") is None
    assert decisions.about("5") is not None
