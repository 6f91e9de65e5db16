"""The journal for clients: without gaps, in whole seqs, honest about what is left, and enough to rebuild the tree."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from shared.domain.accounts import Caller, Role
from shared.domain.errors import CursorReset, InvalidToken, Malformed
from shared.domain.ids import NodeId, UserId
from shared.domain.names import parse_path
from shared.ports.tables_files import NodeKind
from shared.ports.tables_journal import ChangeKind
from shared.usecases.follow_changes import Changes
from tests.support.replayer import Replayer
from tests.support.world import World, nobody

PURPOSE = "cursor"


async def everything(world: World, caller: Caller) -> dict[NodeId, tuple[NodeId | None, str, str | None]]:
    """The tree by walking through its folders; as Replayer.tree shows it."""
    found: dict[NodeId, tuple[NodeId | None, str, str | None]] = {}
    waiting = ["/"]
    while waiting:
        at = parse_path(waiting.pop())
        page = await world.list_files.folder(caller, None, at, cursor=None, limit=1000)
        for entry in [*(page.folders or []), *page.files]:
            head = entry.node.head.id if entry.node.head else None
            found[entry.node.id] = (entry.node.parent, entry.node.name, head)
        waiting += [entry.path for entry in page.folders or []]
    return found


async def folder_of(world: World, caller: Caller, name: str) -> NodeId:
    found = await world.list_files.search(caller, None, name, cursor=None, limit=10)
    return next(entry.node.id for entry in found.folders or [] if entry.node.name == name)


async def delete(world: World, caller: Caller, folder: NodeId) -> None:
    await world.change_folders.delete(caller, folder, key=None)


async def restore(world: World, caller: Caller, node: NodeId) -> None:
    await world.use_trash.restore(caller, node, path=None, key=None)


def kinds(pages: list[Changes]) -> list[tuple[int, str]]:
    return [(told.seq, told.kind.value) for page in pages for told in page.entries]


def assert_honest(pages: list[Changes]) -> None:
    """cursor_is_honest: a page that promised more was followed by one that was not empty."""
    for page, following in pairwise(pages):
        assert page.has_more
        assert following.entries


async def test_every_change_is_one_seq_and_tells_what_it_did(world: World, ann: Caller) -> None:
    client = Replayer(world, ann)
    await client.catch_up(10)
    first = await world.upload(ann, "/a/f", b"1")
    await world.upload(ann, "/a/f", b"2")
    folder = await folder_of(world, ann, "a")
    await world.change_folders.move(ann, first.file_id, NodeKind.FILE, parse_path("/a/g"), key=None)
    await world.change_folders.move(ann, folder, NodeKind.FOLDER, parse_path("/b"), key=None)
    await world.delete_file(ann, first.file_id)
    await restore(world, ann, first.file_id)
    await delete(world, ann, folder)
    await restore(world, ann, folder)
    await world.use_versions.restore(ann, first.file_id, first.version_id, idempotency_key=None)
    await world.delete_file(ann, first.file_id)
    await world.use_trash.purge(ann, first.file_id, key=None)
    await delete(world, ann, folder)
    await world.use_trash.purge(ann, folder, key=None)
    pages = await client.catch_up(500)
    assert kinds(pages) == [
        (1, "folder_created"),
        (1, "file_created"),
        (2, "file_changed"),
        (3, "file_moved"),
        (4, "folder_moved"),
        (5, "file_deleted"),
        (6, "file_restored"),
        (7, "folder_deleted"),
        (8, "folder_restored"),
        (9, "file_changed"),
        (10, "file_deleted"),
        (11, "file_purged"),
        (12, "folder_deleted"),
        (13, "folder_purged"),
    ]
    assert all(told.node is None and told.path is None for told in pages[0].entries)
    assert {told.device for told in pages[0].entries} == {ann.device_id}
    assert (client.tree(), client.nodes) == ({}, {})


async def test_journal_has_no_gap_and_pages_never_split_a_seq(world: World, ann: Caller) -> None:
    start = await world.follow_changes(ann, cursor=None, limit=1)
    assert (start.entries, start.has_more) == ([], False)
    await world.upload(ann, "/a/b/c/f", b"x")
    await world.upload(ann, "/g", b"x")
    await world.upload(ann, "/d/e/f", b"x")
    expected = [(1, 4), (2, 1), (3, 3)]
    for limit in range(1, 10):
        client = Replayer(world, ann, start.cursor)
        pages = await client.catch_up(limit)
        assert_honest(pages)
        seqs = [told.seq for page in pages for told in page.entries]
        assert [(seq, seqs.count(seq)) for seq in dict.fromkeys(seqs)] == expected
        for page, following in pairwise(pages):
            assert page.entries[-1].seq < following.entries[0].seq
            assert len(page.entries) <= max(limit, 4)
        assert client.tree() == await everything(world, ann)


async def test_at_the_end_the_cursor_stays_and_goes_on_when_something_happens(
    world: World, ann: Caller
) -> None:
    client = Replayer(world, ann)
    await client.catch_up(10)
    for number in range(3):
        quiet = await client.page(10)
        assert (quiet.entries, quiet.has_more) == ([], False)
        made = await world.upload(ann, f"/f{number}", b"x")
        page = await client.page(10)
        assert [(told.seq, told.node_id, told.path) for told in page.entries] == [
            (made.seq, made.file_id, f"/f{number}")
        ]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_journal_rebuilds_tree_with_changes_between_the_pages_of_the_snapshot(
    world: World, ann: Caller, limit: int
) -> None:
    files = [await world.upload(ann, f"/{top}/{name}", b"x") for top in "ab" for name in "fg"]
    a, b = await folder_of(world, ann, "a"), await folder_of(world, ann, "b")
    client = Replayer(world, ann)
    first = await client.page(limit)
    assert first.has_more is (limit < 6)
    await world.change_folders.move(ann, b, NodeKind.FOLDER, parse_path("/a/b"), key=None)
    await world.delete_file(ann, files[0].file_id)
    await client.page(limit)
    await world.upload(ann, "/a/new/deep", b"x")
    await delete(world, ann, a)
    await client.page(limit)
    await restore(world, ann, a)
    await restore(world, ann, files[0].file_id)
    assert_honest(await client.catch_up(limit))
    assert client.tree() == await everything(world, ann)


@pytest.mark.parametrize("seen", ["before", "while deleted", "made while away"])
async def test_journal_rebuilds_tree_of_a_restored_folder_whoever_saw_it(
    world: World, ann: Caller, seen: str
) -> None:
    """Its restoring is one entry, and what is below must be known by then."""
    client = Replayer(world, ann)
    if seen == "made while away":
        await client.catch_up(10)
    await world.upload(ann, "/top/sub/f", b"x")
    early = await world.upload(ann, "/top/sub/early", b"x")
    await world.delete_file(ann, early.file_id)
    if seen == "before":
        await client.catch_up(10)
    top = await folder_of(world, ann, "top")
    await delete(world, ann, top)
    await client.catch_up(2)
    assert client.tree() == {}
    await restore(world, ann, top)
    pages = await client.catch_up(10)
    assert kinds(pages)[-1] == (5, "folder_restored")
    assert client.tree() == await everything(world, ann)
    assert len(client.tree()) == 3


async def test_what_is_below_a_deleted_folder_is_told_without_a_path_and_what_is_purged_not_at_all(
    world: World, ann: Caller
) -> None:
    file = await world.upload(ann, "/top/f", b"x")
    top = await folder_of(world, ann, "top")
    await delete(world, ann, top)
    late = await world.follow_changes(ann, cursor=None, limit=10)
    assert [(told.node_id, told.path) for told in late.entries] == [(file.file_id, None)]
    assert late.entries[0].node is not None
    client = Replayer(world, ann)
    await client.catch_up(10)
    await world.use_trash.purge(ann, top, key=None)
    pages = await client.catch_up(10)
    assert kinds(pages) == [(3, "folder_purged")]
    assert client.nodes == {}
    later = await world.follow_changes(ann, cursor=None, limit=10)
    assert (later.entries, later.has_more) == ([], False)


async def test_a_namespace_that_is_joined_is_told_from_its_beginning(
    world: World, ann: Caller, bob: Caller
) -> None:
    await world.upload(ann, "/mine", b"x")
    theirs = await world.upload(bob, "/theirs", b"x")
    client = Replayer(world, ann)
    await client.catch_up(10)
    await world.add_member(await world.namespace_of(bob), ann, Role.VIEWER)
    pages = await client.catch_up(1)
    assert [told.node_id for page in pages for told in page.entries] == [theirs.file_id]
    assert_honest(pages)


async def test_joining_and_leaving_in_the_middle_of_a_snapshot_harms_nobody(
    world: World, ann: Caller, bob: Caller
) -> None:
    """Whatever the order of the ids: each of the two joins the other's and leaves again."""
    names = {ann: "ann", bob: "bob"}
    for one, other in ((ann, bob), (bob, ann)):
        for number in range(3):
            await world.upload(one, f"/{names[one]}{number}", b"x")
        space = await world.namespace_of(other)
        joined, left = Replayer(world, one), Replayer(world, one)
        await joined.page(1)
        await world.add_member(space, one, Role.VIEWER)
        await left.page(1)
        pages = await joined.catch_up(2)
        assert_honest(pages)
        own = {f"{names[one]}{number}" for number in range(3)}
        known = {name for _, name, _ in joined.tree().values()}
        theirs = {name for (name,) in world.sql("SELECT name FROM nodes WHERE parent_id = :ns", ns=space)}
        assert known == own | theirs
        world.sql("DELETE FROM members WHERE ns_id = :ns AND user_id = :user", ns=space, user=one.user_id)
        await left.catch_up(2)
        await joined.catch_up(2)
        assert {name for _, name, _ in left.tree().values()} >= own


# --- cursors


async def test_tenant_isolation_another_users_cursor_is_reset(world: World, ann: Caller, bob: Caller) -> None:
    await world.upload(ann, "/a", b"x")
    await world.upload(ann, "/b", b"x")
    for limit in (1, 10):
        hers = await world.follow_changes(ann, cursor=None, limit=limit)
        with pytest.raises(CursorReset):
            await world.follow_changes(bob, cursor=hers.cursor, limit=10)


async def test_a_cursor_that_is_not_ours_is_malformed(world: World, ann: Caller) -> None:
    cursor = (await world.follow_changes(ann, cursor=None, limit=10)).cursor
    other = "A" if cursor[5] != "A" else "B"
    files = await world.list_files.whole_tree(ann, None, cursor=None, limit=1)
    assert files.next_cursor is None
    foreign = world.seals.seal("page cursor", json.dumps({"user": ann.user_id}).encode())
    for wrong in (
        "",
        "x",
        "ä",
        cursor[:-1],
        cursor + "A",
        cursor[:5] + other + cursor[6:],
        foreign,
        "a" * 5000,
    ):
        with pytest.raises(Malformed):
            await world.follow_changes(ann, cursor=wrong, limit=10)


async def test_a_journal_that_began_anew_resets_the_cursor(world: World, ann: Caller) -> None:
    """A database restored to an earlier time has lost seqs that clients have seen; an epoch says so as well."""
    client = Replayer(world, ann)
    await client.catch_up(10)
    await world.upload(ann, "/f", b"x")
    await client.catch_up(10)
    namespace = await world.namespace_of(ann)
    for lost in ("seq = seq - 1", "epoch = epoch + 1"):
        world.sql(f"UPDATE namespaces SET {lost} WHERE ns_id = :ns", ns=namespace)
        with pytest.raises(CursorReset):
            await client.page(10)
        world.sql("UPDATE namespaces SET seq = 1, epoch = 1 WHERE ns_id = :ns", ns=namespace)
    assert (await client.page(10)).entries == []


async def test_who_is_not_logged_in_is_told_nothing(world: World, ann: Caller) -> None:
    cursor = (await world.follow_changes(ann, cursor=None, limit=10)).cursor
    for stranger in (nobody(), replace(ann, user_id=UserId(world.ids.new())), replace(ann, epoch=2)):
        with pytest.raises(InvalidToken):
            await world.follow_changes(stranger, cursor=cursor, limit=10)


def test_every_kind_of_change_fits_its_column() -> None:
    assert max(len(kind) for kind in ChangeKind) <= 16
