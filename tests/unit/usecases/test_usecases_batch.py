"""Batches: many files in one request, each with a result of its own, in few blobs and one transaction."""

from collections.abc import Sequence

import pytest
from sqlalchemy import event

from shared.domain.accounts import Caller, Role
from shared.domain.blocks import hash_of
from shared.domain.errors import (
    Forbidden,
    KeyReused,
    Malformed,
    NameRefused,
    QuotaExceeded,
    Unacceptable,
)
from shared.domain.ids import NO_VERSION
from shared.domain.names import parse_path
from shared.domain.versions import OnVersion
from shared.usecases.commit_batch import Batch, Refusal, Result
from shared.usecases.drafting import CommitRequest, Committed
from tests.support.faults import Cut, Moment, cuts
from tests.support.invariants import check_invariants
from tests.support.samples import noise, prose, ref_of
from tests.support.world import World
from tests.unit.usecases.test_usecases_faults import broken

ONE, TWO, THREE = (noise(word, 1000) for word in ("one", "two", "three"))


def codes(results: Sequence[Result]) -> list[str]:
    """What became of each: "made", "unchanged", or the code of what is wrong."""
    return [
        each.code if isinstance(each, Refusal) else "unchanged" if each.unchanged else "made"
        for each in results
    ]


def made(result: Result) -> Committed:
    assert isinstance(result, Committed)
    return result


def blobs(world: World) -> list[tuple[str, int]]:
    return [tuple(row) for row in world.sql("SELECT state, size FROM blobs ORDER BY size")]


async def test_many_files_share_a_blob_a_seq_and_their_folders(world: World, ann: Caller) -> None:
    files = {"/docs/a": [ONE], "/docs/b": [TWO], "/docs/more/c": [THREE, ONE], "/empty": []}
    results = await world.batch(ann, files)
    assert codes(results) == ["made"] * 4
    assert [made(each).path for each in results] == list(files)
    assert {made(each).seq for each in results} == {1}
    assert blobs(world) == [("STORED", 3000)]
    assert world.sql("SELECT COUNT(*) FROM nodes WHERE kind = 'folder'") == [(3,)], "the root and two"
    assert world.sql("SELECT position, kind FROM changes ORDER BY position") == [
        (0, "folder_created"),
        (1, "file_created"),
        (2, "file_created"),
        (3, "folder_created"),
        (4, "file_created"),
        (5, "file_created"),
    ]
    for (_, blocks), result in zip(files.items(), results, strict=True):
        assert await world.read(ann, made(result).file_id) == b"".join(blocks)
    assert world.sql("SELECT * FROM leases") == []
    check_invariants(world)


async def test_a_pack_has_at_most_its_size(
    world: World, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.domain.packing.PACK_SIZE", 1_000_000)
    contents = [noise(str(number), 300_000) for number in range(8)]
    await world.batch(ann, {f"/{number}": [content] for number, content in enumerate(contents)})
    assert sorted(size for _, size in blobs(world)) == [600_000, 900_000, 900_000]
    check_invariants(world)


async def test_blocks_are_stored_compressed_where_that_pays(world: World, ann: Caller) -> None:
    text = prose("text", 20_000)
    [result, _] = await world.batch(ann, {"/text": [text], "/noise": [ONE]})
    assert blobs(world)[0][1] < 3_000
    assert await world.read(ann, made(result).file_id) == text
    check_invariants(world)


async def test_a_new_version_needs_the_right_base(world: World, ann: Caller) -> None:
    [first] = await world.batch(ann, {"/a": [ONE]})
    base = made(first).version_id
    commit = CommitRequest(OnVersion(base), [ref_of(TWO)], parse_path("/a"))
    by_id = CommitRequest(OnVersion(base), [ref_of(THREE)], file_id=made(first).file_id)
    results = await world.commit_batch(ann, Batch([commit, by_id], [TWO, THREE]))
    assert codes(results) == ["made", "version_conflict"], "the first of the batch is the head already"
    assert made(results[0]).version == 2
    assert isinstance(results[1], Refusal)
    assert results[1].members["head"]["version_id"] == made(results[0]).version_id
    assert await world.read(ann, made(first).file_id) == TWO
    check_invariants(world)


async def test_what_is_wrong_with_one_file_hurts_no_other(world: World, ann: Caller) -> None:
    await world.upload(ann, "/taken/file", ONE)
    requests: list[CommitRequest | NameRefused] = [
        CommitRequest(OnVersion(NO_VERSION), [ref_of(TWO)], parse_path(path))
        for path in ("/good", "/taken", "/GOOD", "/taken/file", "/taken/file/below", "/good/below")
    ]
    requests += [
        NameRefused("no such name"),
        CommitRequest(OnVersion(NO_VERSION), [ref_of(noise("unknown", 10))], parse_path("/unknown")),
        CommitRequest(OnVersion(NO_VERSION), [ref_of(TWO), ref_of(TWO)], parse_path("/last")),
    ]
    results = await world.commit_batch(ann, Batch(requests, [TWO]))
    assert codes(results) == [
        "made",
        "name_exists",
        "name_exists",
        "version_conflict",
        "name_exists",
        "name_exists",
        "name_refused",
        "missing_blocks",
        "made",
    ]
    assert isinstance(results[7], Refusal)
    assert results[7].members == {"missing": [hash_of(noise("unknown", 10))]}
    assert await world.read(ann, made(results[8]).file_id) == TWO + TWO
    check_invariants(world)


async def test_a_block_that_was_damaged_on_its_way_is_missed_by_its_file_alone(
    world: World, ann: Caller
) -> None:
    results = await world.batch(ann, {"/a": [ONE], "/b": [TWO]}, ONE[:-1] + b"!", TWO)
    assert codes(results) == ["missing_blocks", "made"]
    assert blobs(world) == [("STORED", 1000)], "what nobody listed is not kept"


async def test_blocks_of_a_refused_file_wait_for_its_next_try(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", ONE)
    assert codes(await world.batch(ann, {"/a": [TWO]})) == ["version_conflict"]
    assert await world.check_blocks(ann, None, [hash_of(TWO)]) == []
    assert codes(await world.batch(ann, {"/b": [TWO]}, THREE)) == ["made"], "without its bytes"


async def test_blocks_that_the_namespace_has_are_not_stored_again(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", ONE)
    assert codes(await world.batch(ann, {"/b": [ONE], "/c": [TWO]})) == ["made", "made"]
    assert blobs(world) == [("STORED", 1000), ("STORED", 1000)]
    assert world.sql("SELECT * FROM leases") == []


async def test_the_same_content_again_changes_nothing(world: World, ann: Caller) -> None:
    files = {"/a": [ONE], "/b": []}
    first = await world.batch(ann, files)
    again = await world.batch(ann, files)
    assert codes(again) == ["unchanged", "unchanged"]
    assert [made(each).version_id for each in again] == [made(each).version_id for each in first]
    assert world.sql("SELECT MAX(seq) FROM changes") == [(1,)]


async def test_commit_is_idempotent_the_same_key_gives_the_same_results(world: World, ann: Caller) -> None:
    await world.upload(ann, "/taken/x", ONE)
    files = {"/a": [ONE, TWO], "/taken": [THREE]}
    first = await world.batch(ann, files, idempotency_key="once")
    assert codes(first) == ["made", "name_exists"]
    await world.delete_file(ann, made(first[0]).file_id, idempotency_key=None)
    assert await world.batch(ann, files, idempotency_key="once") == first
    with pytest.raises(KeyReused):
        await world.batch(ann, {"/a": [ONE], "/taken": [THREE]}, idempotency_key="once")


async def test_quota_never_exceeded_the_files_that_fit_are_made(world: World) -> None:
    bob = await world.caller("bob", quota=3_500)
    files = {"/a": [ONE, ONE], "/b": [ONE, ONE], "/c": [ONE], "/empty": []}
    assert codes(await world.batch(bob, files)) == ["made", "quota_exceeded", "made", "made"]
    check_invariants(world)


async def test_bytes_that_never_fit_are_not_stored(world: World) -> None:
    bob = await world.caller("bob", quota=2_500)
    with pytest.raises(QuotaExceeded):
        await world.batch(bob, {"/a": [ONE], "/b": [TWO], "/c": [THREE]})
    assert blobs(world) == []
    assert world.sql("SELECT COUNT(*) FROM nodes WHERE kind = 'file'") == [(0,)]


async def test_tenant_isolation_anothers_block_is_missing_and_a_viewer_may_not(
    world: World, ann: Caller, bob: Caller
) -> None:
    await world.upload(ann, "/a", ONE)
    assert codes(await world.batch(bob, {"/a": [ONE]}, TWO)) == ["missing_blocks"]
    shared = await world.namespace_of(ann)
    await world.add_member(shared, bob, Role.VIEWER)
    with pytest.raises(Forbidden):
        await world.batch(bob, {"/b": [TWO]}, namespace=shared)


async def test_bad_blocks_end_the_request(world: World, ann: Caller) -> None:
    with pytest.raises(Unacceptable, match="at least one byte"):
        await world.batch(ann, {"/a": [ONE]}, b"")
    assert codes(await world.commit_batch(ann, Batch([Malformed("no")], []))) == ["bad_request"]


async def test_a_thousand_files_take_about_as_many_statements_as_one(world: World, ann: Caller) -> None:
    statements: list[str] = []
    event.listen(
        world.engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement)
    )
    counts = []
    for name, count in (("one", 1), ("many", 1000)):
        statements.clear()
        files = {f"/{name}/{number}": [noise(f"{name}{number}", 20)] for number in range(count)}
        assert set(codes(await world.batch(ann, files))) == {"made"}
        counts.append(len(statements))
        statements.clear()
        more = {f"/{name}/more {number}": [noise(f"{name}{number}", 20)] for number in range(count)}
        assert set(codes(await world.batch(ann, more))) == {"made"}
    # SQLAlchemy takes rows in pages, and lists of parameters in slices, so it is not quite one.
    assert counts[1] < counts[0] + 15, counts
    assert len(statements) < counts[0] + 2_050, "known blocks are held one by one, nothing else is"


@pytest.mark.parametrize("moment", list(Moment))
async def test_commit_is_atomic_a_batch_that_is_cut_off_anywhere(world: World, moment: Moment) -> None:
    files = {"/docs/a": [ONE, TWO], "/docs/b": [THREE]}
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        try:
            await broken(world, cut).batch(caller, files, idempotency_key="once")
        except Cut:
            assert cut.where
        listed = await world.list_files.whole_tree(caller, None, cursor=None, limit=10)
        assert len(listed.files) in (0, 2), cut.where
        again = await world.batch(caller, files, idempotency_key="once")
        assert codes(again) == ["made", "made"], cut.where
        assert {made(each).version for each in again} == {1}, f"done twice: {cut.where}"
        for result, blocks in zip(again, files.values(), strict=True):
            assert await world.read(caller, made(result).file_id) == b"".join(blocks), cut.where
    assert number > 20, "hardly any call was hit"
    check_invariants(world)
