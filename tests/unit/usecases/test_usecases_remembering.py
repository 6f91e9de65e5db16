"""Reading through the cache: never stale, never an authority, and found out when it errs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import pytest

from functions._shapes import show_file, show_listing
from shared.adapters.memory.presence import MemoryPresence
from shared.domain.accounts import Caller, Role
from shared.domain.errors import FileNotFound, InvalidToken, NotFound
from shared.domain.ids import BlobId, NamespaceId
from shared.domain.names import parse_path
from shared.ports.block_store import Container
from shared.ports.tables_namespaces import Revision
from shared.usecases.remembering import AS_IT_IS, FORMAT, Counts, Known, Question, Remembering
from shared.usecases.use_devices import UseDevices
from tests.support.samples import noise
from tests.support.world import World

T = TypeVar("T")


def lists(world: World, caller: Caller, at: str = "/", ns: NamespaceId | None = None) -> Question[bytes]:
    page = world.list_files.lists.folder(caller, ns, parse_path(at), cursor=None, limit=1000)
    return page.then(show_listing)


async def asked(world: World, question: Question[bytes], *held: str | None) -> Known[bytes]:
    return await world.remembering(question, AS_IT_IS, held={tag for tag in held if tag is not None})


def always_checked(world: World) -> Remembering:
    return Remembering(world.metadata, world.cache, check_one_in=1)


# --- what it is for


async def test_what_was_asked_before_is_not_computed_again(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", b"1")
    computed = 0
    question = lists(world, ann)

    def counting(tx: Any, ns: NamespaceId) -> bytes:
        nonlocal computed
        computed += 1
        return question.answer(tx, ns)

    counted = replace(question, answer=counting)
    first = await asked(world, counted)
    again = await asked(world, counted)
    assert computed == 1
    assert again == first
    assert (world.remembering.counts.hits, world.remembering.counts.misses) == (1, 1)
    assert msgspec.json.decode(first.value or b"")["files"][0]["path"] == "/a"


async def test_read_your_writes_every_change_is_seen_at_once(world: World, ann: Caller) -> None:
    async def names() -> list[str]:
        for _ in range(2):  # the second time from the cache
            found = msgspec.json.decode((await asked(world, lists(world, ann))).value or b"")
        return [each["path"] for each in (*found["folders"], *found["files"])]

    assert await names() == []
    made = await world.upload(ann, "/b", b"1")
    assert await names() == ["/b"]
    folder = await world.change_folders.make(ann, None, parse_path("/a"), key=None)
    assert await names() == ["/a", "/b"]
    await world.delete_file(ann, made.file_id)
    assert await names() == ["/a"]
    await world.use_trash.restore(ann, made.file_id, path=parse_path("/c"), key=None)
    assert await names() == ["/a", "/c"]
    await world.change_folders.delete(ann, folder["folder_id"], key=None)
    assert await names() == ["/c"]
    assert world.remembering.counts.hits >= 6


async def test_a_tag_stands_for_the_answer_until_something_changes(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", b"1")
    first = await asked(world, lists(world, ann))
    assert await asked(world, lists(world, ann), first.tag, "another") == Known(None, first.tag)
    assert (await asked(world, lists(world, ann), "another")) == first
    await world.upload(ann, "/b", b"1")
    later = await asked(world, lists(world, ann), first.tag)
    assert later.value is not None
    assert later.tag != first.tag


async def test_different_questions_have_different_tags(world: World, ann: Caller, bob: Caller) -> None:
    await world.upload(ann, "/d/a", b"1")
    await world.upload(bob, "/d/a", b"1")
    root, limited = lists(world, ann), replace(lists(world, ann), asked=(None, 1))
    other_kind = replace(root, kind="tree")
    questions = [root, limited, other_kind, lists(world, ann, "/d"), lists(world, bob)]
    assert len({(await asked(world, question)).tag for question in questions}) == len(questions)


async def test_members_of_a_namespace_share_what_is_remembered(
    world: World, ann: Caller, bob: Caller
) -> None:
    await world.upload(ann, "/a", b"1")
    shared = await world.namespace_of(ann)
    await world.add_member(shared, bob, Role.VIEWER)
    first = await asked(world, lists(world, ann))
    assert await asked(world, lists(world, bob, ns=shared)) == first
    assert world.remembering.counts.hits == 1


async def test_without_a_cache_the_answers_and_tags_are_the_same(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", b"1")
    cached = await asked(world, lists(world, ann))
    plain = Remembering(world.metadata, None, 1)
    assert await plain(lists(world, ann), AS_IT_IS) == cached
    assert await plain(lists(world, ann), AS_IT_IS, held={str(cached.tag)}) == Known(None, cached.tag)
    assert plain.counts == Counts()


# --- what it must never do


async def test_cache_never_answers_existence(world: World, ann: Caller, bob: Caller) -> None:
    """Membership, tokens, what was deleted: the database is asked, however warm the cache is."""
    made = await world.upload(ann, "/d/a", b"1")
    shared = await world.namespace_of(ann)
    await world.add_member(shared, bob, Role.VIEWER)
    file = world.get_file.question(bob, made.file_id).then(lambda found: found.path.encode())
    folder = lists(world, bob, "/d", shared)
    for question in (file, folder):
        assert (await asked(world, question)).tag == (await asked(world, question)).tag
    tags = [(await asked(world, question)).tag for question in (file, folder)]

    world.sql("DELETE FROM members WHERE user_id = :user AND ns_id = :ns", user=bob.user_id, ns=shared)
    with pytest.raises(FileNotFound):
        await asked(world, file, *tags)
    with pytest.raises(NotFound):
        await asked(world, folder, *tags)
    await world.add_member(shared, bob, Role.VIEWER)
    assert (await asked(world, folder)).value is not None

    await world.delete_file(ann, made.file_id)
    for _ in range(2):
        with pytest.raises(FileNotFound):
            await asked(world, file, *tags)
    await world.use_trash.restore(ann, made.file_id, path=None, key=None)
    await UseDevices(world.metadata, world.clock, MemoryPresence()).revoke(bob, bob.device_id)
    for question in (file, folder):
        with pytest.raises(InvalidToken):
            await asked(world, question, *tags)


async def test_what_is_not_there_is_not_remembered(world: World, ann: Caller) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            await asked(world, lists(world, ann, "/none"))
    assert world.remembering.counts == Counts(misses=2)


async def test_a_healed_block_is_where_the_manifest_says(world: World, ann: Caller) -> None:
    """A block that got another place changes no file, so the journal doesn't tell of it."""
    content = noise("content", 5000)
    made = await world.upload(ann, "/a", content)
    before = await world.get_manifest(ann, made.file_id)
    assert await world.get_manifest(ann, made.file_id) == before
    [(block, _)] = before.blocks
    world.memory.blobs.pop((Container.BLOCKS, block.placement.blob))
    blobs = [BlobId(block.placement.blob)]
    await world.metadata.write(lambda tx: tx.blocks.mark_bad(blobs, now=world.clock.now()))
    await world.upload(ann, "/a", content)
    assert await world.read(ann, made.file_id) == content
    [(healed, url)] = (await world.get_manifest(ann, made.file_id)).blocks
    assert healed.sha256 == block.sha256
    assert healed.placement.blob != block.placement.blob
    assert healed.placement.blob in url
    assert world.remembering.counts.hits == 1


async def test_rights_to_read_are_made_for_each_answer(world: World, ann: Caller) -> None:
    made = await world.upload(ann, "/a", b"1" * 5000)
    first = await world.get_manifest(ann, made.file_id)
    world.clock.advance(first.expires_at - world.clock.now())
    again = await world.get_manifest(ann, made.file_id)
    assert world.remembering.counts.hits == 1
    assert again.expires_at > first.expires_at
    assert again.blocks[0][1] != first.blocks[0][1]


@dataclass
class Moving:
    """A database that shows each statement the latest state, while somebody commits before each look."""

    moving: bool = True
    seq: int = 0

    @property
    def namespaces(self) -> "Moving":
        return self

    def revision(self, _: NamespaceId) -> Revision:
        self.seq += self.moving
        return Revision(1, self.seq, 0)

    async def read(self, work: Callable[[Any], T]) -> T:
        return work(self)


async def test_an_answer_that_a_commit_came_into_is_not_kept(world: World) -> None:
    moving: Any = Moving()
    question: Question[bytes] = Question("kind", (), lambda _: NamespaceId("n"), lambda *_: b"value")
    remembering = Remembering(moving, world.cache, 1)
    for _ in range(2):
        assert await remembering(question, AS_IT_IS) == Known(b"value", None)
    assert (remembering.counts.hits, remembering.counts.misses) == (0, 2)
    assert await Remembering(moving, None, 1)(question, AS_IT_IS) == Known(b"value", None)
    moving.moving = False
    assert (await remembering(question, AS_IT_IS)).tag is not None
    assert (await remembering(question, AS_IT_IS)).tag is not None
    assert remembering.counts.hits == 1


# --- how it is watched


async def test_a_cache_that_errs_is_found_out(
    world: World, ann: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    await world.upload(ann, "/a-name-of-a-file", b"1")
    remembering = always_checked(world)
    right = await remembering(lists(world, ann), AS_IT_IS)
    assert await remembering(lists(world, ann), AS_IT_IS) == right
    assert remembering.counts == Counts(hits=1, misses=1, checked=1)
    entries: dict[str, bytes] = world.cache.entries  # type: ignore[union-attr]
    [key] = [key for key in entries if key.startswith("folder:")]
    entries[key] = b'{"files":[],"folders":[],"next_cursor":null}'
    assert await remembering(lists(world, ann), AS_IT_IS) == right, "the database's answer is given"
    assert remembering.counts == Counts(hits=2, misses=1, checked=2, mismatches=1)
    assert "folder" in caplog.text
    assert "a-name-of-a-file" not in caplog.text


@pytest.mark.parametrize(("one_in", "checked"), [(1, 12), (3, 4), (12, 1), (13, 0)])
async def test_a_share_of_the_hits_is_compared(world: World, ann: Caller, one_in: int, checked: int) -> None:
    remembering = Remembering(world.metadata, world.cache, one_in)
    for _ in range(13):
        await remembering(lists(world, ann), AS_IT_IS)
    assert remembering.counts == Counts(hits=12, misses=1, checked=checked)


async def test_an_entry_of_another_form_is_computed_anew(world: World, ann: Caller) -> None:
    made = await world.upload(ann, "/a", b"1" * 5000)
    first = await world.get_manifest(ann, made.file_id)
    entries: dict[str, bytes] = world.cache.entries  # type: ignore[union-attr]
    [key] = [key for key in entries if key.startswith("manifest:")]
    entries[key] = msgspec.msgpack.encode({"another": "form"})
    assert await world.get_manifest(ann, made.file_id) == first


def look(value: Any) -> Any:
    """What a value is made of: the names of members, and the kinds of what they hold."""
    if isinstance(value, dict):
        return {name: look(member) for name, member in value.items()}
    if isinstance(value, list):
        return [look(each) for each in value]
    return type(value).__name__


SHOWN_FILE = {
    **dict.fromkeys(("file_id", "file_name", "file_size", "upload_date", "path"), "str"),
    **dict.fromkeys(("version_id", "root_hash", "modified_at"), "str"),
    **dict.fromkeys(("size_bytes", "version"), "int"),
}
VERSION = {
    **dict.fromkeys(("id", "root_hash"), "str"),
    **dict.fromkeys(("number", "size", "seq"), "int"),
    **dict.fromkeys(("created_at", "modified_at"), "datetime"),
}
NODE = {**dict.fromkeys(("id", "parent", "kind", "name"), "str"), "head": VERSION}
PLACEMENT = {"blob": "str", "offset": "int", "stored_size": "int", "codec": "str"}
BLOCK = {"key": "str", "sha256": "str", "size": "int", "placement": PLACEMENT, "blake3": "str"}


async def test_entries_of_another_look_have_another_format(world: World, ann: Caller) -> None:
    """What is kept looks like this in format 2: whoever changes that raises FORMAT, and notes the new look here."""
    made = await world.upload(ann, "/d/a", noise("content", 5000))
    await world.change_folders.make(ann, None, parse_path("/d/e"), key=None)
    page = msgspec.json.decode(await world.metadata.read(lists(world, ann, "/d").now))
    folder = dict.fromkeys(("folder_id", "name", "path"), "str")
    assert look(page) == {"files": [SHOWN_FILE], "folders": [folder], "next_cursor": "NoneType"}
    file = await world.get_file(ann, made.file_id)
    assert look(show_file(file.node, file.path, file.version)) == SHOWN_FILE
    await world.get_manifest(ann, made.file_id)
    entries: dict[str, bytes] = world.cache.entries  # type: ignore[union-attr]
    [kept] = [entry for key, entry in entries.items() if key.startswith("manifest:")]
    found = look(msgspec.msgpack.decode(kept))
    shown = {"namespace": "str", "node": NODE, "path": "str", "version": VERSION}
    assert found == {"file": shown, "blocks": [BLOCK]}
    assert FORMAT == 2
