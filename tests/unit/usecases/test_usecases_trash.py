"""The trash and old versions: everything comes back whole, and goes for good once."""

from typing import Any

import pytest
from sqlalchemy import event

from shared.domain.accounts import Caller, Role
from shared.domain.errors import (
    FileNotFound,
    Forbidden,
    KeyReused,
    MissingBlocks,
    NameExists,
    NotFound,
    QuotaExceeded,
    Unacceptable,
)
from shared.domain.ids import NodeId
from shared.domain.names import parse_path
from shared.ports.tables_files import NodeKind
from tests.support.samples import noise
from tests.support.world import World

ONE, TWO, THREE = (noise(word, 1000) for word in ("one", "two", "three"))


async def folder_at(world: World, caller: Caller, path: str) -> NodeId:
    *above, name = parse_path(path)
    page = await world.list_files.folder(caller, None, tuple(above), cursor=None, limit=1000)
    assert page.folders is not None
    return next(entry.node.id for entry in page.folders if entry.node.name == name.text)


async def delete(world: World, caller: Caller, path: str) -> NodeId:
    folder = await folder_at(world, caller, path)
    await world.change_folders.delete(caller, folder, key=None)
    return folder


async def restore(
    world: World, caller: Caller, node: NodeId, path: str | None = None, key: str | None = None
) -> Any:
    return await world.use_trash.restore(
        caller, node, path=None if path is None else parse_path(path), key=key
    )


async def purge(world: World, caller: Caller, node: NodeId, key: str | None = None) -> Any:
    return await world.use_trash.purge(caller, node, key=key)


async def used(world: World, caller: Caller) -> int:
    namespace = await world.namespace_of(caller)
    return (await world.metadata.read(lambda tx: tx.namespaces.usage(namespace))).used


async def trash(world: World, caller: Caller) -> list[str]:
    return [each.node.name for each in await world.use_trash.page(caller, None, before=None, limit=100)]


async def paths(world: World, caller: Caller) -> list[str]:
    page = await world.list_files.whole_tree(caller, None, cursor=None, limit=1000)
    return sorted(entry.path for entry in page.files)


def last_kind(world: World) -> str:
    return str(world.sql("SELECT kind FROM changes ORDER BY seq DESC, position DESC LIMIT 1")[0][0])


# --- the page


async def test_the_trash_has_what_was_deleted_by_itself_newest_first(world: World, ann: Caller) -> None:
    files = [await world.upload(ann, f"/f{number}", b"x") for number in range(3)]
    await world.upload(ann, "/folder/below", b"x")
    for file in files:
        await world.delete_file(ann, file.file_id)
    folder = await delete(world, ann, "/folder")
    assert await trash(world, ann) == ["folder", "f2", "f1", "f0"]
    newest, *_ = await world.use_trash.page(ann, None, before=None, limit=2)
    assert (newest.node.id, newest.node.kind, newest.deleted_seq) == (folder, NodeKind.FOLDER, 8)
    assert newest.deleted_at == world.clock.now()
    seen: list[str] = []
    before: int | None = None
    while page := await world.use_trash.page(ann, None, before=before, limit=3):
        seen += [each.node.name for each in page]
        before = page[-1].deleted_seq
    assert seen == ["folder", "f2", "f1", "f0"]


async def test_the_trash_is_its_members_alone(world: World, ann: Caller, bob: Caller) -> None:
    await world.delete_file(ann, (await world.upload(ann, "/f", b"x")).file_id)
    assert await trash(world, bob) == []
    with pytest.raises(NotFound):
        await world.use_trash.page(bob, await world.namespace_of(ann), before=None, limit=5)


# --- restored


async def test_acked_is_readable_a_restored_folder_brings_everything_back(world: World, ann: Caller) -> None:
    first = await world.upload(ann, "/top/a", ONE)
    await world.upload(ann, "/top/a", TWO)
    deep = await world.upload(ann, "/top/sub/b", THREE)
    before, room = await paths(world, ann), await used(world, ann)
    folder = await delete(world, ann, "/top")
    assert await used(world, ann) == room, "the trash counts"
    back = await restore(world, ann, folder)
    assert back == {"id": folder, "path": "/top", "seq": 5}
    assert last_kind(world) == "folder_restored"
    assert await paths(world, ann) == before
    assert await world.read(ann, first.file_id) == TWO
    assert await world.read(ann, first.file_id, first.version_id) == ONE
    assert await world.read(ann, deep.file_id) == THREE
    assert (await used(world, ann), await trash(world, ann)) == (room, [])
    with pytest.raises(NotFound):
        await restore(world, ann, folder)


async def test_what_was_deleted_before_its_folder_stays_in_the_trash(world: World, ann: Caller) -> None:
    early = await world.upload(ann, "/top/early", ONE)
    await world.upload(ann, "/top/late", TWO)
    await world.delete_file(ann, early.file_id)
    folder = await delete(world, ann, "/top")
    assert await trash(world, ann) == ["top", "early"]
    with pytest.raises(NotFound):
        await restore(world, ann, early.file_id)
    await restore(world, ann, folder)
    assert await paths(world, ann) == ["/top/late"]
    assert await trash(world, ann) == ["early"]
    await restore(world, ann, early.file_id)
    assert await paths(world, ann) == ["/top/early", "/top/late"]
    assert last_kind(world) == "file_restored"


async def test_a_name_that_was_taken_meanwhile_is_said_and_another_path_helps(
    world: World, ann: Caller
) -> None:
    old = await world.upload(ann, "/Docs/a.txt", ONE)
    await world.delete_file(ann, old.file_id)
    await world.upload(ann, "/Docs/A.TXT", TWO)
    with pytest.raises(NameExists) as taken:
        await restore(world, ann, old.file_id)
    assert taken.value.entry == "A.TXT"
    back = await restore(world, ann, old.file_id, "/docs/b.txt")
    assert back["path"] == "/Docs/b.txt"
    assert await world.read(ann, old.file_id) == ONE
    assert await paths(world, ann) == ["/Docs/A.TXT", "/Docs/b.txt"]


async def test_with_its_folder_gone_it_comes_back_to_another_path_only(world: World, ann: Caller) -> None:
    file = await world.upload(ann, "/top/sub/f", ONE)
    sub = await delete(world, ann, "/top/sub")
    await delete(world, ann, "/top")
    for path in (None, "/top/sub", "/none/sub"):
        with pytest.raises(NotFound):
            await restore(world, ann, sub, path)
    with pytest.raises(Unacceptable):
        await restore(world, ann, sub, "/")
    await restore(world, ann, sub, "/elsewhere")
    assert await paths(world, ann) == ["/elsewhere/f"]
    assert await world.read(ann, file.file_id) == ONE


async def test_restoring_costs_the_same_whatever_is_below(world: World, ann: Caller) -> None:
    """40,000 files come back with as many statements as one, and one journal entry."""
    namespace = await world.namespace_of(ann)
    await world.upload(ann, "/few/f", b"x")
    await world.upload(ann, "/many/f", b"x")
    many = await folder_at(world, ann, "/many")
    # A seq that the journal never reached: these rows are only there to be many.
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) "
        "INSERT INTO nodes (node_id, ns_id, parent_id, kind, name, name_key, created_seq, created_position) "
        "SELECT printf('%032x', i), :ns, :parent, 'file', 'n' || i, 'n' || i, 1000, i FROM n",
        ns=namespace,
        parent=many,
    )
    counted: list[str] = []
    event.listen(world.engine, "before_cursor_execute", lambda *said: counted.append(said[2]))
    costs: list[tuple[int, int]] = []
    for folder in (await delete(world, ann, "/few"), await delete(world, ann, "/many")):
        rows = world.sql("SELECT COUNT(*) FROM changes")[0][0]
        counted.clear()
        await restore(world, ann, folder)
        statements = [text for text in counted if not text.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))]
        costs.append((len(statements), world.sql("SELECT COUNT(*) FROM changes")[0][0] - rows))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 25
    assert costs[0][1] == 1
    inside = await world.list_files.folder(ann, None, parse_path("/many"), cursor=None, limit=1000)
    assert inside.next_cursor is not None
    world.sql("DELETE FROM nodes WHERE created_seq = 1000")


# --- purged


async def test_a_purge_gives_the_room_back_exactly_once(world: World, ann: Caller) -> None:
    await world.upload(ann, "/top/a", ONE)
    await world.upload(ann, "/top/a", TWO + b"more")
    early = await world.upload(ann, "/top/sub/b", THREE)
    await world.upload(ann, "/stays", ONE)
    await world.delete_file(ann, early.file_id)
    folder = await delete(world, ann, "/top")
    gone = await purge(world, ann, folder)
    assert (gone["files"], gone["bytes"]) == (2, 2004), "heads, as the quota counts"
    assert last_kind(world) == "folder_purged"
    assert await used(world, ann) == 1000
    assert await trash(world, ann) == [], "what was deleted in the folder before has gone with it"
    for node in (folder, early.file_id):
        with pytest.raises(NotFound):
            await purge(world, ann, node)
        with pytest.raises(NotFound):
            await restore(world, ann, node, "/back")
    assert await used(world, ann) == 1000


async def test_what_is_purged_is_unreachable_and_what_lives_stays_readable(world: World, ann: Caller) -> None:
    gone = await world.upload(ann, "/top/gone", ONE)
    only = await world.upload(ann, "/top/only", TWO)
    shares = await world.upload(ann, "/shares", ONE)
    await purge(world, ann, await delete(world, ann, "/top"))
    for file in (gone, only):
        for version in (None, file.version_id):
            with pytest.raises(FileNotFound):
                await world.get_file(ann, file.file_id, version)
        assert world.sql("SELECT 1 FROM version_blocks WHERE version_id = :v", v=file.version_id) == []
    assert await world.read(ann, shares.file_id) == ONE
    with pytest.raises(MissingBlocks):
        await world.commit(ann, "/again", [TWO])
    await world.commit(ann, "/copy", [ONE])
    assert await search(world, ann, "o") == ["/copy"]


async def search(world: World, caller: Caller, text: str) -> list[str]:
    page = await world.list_files.search(caller, None, text, cursor=None, limit=100)
    assert page.next_cursor is None
    return [entry.path for entry in [*(page.folders or []), *page.files]]


async def test_a_purge_makes_room_for_the_next_upload(world: World) -> None:
    ann = await world.caller("small", quota=1500)
    file = await world.upload(ann, "/f", ONE)
    await world.delete_file(ann, file.file_id)
    with pytest.raises(QuotaExceeded):
        await world.upload(ann, "/g", TWO)
    await purge(world, ann, file.file_id)
    assert last_kind(world) == "file_purged"
    await world.upload(ann, "/g", TWO)


async def test_only_what_is_in_the_trash_can_be_purged_and_only_by_an_owner(
    world: World, ann: Caller, bob: Caller
) -> None:
    file = await world.upload(ann, "/f", ONE)
    with pytest.raises(NotFound):
        await purge(world, ann, file.file_id)
    await world.add_member(await world.namespace_of(ann), bob, Role.EDITOR)
    await world.delete_file(bob, file.file_id)
    with pytest.raises(Forbidden):
        await purge(world, bob, file.file_id)
    await restore(world, bob, file.file_id)
    assert await world.read(ann, file.file_id) == ONE


async def test_a_viewer_can_not_restore(world: World, ann: Caller, bob: Caller) -> None:
    file = await world.upload(ann, "/f", ONE)
    await world.delete_file(ann, file.file_id)
    await world.add_member(await world.namespace_of(ann), bob, Role.VIEWER)
    for refused in (restore(world, bob, file.file_id), purge(world, bob, file.file_id)):
        with pytest.raises(Forbidden):
            await refused


async def test_commit_is_idempotent_so_are_restore_and_purge(world: World, ann: Caller) -> None:
    file = await world.upload(ann, "/f", ONE)
    await world.delete_file(ann, file.file_id)
    back = await restore(world, ann, file.file_id, key="restore")
    await world.delete_file(ann, file.file_id)
    assert await restore(world, ann, file.file_id, key="restore") == back
    assert await trash(world, ann) == ["f"], "the repetition restored nothing"
    gone = await purge(world, ann, file.file_id, key="purge")
    assert await purge(world, ann, file.file_id, key="purge") == gone
    assert await used(world, ann) == 0
    with pytest.raises(KeyReused):
        await restore(world, ann, file.file_id, "/other", key="restore")
    with pytest.raises(KeyReused):
        await purge(world, ann, file.file_id, key="restore")


# --- versions


async def test_versions_go_page_by_page_newest_first(world: World, ann: Caller) -> None:
    file = await world.upload(ann, "/f", b"0")
    for number in range(1, 5):
        await world.upload(ann, "/f", str(number).encode())
    seen: list[int] = []
    before: int | None = None
    while page := await world.use_versions.page(ann, file.file_id, before=before, limit=2):
        seen += [version.number for version in page]
        before = page[-1].number
    assert seen == [5, 4, 3, 2, 1]
    folder = await world.change_folders.make(ann, None, parse_path("/folder"), key=None)
    with pytest.raises(FileNotFound):
        await world.use_versions.page(ann, folder["folder_id"], before=None, limit=2)


async def test_an_old_version_is_made_current_without_moving_a_byte(world: World, ann: Caller) -> None:
    first = await world.upload(ann, "/f", ONE)
    await world.upload(ann, "/f", TWO + THREE)
    blobs = dict(world.memory.blobs)
    third = await world.use_versions.restore(ann, first.file_id, first.version_id, idempotency_key=None)
    assert (third.version, third.root_hash, third.size, third.unchanged) == (3, first.root_hash, 1000, False)
    assert world.memory.blobs == blobs
    assert world.sql("SELECT COUNT(*) FROM blobs") == [(len(blobs),)]
    assert await world.read(ann, first.file_id) == ONE
    assert await used(world, ann) == 1000
    again = await world.use_versions.restore(ann, first.file_id, first.version_id, idempotency_key=None)
    assert (again.unchanged, again.version_id) == (True, third.version_id)


async def test_versions_of_other_files_and_of_nobody_are_not_found(
    world: World, ann: Caller, bob: Caller
) -> None:
    mine, other = await world.upload(ann, "/f", ONE), await world.upload(ann, "/g", TWO)
    his = await world.upload(bob, "/h", THREE)
    for caller, file, version in (
        (ann, mine, other.version_id),
        (ann, mine, his.version_id),
        (ann, his, his.version_id),
        (bob, mine, mine.version_id),
    ):
        with pytest.raises(FileNotFound):
            await world.use_versions.restore(caller, file.file_id, version, idempotency_key=None)


async def test_a_repeated_restore_of_a_version_gets_its_first_answer_whatever_came_after(
    world: World, ann: Caller
) -> None:
    first = await world.upload(ann, "/f", ONE)
    second = await world.upload(ann, "/f", TWO)

    async def again() -> Any:
        return await world.use_versions.restore(ann, first.file_id, first.version_id, idempotency_key="key")

    done = await again()
    await world.upload(ann, "/f", THREE)
    assert await again() == done
    assert await world.read(ann, first.file_id) == THREE
    await world.delete_file(ann, first.file_id)
    assert await again() == done
    await purge(world, ann, first.file_id)
    assert await again() == done
    with pytest.raises(KeyReused):
        await world.use_versions.restore(ann, first.file_id, second.version_id, idempotency_key="key")
    with pytest.raises(FileNotFound):
        await world.use_versions.restore(ann, first.file_id, first.version_id, idempotency_key="other")
