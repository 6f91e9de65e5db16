"""Undo: the tree is what it was before the device's changes, and what others have built stays."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.accounts import Caller, Role
from shared.domain.errors import Forbidden, KeyReused, NameExists, NotFound, TooLarge, Unacceptable
from shared.domain.ids import DeviceId, NodeId
from shared.domain.names import parse_path
from shared.ports.tables_files import NodeKind
from shared.usecases import undoing as module
from shared.usecases.undo_changes import UndoChanges
from shared.usecases.undoing import UndoRequest
from tests.support.faults import Cut, Moment, cuts
from tests.support.invariants import check_invariants
from tests.support.samples import noise
from tests.support.world import World
from tests.unit.usecases.test_usecases_faults import broken

ONE, TWO, THREE = (noise(word, 1000) for word in ("one", "two", "three"))


async def tree(world: World, caller: Caller) -> Mapping[str, str]:
    """The living tree: the root hash of each file, "folder" for each folder, by path."""
    found: dict[str, str] = {}
    waiting: list[str] = ["/"]
    while waiting:
        listing = await world.list_files.folder(
            caller, None, parse_path(waiting.pop()), cursor=None, limit=1000
        )
        for entry in listing.folders or ():
            found[entry.path] = "folder"
            waiting.append(entry.path)
        for entry in listing.files:
            assert entry.node.head
            found[entry.path] = entry.node.head.root_hash
    return found


async def undo(
    world: World,
    caller: Caller,
    device: DeviceId | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    **more: Any,
) -> dict[str, Any]:
    whole = timedelta(days=1000)
    now = world.clock.now()
    request = UndoRequest(device or caller.device_id, since or now - whole, until or now + whole, **more)
    return await UndoChanges(world.tree, world.ids)(caller, request)


def later(world: World) -> datetime:
    """A minute passes; returns the moment between before and after."""
    world.clock.advance(timedelta(minutes=1))
    return world.clock.now() - timedelta(seconds=30)


async def move(world: World, caller: Caller, node: NodeId, path: str, kind: NodeKind = NodeKind.FILE) -> None:
    await world.change_folders.move(caller, node, kind, parse_path(path), key=None)


async def test_an_edit_is_taken_back_as_a_new_version(world: World, ann: Caller) -> None:
    first = await world.upload(ann, "/a", ONE)
    since = later(world)
    await world.upload(ann, "/a", TWO)
    await world.upload(ann, "/a", THREE)
    told = await undo(world, ann, since=since)
    assert told["undone"] == [
        {"id": first.file_id, "kind": "file", "path": "/a", "was": "/a", "did": ["version 1"]}
    ]
    assert await world.read(ann, first.file_id) == ONE
    assert (await world.get_file(ann, first.file_id)).version.number == 4
    check_invariants(world)


async def test_new_things_go_to_the_trash_with_their_folders(world: World, ann: Caller) -> None:
    await world.upload(ann, "/old/a", ONE)
    before = await tree(world, ann)
    since = later(world)
    await world.upload(ann, "/new/deep/a", TWO)
    await world.upload(ann, "/old/b", TWO)
    told = await undo(world, ann, since=since)
    assert told["undone_count"] == 4
    assert {each["path"] for each in told["undone"]} == {None}
    assert await tree(world, ann) == before
    check_invariants(world)


async def test_deleted_things_come_back(world: World, ann: Caller) -> None:
    one = await world.upload(ann, "/docs/a", ONE)
    await world.upload(ann, "/docs/b", TWO)
    before = await tree(world, ann)
    since = later(world)
    await world.delete_file(ann, one.file_id)
    folder = (await world.list_files.folder(ann, None, (), cursor=None, limit=10)).folders
    assert folder
    await world.change_folders.delete(ann, folder[0].node.id, key=None)
    await undo(world, ann, since=since)
    assert await tree(world, ann) == before
    check_invariants(world)


async def test_moved_things_go_back_even_in_a_circle(world: World, ann: Caller) -> None:
    one, two, three = [await world.upload(ann, f"/{n}", noise(n, 100)) for n in ("a", "b", "c")]
    before = await tree(world, ann)
    since = later(world)
    await move(world, ann, one.file_id, "/temporary")
    await move(world, ann, two.file_id, "/a")
    await move(world, ann, three.file_id, "/b")
    await move(world, ann, one.file_id, "/c")
    told = await undo(world, ann, since=since)
    assert (told["undone_count"], told["kept_count"]) == (3, 0)
    assert await tree(world, ann) == before
    check_invariants(world)


async def test_folders_that_were_put_into_each_other_come_apart(world: World, ann: Caller) -> None:
    ids = {}
    for path in ("/a", "/a/b", "/c"):
        made = await world.change_folders.make(ann, None, parse_path(path), key=None)
        ids[path] = NodeId(made["folder_id"])
    before = await tree(world, ann)
    since = later(world)
    await move(world, ann, ids["/a/b"], "/b", NodeKind.FOLDER)
    await move(world, ann, ids["/a"], "/b/a", NodeKind.FOLDER)
    await move(world, ann, ids["/c"], "/b/a/c", NodeKind.FOLDER)
    await undo(world, ann, since=since)
    assert await tree(world, ann) == before
    check_invariants(world)


async def test_a_name_is_free_when_what_took_it_goes(world: World, ann: Caller) -> None:
    one = await world.upload(ann, "/a", ONE)
    since = later(world)
    await world.delete_file(ann, one.file_id)
    await world.upload(ann, "/a/now a folder", TWO)
    told = await undo(world, ann, since=since)
    assert told["kept_count"] == 0
    assert list(await tree(world, ann)) == ["/a"]
    assert await world.read(ann, one.file_id) == ONE


async def test_only_that_time_counts(world: World, ann: Caller) -> None:
    for number, content in enumerate((ONE, TWO, THREE)):
        await world.upload(ann, f"/{number}", content)
        moment = later(world)
        if number == 0:
            since = moment
        if number == 1:
            until = moment
    told = await undo(world, ann, since=since, until=until)
    assert [each["was"] for each in told["undone"]] == ["/1"]
    assert list(await tree(world, ann)) == ["/0", "/2"]


async def test_what_was_changed_again_later_stays(world: World, ann: Caller) -> None:
    made = await world.upload(ann, "/a", ONE)
    until = later(world)
    await world.upload(ann, "/a", TWO)
    told = await undo(world, ann, until=until)
    assert (told["undone"], [each["reason"] for each in told["kept"]]) == ([], ["it was changed again later"])
    assert told["kept"][0]["path"] == "/a"
    assert await world.read(ann, made.file_id) == TWO


async def test_no_lost_update_what_another_device_built_stays(world: World, ann: Caller) -> None:
    other = await world.log_in("ann")
    edited = await world.upload(ann, "/edited", ONE)
    await world.upload(other, "/edited", TWO)
    await world.upload(ann, "/edited", THREE)
    await world.upload(ann, "/mine/and", ONE)
    await world.upload(other, "/mine/theirs", TWO)
    told = await undo(world, ann)
    assert await world.read(ann, edited.file_id) == TWO, "the other one's version, not the first"
    assert sorted(await tree(world, ann)) == ["/edited", "/mine", "/mine/theirs"]
    assert [(each["path"], each["reason"]) for each in told["kept"]] == [
        ("/mine", "it holds what isn't undone")
    ]
    check_invariants(world)


async def test_a_name_that_is_taken_meanwhile_is_not_overwritten(world: World, ann: Caller) -> None:
    other = await world.log_in("ann")
    one = await world.upload(other, "/a", ONE)
    await world.delete_file(ann, one.file_id)
    theirs = await world.upload(other, "/a", TWO)
    told = await undo(world, ann)
    assert [each["id"] for each in told["kept"]] == [one.file_id]
    assert await world.read(ann, theirs.file_id) == TWO


@pytest.mark.parametrize("restored", [True, False])
async def test_what_would_come_to_lie_too_deep_stays_as_it_is(
    world: World, ann: Caller, restored: bool
) -> None:
    """Its folder was moved deep down by another device, deeper than a path can name with what comes back."""
    other = await world.log_in("ann")
    made = await world.upload(other, "/a/" + "x/" * 10 + "file", ONE)
    deep = (await world.list_files.folder(ann, None, (), cursor=None, limit=10)).folders
    child = (await world.list_files.folder(ann, None, parse_path("/a"), cursor=None, limit=10)).folders
    assert deep
    assert child
    moved = child[0].node.id
    if restored:
        await world.change_folders.delete(ann, moved, key=None)
    else:
        await move(world, ann, moved, "/aside", NodeKind.FOLDER)
    await world.upload(other, "/" + "d/" * 55 + "bottom", ONE)
    await move(world, other, deep[0].node.id, "/" + "d/" * 54 + "d/a", NodeKind.FOLDER)
    before = await tree(world, other)
    told = await undo(world, other, ann.device_id)
    assert (told["undone"], [each["id"] for each in told["kept"]]) == ([], [moved])
    assert "more than 64 names" in told["kept"][0]["reason"]
    assert await tree(world, other) == before
    assert world.sql("SELECT COUNT(*) FROM changes WHERE kind = 'folder_restored'") == [(0,)]
    assert await world.get_file(ann, made.file_id) if not restored else True


async def test_what_was_purged_is_gone(world: World, ann: Caller) -> None:
    made = await world.upload(ann, "/a", ONE)
    since = later(world)
    await world.delete_file(ann, made.file_id)
    await world.use_trash.purge(ann, made.file_id, key=None)
    told = await undo(world, ann, since=since)
    assert [each["reason"] for each in told["kept"]] == ["it was purged for good"]


async def test_an_undo_can_be_undone(world: World, ann: Caller) -> None:
    other = await world.log_in("ann")
    one = await world.upload(ann, "/a", ONE)
    two = await world.upload(ann, "/b", ONE)
    since = later(world)
    await world.upload(ann, "/a", TWO)
    (await move(world, ann, one.file_id, "/docs"),)
    await world.delete_file(ann, two.file_id)
    await world.upload(ann, "/c", THREE)
    wrong = await tree(world, ann)
    later(world)
    await undo(world, other, ann.device_id, since=since)
    assert await tree(world, ann) != wrong
    await undo(world, ann, other.device_id)
    assert await tree(world, ann) == wrong
    check_invariants(world)


async def test_a_dry_run_tells_the_same_and_leaves_nothing(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", ONE)
    since = later(world)
    await world.upload(ann, "/a", TWO)
    await world.upload(ann, "/b", TWO)
    before = world.sql("SELECT * FROM nodes"), world.sql("SELECT * FROM changes")
    told = await undo(world, ann, since=since, dry_run=True)
    assert (world.sql("SELECT * FROM nodes"), world.sql("SELECT * FROM changes")) == before
    assert await undo(world, ann, since=since) == told


async def test_each_node_has_a_seq_of_its_own(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", ONE)
    since = later(world)
    for name in "bcd":
        await world.upload(ann, f"/{name}", ONE)
    await undo(world, ann, since=since)
    assert world.sql("SELECT seq, kind FROM changes WHERE seq > 4") == [
        (seq, "file_deleted") for seq in (5, 6, 7)
    ]
    page = await world.use_trash.page(ann, None, before=None, limit=2)
    rest = await world.use_trash.page(ann, None, before=page[-1].deleted_seq, limit=2)
    assert len(page) + len(rest) == 3


async def test_commit_is_idempotent_the_same_key_gives_the_same_answer(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", ONE)
    since, until = world.clock.now(), later(world)
    first = await undo(world, ann, since=since, until=until, idempotency_key="once")
    assert await undo(world, ann, since=since, until=until, idempotency_key="once") == first
    with pytest.raises(KeyReused):
        await undo(world, ann, since=until, until=until, idempotency_key="once")


async def test_another_users_namespace_is_not_there_and_a_viewer_may_not(
    world: World, ann: Caller, bob: Caller
) -> None:
    await world.upload(ann, "/a", ONE)
    shared = await world.namespace_of(ann)
    with pytest.raises(NotFound):
        await undo(world, bob, ann.device_id, namespace=shared)
    await world.add_member(shared, bob, Role.VIEWER)
    with pytest.raises(Forbidden):
        await undo(world, bob, ann.device_id, namespace=shared)
    assert (await undo(world, bob, ann.device_id))["undone"] == [], "nothing in bob's own"


async def test_limits(world: World, ann: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    now = world.clock.now()
    with pytest.raises(Unacceptable):
        UndoRequest(ann.device_id, now, now - timedelta(seconds=1))
    await world.batch(ann, {f"/{number}": [] for number in range(3)})
    monkeypatch.setattr(module, "MOST_SHOWN", 1)
    told = await undo(world, ann, dry_run=True)
    assert (len(told["undone"]), told["undone_count"]) == (1, 3)
    monkeypatch.setattr(module, "MOST_NODES", 2)
    with pytest.raises(TooLarge):
        await undo(world, ann)


@pytest.mark.parametrize("seed", range(40))
async def test_journal_rebuilds_tree_after_random_changes_the_tree_is_what_it_was(
    world: World, ann: Caller, seed: int
) -> None:
    """Whatever one device did, alone, is undone without a rest; but for restored folders, which may hold more."""
    print("seed", seed)
    chance = random.Random(seed)
    names = ["/a", "/b", "/a/c", "/b/d", "/a/c/e", "/x", "/x/y"]
    for _ in range(12):
        await change(world, ann, chance, names)
    before = await tree(world, ann)
    since = later(world)
    for _ in range(chance.randrange(1, 25)):
        await change(world, ann, chance, names)
    told = await undo(world, ann, since=since)
    assert told["kept"] == [], told
    assert await tree(world, ann) == before
    check_invariants(world)
    now = world.clock.now() + timedelta(seconds=1)
    world.clock.advance(timedelta(seconds=1))
    assert (await undo(world, ann, since=now))["undone_count"] == 0


async def change(world: World, caller: Caller, chance: random.Random, names: list[str]) -> None:
    """One random change, if it is possible as things are."""
    path = chance.choice(names)
    here = world.sql("SELECT node_id, kind FROM nodes WHERE parent_id IS NOT NULL AND deleted_seq IS NULL")
    node, kind = chance.choice(here) if here else (None, None)
    try:
        match chance.randrange(6):
            case 0 | 1:
                await world.upload(caller, path, noise(str(chance.random()), 50))
            case 2:
                await world.change_folders.make(caller, None, parse_path(path), key=None)
            case 3 if node:
                await move(world, caller, node, path, NodeKind(kind))
            case 4 if node and kind == "file":
                await world.delete_file(caller, node)
            case 4 if node:
                await world.change_folders.delete(caller, node, key=None)
            case 5:
                trashed = await world.use_trash.page(caller, None, before=None, limit=10)
                files = [one for one in trashed if one.node.kind is NodeKind.FILE]
                if files:
                    back = chance.choice(files).node.id
                    await world.use_trash.restore(caller, back, path=parse_path(path), key=None)
            case _:
                pass
    except (NameExists, NotFound, Unacceptable, module.FolderCycle):
        pass


@pytest.mark.parametrize("moment", list(Moment))
async def test_commit_is_atomic_an_undo_that_is_cut_off_anywhere(world: World, moment: Moment) -> None:
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        made = await world.upload(caller, "/a", ONE)
        since, _ = later(world), await world.upload(caller, "/a", TWO)
        await world.upload(caller, "/b", TWO)
        wrong = await tree(world, caller)
        until = later(world)
        again = {"since": since, "until": until, "idempotency_key": "once"}
        try:
            await undo(broken(world, cut), caller, **again)
        except Cut:
            assert cut.where
        now = await tree(world, caller)
        assert now == wrong or list(now) == ["/a"], cut.where
        assert (await undo(world, caller, **again))["undone_count"] == 2, cut.where
        assert await world.read(caller, made.file_id) == ONE, cut.where
    assert number > 15, "hardly any call was hit"
    check_invariants(world)
