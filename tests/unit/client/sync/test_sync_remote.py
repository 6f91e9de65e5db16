"""The server's tree, from its journal: also when pages end anywhere, and when the journal begins anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from client.api import Api
from client.errors import Conflicting, Unexpected, Unreachable
from client.sync.base_rows import BaseRows, Put
from client.sync.database import Database
from client.sync.remote import ROOT, RemoteFollower, load_remote
from client.sync.trees import BaseEntry, Content, Kind, RemoteEntry
from client.wire import Change, Changes
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId

HASH = "a" * 64


@dataclass
class Journal:
    """Serves pages as the API does; a cursor is the number of entries before it, of an epoch."""

    entries: list[Change] = field(default_factory=list)
    page: int = 1_000
    epoch: int = 0
    calls: int = 0
    fails_at: int | None = None

    def changes(self, cursor: str | None, *, limit: int = 1_000) -> Changes:
        self.calls += 1
        if self.calls == self.fails_at:
            raise Unreachable("away")
        epoch, start = (int(part) for part in cursor.split(":")) if cursor else (self.epoch, 0)
        if epoch != self.epoch:
            raise Conflicting("start again", code="cursor_reset")
        end = min(len(self.entries), start + min(limit, self.page))
        return Changes(
            changes=self.entries[start:end], cursor=f"{self.epoch}:{end}", has_more=end < len(self.entries)
        )


def folder(node: str, parent: str = "ns", name: str = "folder", **more: Any) -> Change:
    return Change(
        **{
            "namespace": "ns",
            "kind": "folder_created",
            "file_id": node,
            "type": "folder",
            "parent_id": parent,
            "name": name,
            **more,
        }
    )


def file(node: str, parent: str = "ns", name: str = "file", **more: Any) -> Change:
    return Change(
        **{
            "namespace": "ns",
            "kind": "file_created",
            "file_id": node,
            "type": "file",
            "parent_id": parent,
            "name": name,
            "version_id": "v1",
            "size": 3,
            "root_hash": HASH,
            "modified_at": "2024-01-01T00:00:00+00:00",
            **more,
        }
    )


def gone(node: str, kind: str) -> Change:
    return Change(namespace="ns", kind=kind, file_id=node)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


def follow(database: Database, journal: Journal) -> int:
    return RemoteFollower(cast(Api, journal), database).catch_up()


def names(database: Database) -> dict[str, str]:
    return {node: entry.name for node, entry in load_remote(database).entries.items()}


def test_entries_become_nodes_below_one_root(database: Database) -> None:
    follow(database, Journal([folder("f"), file("a", "f", "a.txt")]))
    tree = load_remote(database)
    assert tree.root_id == ROOT
    assert tree.entries == {
        NodeId("f"): RemoteEntry(NodeId("f"), ROOT, "folder", Kind.FOLDER),
        NodeId("a"): RemoteEntry(
            NodeId("a"),
            NodeId("f"),
            "a.txt",
            Kind.FILE,
            Content(Sha256(HASH), 3),
            VersionId("v1"),
            "2024-01-01T00:00:00+00:00",
        ),
    }


def test_nothing_new_is_one_call_and_no_entry(database: Database) -> None:
    journal = Journal([file("a")])
    assert follow(database, journal) == 1
    database.put(settled="a digest")
    journal.calls = 0
    assert follow(database, journal) == 0
    assert journal.calls == 1
    assert database.get("settled") == "a digest"


def test_whatever_the_server_tells_ends_the_rest(database: Database) -> None:
    journal = Journal([file("a")])
    follow(database, journal)
    database.put(settled="a digest")
    journal.entries.append(file("a", version_id="v2", kind="file_changed"))
    follow(database, journal)
    assert database.get("settled") is None


@pytest.mark.parametrize("page", [1, 2, 3, 1_000])
def test_pages_may_end_anywhere(database: Database, page: int) -> None:
    entries = [folder("f"), file("a", "f"), file("a", "f", "renamed"), gone("b", "file_deleted"), file("c")]
    assert follow(database, Journal(entries, page=page)) == 5
    assert names(database) == {"f": "folder", "a": "renamed", "c": "file"}


def test_a_failure_between_pages_loses_and_doubles_nothing(database: Database) -> None:
    journal = Journal([file(str(n), name=str(n)) for n in range(10)], page=3, fails_at=3)
    with pytest.raises(Unreachable):
        follow(database, journal)
    assert len(names(database)) == 6
    assert follow(database, journal) == 4
    assert len(names(database)) == 10


def test_what_hangs_below_a_deleted_folder_is_kept_until_it_is_purged(database: Database) -> None:
    journal = Journal([folder("f"), folder("g", "f", "inner"), file("a", "g"), gone("f", "folder_deleted")])
    follow(database, journal)
    assert names(database).keys() == {"g", "a"}, "their way up is broken, which the planner knows to read"
    journal.entries.append(folder("f", kind="folder_restored"))
    follow(database, journal)
    assert names(database).keys() == {"f", "g", "a"}
    journal.entries += [gone("f", "folder_deleted"), gone("f", "folder_purged")]
    follow(database, journal)
    assert names(database) == {}


def test_a_journal_that_began_anew_is_read_from_its_beginning(database: Database) -> None:
    journal = Journal([file("a"), file("b")])
    follow(database, journal)
    journal.epoch, journal.entries = 1, [file("b")]
    assert follow(database, journal) == 1
    assert names(database).keys() == {"b"}


def test_a_subtree_is_told_with_its_versions(database: Database) -> None:
    journal = Journal([folder("f"), folder("g", "f", "inner"), file("a", "g"), file("b")])
    follow(database, journal)
    follower = RemoteFollower(cast(Api, journal), database)
    assert follower.subtree(NodeId("f")) == {"f": None, "g": None, "a": "v1"}
    assert follower.subtree(NodeId("b")) == {"b": "v1"}
    assert follower.subtree(NodeId("unknown")) is None


def test_two_trees_are_refused(database: Database) -> None:
    follow(database, Journal([file("a"), file("b", "other", namespace="other")]))
    with pytest.raises(Unexpected):
        load_remote(database)


def test_an_empty_tree_has_a_root_all_the_same(database: Database) -> None:
    follow(database, Journal())
    assert load_remote(database).root_id == ROOT
    assert load_remote(database).entries == {}


def entry(node: str, parent: str = ROOT, name: str = "file", version: str | None = "v1") -> BaseEntry:
    kind = Kind.FOLDER if version is None else Kind.FILE
    return BaseEntry(NodeId(node), NodeId(parent), name, kind, None, version and VersionId(version))


@pytest.mark.parametrize(
    ("told", "base", "in_step"),
    [
        ([], [], True),
        (
            [file("a"), folder("f"), file("b", "f")],
            [entry("a"), entry("f", name="folder", version=None), entry("b", "f")],
            True,
        ),
        ([file("a")], [entry("a"), entry("b")], True),  # nothing was told of b
        ([file("a")], [], False),
        ([file("a", version_id="v2")], [entry("a")], False),
        ([file("a", name="other")], [entry("a")], False),
        ([file("a", "f")], [entry("a")], False),
        ([file("a"), gone("a", "file_deleted")], [entry("a")], False),
        ([folder("a", name="file")], [entry("a")], False),
    ],
)
def test_what_is_told_is_compared_with_the_base(
    database: Database, told: list[Change], base: list[BaseEntry], in_step: bool
) -> None:
    journal = Journal([file("before", name="before")])
    follower = RemoteFollower(cast(Api, journal), database)
    follower.catch_up()
    assert not follower.in_step()
    follower.listen()
    BaseRows(database).apply([Put(each) for each in base])
    journal.entries += told
    follower.catch_up()
    assert follower.in_step() is in_step
