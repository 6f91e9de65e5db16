"""Commits: one wins, none is lost, all or nothing, and again is the same as once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.sql.database import SqlMetadata
from shared.domain.accounts import Caller, Role
from shared.domain.blocks import BlockRef, hash_of, root_hash
from shared.domain.errors import (
    FileNotFound,
    Forbidden,
    InvalidToken,
    KeyReused,
    MissingBlocks,
    NameExists,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    TooLarge,
    Unacceptable,
    VersionConflict,
)
from shared.domain.ids import NO_VERSION, NodeId, VersionId
from shared.domain.names import parse_path
from shared.domain.versions import OnHead, OnVersion
from shared.usecases.drafting import CommitRequest, Committed
from shared.usecases.upload_file import Upload
from tests.support.databases import watched_engine
from tests.support.samples import noise, ref_of
from tests.support.world import World, nobody

ONE, TWO, THREE = (noise(word, 1000) for word in ("one", "two", "three"))


@pytest.fixture
async def first(world: World, ann: Caller) -> Committed:
    """/docs/a.txt with the block ONE; TWO and THREE wait for their commit."""
    await world.admit(ann, ONE, TWO, THREE)
    return await world.commit(ann, "/docs/a.txt", [ONE], NO_VERSION)


def journal(world: World) -> list[Any]:
    return world.sql("SELECT seq, position, kind FROM changes ORDER BY seq, position")


async def used(world: World, caller: Caller) -> int:
    namespace = await world.namespace_of(caller)
    return (await world.metadata.read(lambda tx: tx.namespaces.usage(namespace))).used


# --- what a commit does


async def test_a_new_file_with_its_folders(world: World, ann: Caller) -> None:
    await world.admit(ann, ONE, TWO)
    made = await world.commit(ann, "/a/b/c.txt", [ONE, TWO, ONE], NO_VERSION)
    assert (made.path, made.version, made.seq, made.size, made.unchanged) == ("/a/b/c.txt", 1, 1, 3000, False)
    assert made.root_hash == root_hash(map(ref_of, [ONE, TWO, ONE]))
    assert await world.read(ann, made.file_id) == ONE + TWO + ONE
    assert journal(world) == [(1, 0, "folder_created"), (1, 1, "folder_created"), (1, 2, "file_created")]
    assert await used(world, ann) == 3000
    assert world.sql("SELECT * FROM leases") == [], "the leases have done their work"


async def test_folders_that_are_there_are_used(world: World, ann: Caller, first: Committed) -> None:
    await world.commit(ann, "/docs/b.txt", [TWO])
    assert journal(world)[-1] == (2, 0, "file_created")
    assert world.sql("SELECT COUNT(*) FROM nodes WHERE kind = 'folder'") == [(2,)]


async def test_an_empty_file_has_no_blocks(world: World, ann: Caller) -> None:
    made = await world.commit(ann, "/empty", [])
    assert (made.size, made.root_hash) == (0, root_hash([]))
    assert await world.read(ann, made.file_id) == b""


async def test_a_second_version_follows_the_first_and_both_can_be_read(
    world: World, ann: Caller, first: Committed
) -> None:
    second = await world.commit(ann, "/docs/a.txt", [ONE, TWO], first.version_id)
    assert (second.file_id, second.version, second.seq) == (first.file_id, 2, 2)
    assert await world.read(ann, first.file_id) == ONE + TWO
    assert await world.read(ann, first.file_id, first.version_id) == ONE
    assert await used(world, ann) == 2000
    assert journal(world)[-1] == (2, 0, "file_changed")


async def test_by_its_id_a_file_is_reached_wherever_it_is(
    world: World, ann: Caller, first: Committed
) -> None:
    request = CommitRequest(OnVersion(first.version_id), [ref_of(TWO)], file_id=first.file_id)
    second = await world.commit_file(ann, request)
    assert (second.file_id, second.path, second.version) == (first.file_id, "/docs/a.txt", 2)


async def test_the_same_content_again_changes_nothing(world: World, ann: Caller, first: Committed) -> None:
    for base in (first.version_id, NO_VERSION, None):
        again = await world.commit(ann, "/docs/a.txt", [ONE], base)
        assert again == replace(first, unchanged=True)
    assert len(journal(world)) == 2


async def test_the_client_says_when_the_content_was_made(world: World, ann: Caller, first: Committed) -> None:
    then = world.clock.now() - timedelta(days=400)
    await world.commit(ann, "/docs/a.txt", [TWO], modified_at=then)
    file = await world.get_file(ann, first.file_id)
    assert (file.version.modified_at, file.version.created_at) == (then, world.clock.now())


# --- what it refuses


async def test_no_lost_update_a_stale_commit_is_answered_with_the_head(
    world: World, ann: Caller, first: Committed
) -> None:
    second = await world.commit(ann, "/docs/a.txt", [TWO], first.version_id)
    for base in (first.version_id, NO_VERSION):
        with pytest.raises(VersionConflict) as refused:
            await world.commit(ann, "/docs/a.txt", [THREE], base)
        assert refused.value.head is not None
        assert refused.value.head["version_id"] == second.version_id
        assert refused.value.head["root_hash"] == second.root_hash
    assert await world.read(ann, first.file_id) == TWO


async def test_conflict_keeps_both_the_losing_side_can_be_committed_beside(
    world: World, ann: Caller, first: Committed
) -> None:
    await world.commit(ann, "/docs/a.txt", [TWO], first.version_id)
    with pytest.raises(VersionConflict):
        await world.commit(ann, "/docs/a.txt", [THREE], first.version_id)
    copy = await world.commit(ann, "/docs/a (conflicted copy).txt", [THREE], NO_VERSION)
    assert await world.read(ann, first.file_id) == TWO
    assert await world.read(ann, copy.file_id) == THREE


async def test_a_commit_onto_a_deleted_file_is_a_conflict_without_a_head(
    world: World, ann: Caller, first: Committed
) -> None:
    await world.delete_file(ann, first.file_id)
    with pytest.raises(VersionConflict) as refused:
        await world.commit(ann, "/docs/a.txt", [TWO], first.version_id)
    assert refused.value.head is None
    with pytest.raises(FileNotFound):
        await world.commit_file(
            ann, CommitRequest(OnVersion(first.version_id), [ref_of(TWO)], file_id=first.file_id)
        )
    anew = await world.commit(ann, "/docs/a.txt", [TWO], NO_VERSION)
    assert anew.file_id != first.file_id


async def test_missing_blocks_are_named_in_order_each_once(
    world: World, ann: Caller, first: Committed
) -> None:
    blocks = [b"z", TWO, b"a", b"z"]
    with pytest.raises(MissingBlocks) as refused:
        await world.commit(ann, "/docs/a.txt", blocks)
    assert refused.value.missing == (hash_of(b"z"), hash_of(b"a"))
    assert len(journal(world)) == 2
    with pytest.raises(MissingBlocks):
        await world.commit(ann, "/new/folder/x", [b"z"])
    assert world.sql("SELECT COUNT(*) FROM nodes") == [(3,)], "commit_is_atomic: a folder was left behind"


async def test_tenant_isolation_a_hash_opens_nothing(
    world: World, ann: Caller, bob: Caller, first: Committed
) -> None:
    """Who only knows a hash, or an id, gets the answer for what nobody has."""
    for theirs, missing in ((ONE, hash_of(ONE)), (b"nobody's", hash_of(b"nobody's"))):
        with pytest.raises(MissingBlocks) as refused:
            await world.commit(bob, "/stolen", [theirs])
        assert refused.value.missing == (missing,)
    for file_id in (first.file_id, NodeId("f" * 32), NodeId(await world.namespace_of(ann))):
        with pytest.raises(FileNotFound, match="there is no such file"):
            await world.commit_file(bob, CommitRequest(OnHead(), [], file_id=file_id))
        with pytest.raises(FileNotFound, match="there is no such file"):
            await world.get_file(bob, file_id)
        with pytest.raises(FileNotFound, match="there is no such file"):
            await world.delete_file(bob, file_id)
    with pytest.raises(NotFound):
        await world.commit(bob, "/x", [], namespace=await world.namespace_of(ann))
    with pytest.raises(InvalidToken):
        await world.commit(nobody(), "/x", [])


async def test_a_base_of_another_file_is_not_found(world: World, ann: Caller, first: Committed) -> None:
    other = await world.commit(ann, "/docs/b.txt", [TWO])
    for base in (other.version_id, VersionId("f" * 32)):
        with pytest.raises(NotFound, match="base_version"):
            await world.commit(ann, "/docs/a.txt", [THREE], base)


async def test_a_viewer_reads_and_does_not_write(
    world: World, ann: Caller, bob: Caller, first: Committed
) -> None:
    namespace = await world.namespace_of(ann)
    await world.add_member(namespace, bob, Role.VIEWER)
    assert await world.read(bob, first.file_id) == ONE
    with pytest.raises(Forbidden):
        await world.commit(bob, "/x", [], namespace=namespace)
    with pytest.raises(Forbidden):
        await world.commit_file(bob, CommitRequest(OnHead(), [], file_id=first.file_id))
    with pytest.raises(Forbidden):
        await world.delete_file(bob, first.file_id)


@pytest.mark.parametrize(
    ("path", "entry", "kind"),
    [
        ("/docs/A.TXT", "a.txt", "file"),
        ("/DOCS/b.txt", "docs", "folder"),
        ("/docs", "docs", "folder"),
        ("/docs/a.txt/b", "a.txt", "file"),
        ("/docs/a.txt/b/c", "a.txt", "file"),
    ],
)
async def test_a_name_that_is_taken_is_answered_with_who_has_it(
    world: World, ann: Caller, first: Committed, path: str, entry: str, kind: str
) -> None:
    with pytest.raises(NameExists) as refused:
        await world.commit(ann, path, [TWO])
    assert (refused.value.entry, refused.value.kind) == (entry, kind)
    assert len(journal(world)) == 2


@pytest.mark.parametrize(
    ("stored", "twin"), [("é", "e\u0301"), ("straße", "STRASSE"), ("k", "\u212a"), ("ﬁ", "fi")]
)
async def test_twins_of_a_name(world: World, ann: Caller, stored: str, twin: str) -> None:
    made = await world.commit(ann, f"/{stored}", [])
    await world.admit(ann, ONE)
    if parse_path(twin) == parse_path(stored):
        assert (await world.commit(ann, f"/{twin}", [ONE])).file_id == made.file_id
    else:
        with pytest.raises(NameExists) as refused:
            await world.commit(ann, f"/{twin}", [ONE])
        assert refused.value.entry == stored


async def test_a_file_needs_a_name_and_honest_sizes(world: World, ann: Caller, first: Committed) -> None:
    with pytest.raises(Unacceptable, match="needs a name"):
        await world.commit(ann, "/", [TWO])
    with pytest.raises(Unacceptable, match="1000 bytes, not 999"):
        await world.commit_file(
            ann, CommitRequest(OnHead(), [BlockRef(hash_of(TWO), 999)], path=parse_path("/docs/a.txt"))
        )
    with pytest.raises(TooLarge):
        await world.commit_file(
            ann, CommitRequest(OnHead(), [ref_of(TWO)] * 100_001, path=parse_path("/docs/a.txt"))
        )


async def test_conditions_on_the_head(world: World, ann: Caller, first: Committed) -> None:
    async def upload(content: bytes, **conditions: frozenset[str]) -> Committed:
        return await world.upload_file(ann, Upload(content, parse_path("/docs/a.txt"), OnHead(**conditions)))

    with pytest.raises(PreconditionFailed):
        await upload(TWO, if_none_match=frozenset("*"))
    with pytest.raises(PreconditionFailed):
        await upload(TWO, if_match=frozenset({root_hash([])}))
    assert (await upload(TWO, if_match=frozenset({first.root_hash}))).version == 2


# --- quota


async def test_quota_never_exceeded_and_room_is_given_back(world: World) -> None:
    ann = await world.caller("ann", quota=3000)
    await world.admit(ann, ONE, TWO)
    made = await world.commit(ann, "/a", [ONE, TWO, ONE])
    with pytest.raises(QuotaExceeded) as refused:
        await world.commit(ann, "/b", [ONE])
    assert (refused.value.quota, refused.value.used) == (3000, 3000)
    with pytest.raises(QuotaExceeded):
        await world.commit(ann, "/a", [ONE] * 4, made.version_id)
    await world.commit(ann, "/a", [TWO], made.version_id)
    await world.commit(ann, "/b", [ONE, TWO])
    # The trash counts too.
    await world.delete_file(ann, made.file_id)
    with pytest.raises(QuotaExceeded):
        await world.commit(ann, "/c", [ONE])


async def test_a_repeated_block_is_charged_each_time(world: World, ann: Caller, first: Committed) -> None:
    made = await world.commit(ann, "/many", [TWO] * 5000)
    assert made.size == 5_000_000
    assert await used(world, ann) == 5_001_000


async def test_an_upload_over_the_quota_is_refused_as_such(world: World) -> None:
    ann = await world.caller("ann", quota=3_000_000)
    with pytest.raises(QuotaExceeded):
        await world.upload(ann, "/big", noise("big", 6_000_000))
    assert await used(world, ann) == 0
    assert await world.list_files.one(ann, None, parse_path("/big")) == await world.list_files.one(
        ann, None, parse_path("/none")
    )


# --- again


async def test_commit_is_idempotent_the_first_answer_is_given_again(
    world: World, ann: Caller, bob: Caller, first: Committed
) -> None:
    second = await world.commit(ann, "/docs/a.txt", [TWO], first.version_id, idempotency_key="k1")
    await world.commit(ann, "/docs/a.txt", [THREE], second.version_id)
    # By now the base is stale, but it is the same request, and it was carried out.
    assert await world.commit(ann, "/docs/a.txt", [TWO], first.version_id, idempotency_key="k1") == second
    assert await world.read(ann, first.file_id) == THREE
    assert (await world.commit(bob, "/mine", [], idempotency_key="k1")).version == 1
    deleted = await world.delete_file(ann, first.file_id, idempotency_key="k2")
    assert await world.delete_file(ann, first.file_id, idempotency_key="k2") == deleted


@pytest.mark.parametrize(
    ("path", "blocks", "more"),
    [
        ("/docs/b.txt", [TWO], {}),
        ("/docs/a.txt", [THREE], {}),
        ("/docs/a.txt", [TWO, TWO], {}),
        ("/docs/a.txt", [TWO], {"base": NO_VERSION}),
    ],
)
async def test_a_key_with_another_request_is_refused(
    world: World, ann: Caller, first: Committed, path: str, blocks: list[bytes], more: dict[str, Any]
) -> None:
    await world.commit(ann, "/docs/a.txt", [TWO], first.version_id, idempotency_key="k1")
    with pytest.raises(KeyReused):
        await world.commit(ann, path, blocks, **{"base": first.version_id, "idempotency_key": "k1"} | more)
    with pytest.raises(KeyReused):
        await world.delete_file(ann, first.file_id, idempotency_key="k1")
    assert await world.read(ann, first.file_id) == TWO


async def test_commit_is_idempotent_for_an_upload_without_a_name(world: World, ann: Caller) -> None:
    first = await world.upload(ann, "/made-up-1", ONE, idempotency_key="k1", named=False)
    assert await world.upload(ann, "/made-up-2", ONE, idempotency_key="k1", named=False) == first
    with pytest.raises(KeyReused):
        await world.upload(ann, "/made-up-3", TWO, idempotency_key="k1", named=False)
    with pytest.raises(KeyReused):
        await world.upload(ann, "/made-up-1", ONE, idempotency_key="k1")


async def test_a_refused_commit_is_not_remembered(world: World, ann: Caller) -> None:
    with pytest.raises(MissingBlocks):
        await world.commit(ann, "/a", [ONE], NO_VERSION, idempotency_key="k1")
    await world.admit(ann, ONE)
    assert (await world.commit(ann, "/a", [ONE], NO_VERSION, idempotency_key="k1")).version == 1


# --- at once, from two processes


@pytest.fixture
async def beside(world: World) -> AsyncIterator[World]:
    """The same database and store, as another process has them."""
    metadata = SqlMetadata(watched_engine(str(world.engine.url)), threads=4)
    yield world.with_ports(metadata=metadata)
    await metadata.close()


async def test_no_lost_update_of_many_commits_on_one_base_exactly_one_wins(
    world: World, beside: World, ann: Caller, first: Committed
) -> None:
    contents = [noise(str(number), 500) for number in range(8)]
    await world.admit(ann, *contents)
    asked = await asyncio.gather(
        *(
            (world, beside)[number % 2].commit(ann, "/docs/a.txt", [content], first.version_id)
            for number, content in enumerate(contents)
        ),
        return_exceptions=True,
    )
    [winner] = [each for each in asked if isinstance(each, Committed)]
    lost = [each for each in asked if isinstance(each, VersionConflict)]
    assert len(lost) == 7
    assert {str(each.head and each.head["version_id"]) for each in lost} == {winner.version_id}
    assert await world.read(ann, first.file_id) == contents[asked.index(winner)]


async def test_of_many_who_make_one_new_file_exactly_one_does(
    world: World, beside: World, ann: Caller
) -> None:
    contents = [noise(str(number), 500) for number in range(8)]
    await world.admit(ann, *contents)
    asked = await asyncio.gather(
        *(
            (world, beside)[number % 2].commit(ann, "/new/folder/file", [content], NO_VERSION)
            for number, content in enumerate(contents)
        ),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in asked) == ["Committed"] + ["VersionConflict"] * 7
    assert world.sql("SELECT COUNT(*) FROM nodes WHERE kind = 'folder' AND parent_id IS NOT NULL") == [(2,)]


async def test_quota_never_exceeded_by_eight_commits_at_its_edge(world: World, beside: World) -> None:
    ann = await world.caller("ann", quota=8 * 1000)
    await world.admit(ann, ONE)
    asked = await asyncio.gather(
        *((world, beside)[number % 2].commit(ann, f"/{number}", [ONE] * 3) for number in range(8)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in asked) == ["Committed"] * 2 + ["QuotaExceeded"] * 6
    assert await used(world, ann) == 6000


async def test_commit_is_idempotent_for_the_same_request_at_once(
    world: World, beside: World, ann: Caller
) -> None:
    await world.admit(ann, ONE)
    asked = await asyncio.gather(
        *(
            (world, beside)[number % 2].commit(ann, "/a", [ONE], NO_VERSION, idempotency_key="k1")
            for number in range(8)
        )
    )
    assert len(set(asked)) == 1
    assert len(journal(world)) == 1


async def test_everybody_s_files_at_once(world: World, beside: World) -> None:
    """Many users, many files, two processes: everything that was acknowledged is there."""
    callers = [await world.caller(f"user{number}") for number in range(4)]

    async def work(caller: Caller, number: int) -> tuple[Caller, Committed, bytes]:
        content = noise(str(number), 2000)
        place = (world, beside)[number % 2]
        return caller, await place.upload(caller, f"/d{number % 3}/f{number}", content), content

    done = await asyncio.gather(*(work(caller, number) for caller in callers for number in range(10)))
    for caller, committed, content in done:
        assert await world.read(caller, committed.file_id) == content
