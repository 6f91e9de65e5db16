"""Folders: made, moved, renamed, deleted; and what is below a deleted one can't be reached by any way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event

from shared.domain.accounts import Caller, Role
from shared.domain.errors import (
    FileNotFound,
    FolderCycle,
    Forbidden,
    KeyReused,
    Malformed,
    NameExists,
    NotFound,
    Unacceptable,
)
from shared.domain.ids import NodeId
from shared.domain.names import parse_path
from shared.domain.versions import OnHead
from shared.ports.tables_files import NodeKind
from shared.usecases.drafting import CommitRequest
from tests.support.samples import noise, ref_of
from tests.support.world import World

FILE, FOLDER = NodeKind.FILE, NodeKind.FOLDER


async def make(world: World, caller: Caller, path: str, key: str | None = None) -> NodeId:
    made = await world.change_folders.make(caller, None, parse_path(path), key=key)
    return NodeId(made["folder_id"])


async def move(
    world: World, caller: Caller, node: NodeId, path: str, kind: NodeKind = FOLDER, key: str | None = None
) -> dict[str, Any]:
    return await world.change_folders.move(caller, node, kind, parse_path(path), key=key)


async def tree(world: World, caller: Caller) -> dict[str, NodeId]:
    """Every path that a walk from the root finds, folders with a slash at the end."""
    found: dict[str, NodeId] = {}
    waiting = ["/"]
    while waiting:
        at = waiting.pop()
        page = await world.list_files.folder(caller, None, parse_path(at), cursor=None, limit=1000)
        assert page.folders is not None
        found |= {entry.path: entry.node.id for entry in page.files}
        found |= {f"{entry.path}/": entry.node.id for entry in page.folders}
        waiting += [entry.path for entry in page.folders]
    return found


def kinds(world: World) -> list[str]:
    return [kind for (kind,) in world.sql("SELECT kind FROM changes ORDER BY seq, position")]


# --- made, moved, renamed


async def test_a_folder_is_made_in_one_that_is_there(world: World, ann: Caller) -> None:
    outer = await make(world, ann, "/Docs")
    made = await world.change_folders.make(ann, None, parse_path("/docs/new"), key=None)
    assert (made["path"], made["seq"]) == ("/Docs/new", 2), "the path is told as it is stored"
    assert await tree(world, ann) == {"/Docs/": outer, "/Docs/new/": made["folder_id"]}
    assert kinds(world) == ["folder_created"] * 2


async def test_folders_that_can_not_be_made(world: World, ann: Caller) -> None:
    await make(world, ann, "/a")
    await world.upload(ann, "/f", b"file")
    for path in ("/a", "/A", "/f", "/F"):
        with pytest.raises(NameExists) as taken:
            await make(world, ann, path)
        assert taken.value.entry == path[1:].lower()
    for path in ("/none/b", "/f/b", "/a/none/b"):
        with pytest.raises(NotFound):
            await make(world, ann, path)
    with pytest.raises(Unacceptable):
        await make(world, ann, "/")
    assert kinds(world) == ["folder_created", "file_created"]


async def test_a_move_takes_all_that_is_below_along_with_one_entry(world: World, ann: Caller) -> None:
    file = await world.upload(ann, "/a/b/c.txt", b"content")
    target = await make(world, ann, "/Target")
    before = await tree(world, ann)
    moved = await move(world, ann, before["/a/b/"], "/target/moved")
    assert (moved["id"], moved["path"]) == (before["/a/b/"], "/Target/moved")
    assert await tree(world, ann) == {
        "/a/": before["/a/"],
        "/Target/": target,
        "/Target/moved/": before["/a/b/"],
        "/Target/moved/c.txt": file.file_id,
    }
    assert kinds(world)[-1:] == ["folder_moved"]
    assert moved["seq"] == 3
    assert (await world.get_file(ann, file.file_id)).path == "/Target/moved/c.txt"


async def test_a_file_is_renamed_and_keeps_id_and_versions(world: World, ann: Caller) -> None:
    first = await world.upload(ann, "/a.txt", b"one")
    await world.upload(ann, "/a.txt", b"two")
    moved = await move(world, ann, first.file_id, "/b.txt", FILE)
    assert kinds(world)[-1] == "file_moved"
    assert moved == {"id": first.file_id, "path": "/b.txt", "seq": 3}
    assert await world.read(ann, first.file_id, first.version_id) == b"one"
    assert await world.read(ann, first.file_id) == b"two"
    anew = await world.upload(ann, "/a.txt", b"three")
    assert anew.file_id != first.file_id, "the old path is free"


async def test_only_the_case_of_a_name_can_be_changed(world: World, ann: Caller) -> None:
    folder = await make(world, ann, "/straße")
    assert (await move(world, ann, folder, "/STRASSE"))["path"] == "/STRASSE"
    assert await tree(world, ann) == {"/STRASSE/": folder}


async def test_a_folder_can_not_be_moved_into_itself_or_below(world: World, ann: Caller) -> None:
    await make(world, ann, "/a")
    await make(world, ann, "/a/b")
    await make(world, ann, "/a/b/c")
    before = await tree(world, ann)
    for path in ("/a/x", "/a/b/x", "/A/B/c/x", "/a/b"):
        with pytest.raises(FolderCycle):
            await move(world, ann, before["/a/"], path)
    assert await tree(world, ann) == before
    assert len(kinds(world)) == 3


async def test_moves_that_are_refused_change_nothing(world: World, ann: Caller) -> None:
    folder, other = await make(world, ann, "/folder"), await make(world, ann, "/other")
    file = await world.upload(ann, "/file", b"x")
    before, seqs = await tree(world, ann), len(kinds(world))
    refusals: list[tuple[NodeId, NodeKind, str, type[Exception]]] = [
        (folder, FOLDER, "/OTHER", NameExists),
        (folder, FOLDER, "/file", NameExists),
        (file.file_id, FILE, "/folder", NameExists),
        (folder, FOLDER, "/none/x", NotFound),
        (folder, FOLDER, "/file/x", NotFound),
        (folder, FILE, "/x", NotFound),
        (file.file_id, FOLDER, "/x", NotFound),
        (other, FOLDER, "/", Unacceptable),
    ]
    for node, kind, path, error in refusals:
        with pytest.raises(error):
            await move(world, ann, node, path, kind)
    assert await tree(world, ann) == before
    assert len(kinds(world)) == seqs


async def test_the_root_is_untouchable(world: World, ann: Caller) -> None:
    root = NodeId(await world.namespace_of(ann))
    await make(world, ann, "/a")
    with pytest.raises(NotFound):
        await move(world, ann, root, "/b")
    with pytest.raises(NotFound):
        await world.change_folders.delete(ann, root, key=None)
    for use in (
        world.use_trash.purge(ann, root, key=None),
        world.use_trash.restore(ann, root, path=None, key=None),
    ):
        with pytest.raises(NotFound):
            await use
    assert kinds(world) == ["folder_created"]


async def test_a_move_can_not_make_a_tree_deeper_than_a_path_can_name(world: World, ann: Caller) -> None:
    deep = "/" + "/".join(["d"] * 40)
    await world.upload(ann, f"{deep}/f", b"x")
    await world.upload(ann, "/e/" + "/".join(["d"] * 30) + "/f", b"x")
    nodes = await tree(world, ann)
    with pytest.raises(Unacceptable):
        await move(world, ann, nodes["/e/"], f"{deep}/e")
    with pytest.raises(Unacceptable):
        await move(world, ann, nodes["/d/"], "/e/" + "/".join(["d"] * 24) + "/x")
    await world.change_folders.delete(ann, nodes["/e/"], key=None)
    with pytest.raises(Unacceptable):
        await world.use_trash.restore(ann, nodes["/e/"], path=parse_path(f"{deep}/e"), key=None)
    # 23 folders, then the 41 names of the other branch: 64.
    await world.upload(ann, "/g/" + "/".join(["d"] * 22) + "/f", b"x")
    moved = await move(world, ann, nodes["/d/"], "/g/" + "/".join(["d"] * 22) + "/d")
    deepest = moved["path"] + "/" + "/".join(["d"] * 39) + "/f"
    assert (await world.list_files.one(ann, None, parse_path(deepest))).files[0].path == deepest


# --- who may


async def test_another_users_folder_is_answered_like_one_that_never_was(
    world: World, ann: Caller, bob: Caller
) -> None:
    hers = await make(world, ann, "/hers")
    never = NodeId(world.ids.new())
    calls: list[Callable[[NodeId], Awaitable[object]]] = [
        lambda node: move(world, bob, node, "/mine"),
        lambda node: move(world, bob, node, "/mine", FILE),
        lambda node: world.change_folders.delete(bob, node, key=None),
        lambda node: world.use_trash.restore(bob, node, path=None, key=None),
        lambda node: world.use_trash.purge(bob, node, key=None),
        lambda node: world.use_versions.page(bob, node, before=None, limit=5),
    ]
    for trashed in (False, True):
        if trashed:
            await world.change_folders.delete(ann, hers, key=None)
        for call in calls:
            answers = []
            for node in (hers, never):
                with pytest.raises(NotFound) as refused:
                    await call(node)
                answers.append((type(refused.value), str(refused.value)))
            assert answers[0] == answers[1]


async def test_a_viewer_looks_and_changes_nothing(world: World, ann: Caller, bob: Caller) -> None:
    folder = await make(world, ann, "/folder")
    file = await world.upload(ann, "/folder/f", b"x")
    shared = await world.namespace_of(ann)
    await world.add_member(shared, bob, Role.VIEWER)
    before = len(kinds(world))
    for refused in (
        world.change_folders.make(bob, shared, parse_path("/new"), key=None),
        move(world, bob, folder, "/new"),
        move(world, bob, file.file_id, "/new", FILE),
        world.change_folders.delete(bob, folder, key=None),
        world.use_versions.restore(bob, file.file_id, file.version_id, idempotency_key=None),
    ):
        with pytest.raises(Forbidden):
            await refused
    assert len(kinds(world)) == before
    found = await world.list_files.search(bob, shared, "F", cursor=None, limit=5)
    assert [entry.path for entry in [*(found.folders or []), *found.files]] == ["/folder", "/folder/f"]
    assert len(await world.use_versions.page(bob, file.file_id, before=None, limit=5)) == 1


# --- below a deleted folder


async def test_nothing_below_a_deleted_folder_can_be_reached(world: World, ann: Caller) -> None:
    file = await world.upload(ann, "/top/sub/f.txt", noise("f", 1000))
    nodes = await tree(world, ann)
    gone = await world.change_folders.delete(ann, nodes["/top/"], key=None)
    assert kinds(world)[-1] == "folder_deleted"
    assert gone == {"id": nodes["/top/"], "seq": 2}
    assert await tree(world, ann) == {}
    everything = await world.list_files.whole_tree(ann, None, cursor=None, limit=10)
    assert everything.files == []
    for text in ("f.txt", "sub", "top"):
        found = await world.list_files.search(ann, None, text, cursor=None, limit=10)
        assert (found.files, found.folders, found.next_cursor) == ([], [], None)
    assert (await world.list_files.one(ann, None, parse_path("/top/sub/f.txt"))).files == []
    again = CommitRequest(OnHead(), [ref_of(noise("f", 1000))], file_id=file.file_id)
    for refused in (
        world.get_file(ann, file.file_id),
        world.get_file(ann, file.file_id, file.version_id),
        world.get_manifest(ann, file.file_id),
        world.commit_file(ann, again),
        world.delete_file(ann, file.file_id),
        world.use_versions.page(ann, file.file_id, before=None, limit=5),
        world.use_versions.restore(ann, file.file_id, file.version_id, idempotency_key=None),
    ):
        with pytest.raises(FileNotFound):
            await refused
    sub = nodes["/top/sub/"]
    for missing in (
        move(world, ann, file.file_id, "/f", FILE),
        move(world, ann, sub, "/sub"),
        move(world, ann, nodes["/top/"], "/top2"),
        make(world, ann, "/top/new"),
        world.change_folders.delete(ann, sub, key=None),
        world.change_folders.delete(ann, nodes["/top/"], key=None),
        world.list_files.folder(ann, None, parse_path("/top"), cursor=None, limit=5),
        world.use_trash.restore(ann, sub, path=parse_path("/sub"), key=None),
        world.use_trash.purge(ann, sub, key=None),
    ):
        with pytest.raises(NotFound):
            await missing
    assert len(kinds(world)) == 4, "refusals leave no entry"


async def test_a_path_below_a_deleted_folder_can_be_made_anew(world: World, ann: Caller) -> None:
    old = await world.upload(ann, "/top/f", b"old")
    nodes = await tree(world, ann)
    await world.change_folders.delete(ann, nodes["/top/"], key=None)
    new = await world.upload(ann, "/top/f", b"new")
    assert new.file_id != old.file_id
    assert (await tree(world, ann))["/top/"] != nodes["/top/"]
    assert await world.read(ann, new.file_id) == b"new"


# --- search


async def search(world: World, caller: Caller, text: str, limit: int = 100) -> list[str]:
    """All paths, page by page."""
    paths: list[str] = []
    cursor: str | None = None
    while True:
        page = await world.list_files.search(caller, None, text, cursor=cursor, limit=limit)
        found = [entry.path for entry in [*(page.folders or []), *page.files]]
        assert len(found) <= limit
        paths += found
        cursor = page.next_cursor
        if cursor is None:
            return paths


async def test_search_takes_every_character_for_itself(world: World, ann: Caller) -> None:
    names = ["100%.txt", "1000.txt", "a_b", "aXb", "[ab]", "b", "Größe", "sub^a", "x!y", "x~y"]
    for name in names:
        await world.upload(ann, f"/{name}", b"")
    expected = {
        "%": ["/100%.txt"],
        "0%": ["/100%.txt"],
        "_": ["/a_b"],
        "A_B": ["/a_b"],
        "[ab]": ["/[ab]"],
        "[": ["/[ab]"],
        "GRÖSSE": ["/Größe"],
        "gro\u0308ss": ["/Größe"],
        "^": ["/sub^a"],
        "!": ["/x!y"],
        "/": [],
        "\\": [],
        "''": [],
        "*": [],
        "?": [],
        "100": ["/100%.txt", "/1000.txt"],
    }
    for text, paths in expected.items():
        assert await search(world, ann, text) == paths, text
    for text in ("\0", "a\0", "\ud800"):
        with pytest.raises(Malformed):
            await search(world, ann, text)


async def test_search_escapes_what_sql_server_takes_for_a_set(world: World, ann: Caller) -> None:
    asked: list[Any] = []
    event.listen(world.engine, "before_cursor_execute", lambda *said: asked.append(said[3]))
    await search(world, ann, "[a]%_/")
    assert any("%/[a]/%/_//%" in parameters for parameters in asked)


async def test_search_goes_page_by_page_and_its_cursors_belong_to_it(world: World, ann: Caller) -> None:
    for number in range(7):
        await world.upload(ann, f"/Report/r{number}.txt", b"")
    await make(world, ann, "/My reports")
    for limit in (1, 2, 3, 8, 9):
        found = await search(world, ann, "R", limit)
        assert sorted(found) == sorted(["/Report", "/My reports", *(f"/Report/r{n}.txt" for n in range(7))])
    page = await world.list_files.search(ann, None, "r", cursor=None, limit=1)
    assert page.next_cursor is not None
    for text in ("re", "x"):
        with pytest.raises(Malformed):
            await world.list_files.search(ann, None, text, cursor=page.next_cursor, limit=1)


async def test_a_listing_shows_paths_as_they_are_stored(world: World, ann: Caller) -> None:
    await world.upload(ann, "/Docs/Sub/f", b"")
    page = await world.list_files.folder(ann, None, parse_path("/docs/SUB"), cursor=None, limit=5)
    assert [entry.path for entry in page.files] == ["/Docs/Sub/f"]


# --- sent again


async def test_commit_is_idempotent_so_is_every_change_of_folders(world: World, ann: Caller) -> None:
    made = await world.change_folders.make(ann, None, parse_path("/a"), key="make")
    folder = NodeId(made["folder_id"])
    moved = await move(world, ann, folder, "/b", key="move")
    assert await world.change_folders.make(ann, None, parse_path("/a"), key="make") == made
    gone = await world.change_folders.delete(ann, folder, key="delete")
    assert await world.change_folders.delete(ann, folder, key="delete") == gone
    assert await move(world, ann, folder, "/b", key="move") == moved
    assert kinds(world) == ["folder_created", "folder_moved", "folder_deleted"]
    for key in ("make", "move", "delete"):
        with pytest.raises(KeyReused):
            await make(world, ann, "/other", key=key)
        with pytest.raises(KeyReused):
            await move(world, ann, folder, "/other", key=key)


async def test_a_refusal_is_not_kept_for_its_key(world: World, ann: Caller) -> None:
    folder, other = await make(world, ann, "/a"), await make(world, ann, "/b")
    with pytest.raises(NameExists):
        await move(world, ann, folder, "/b", key="key")
    await world.change_folders.delete(ann, other, key=None)
    assert (await move(world, ann, folder, "/b", key="key"))["path"] == "/b"
