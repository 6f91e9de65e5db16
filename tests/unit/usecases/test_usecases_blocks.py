"""The one door for bytes: what comes in is verified, counted, isolated, and usable only when it is whole."""

import asyncio
from datetime import timedelta

import pytest
import zstandard

from shared.domain.accounts import Caller, Role
from shared.domain.blocks import BLOCK_SIZE, Sha256, hash_of
from shared.domain.codecs import Codec
from shared.domain.errors import (
    Forbidden,
    HashMismatch,
    InvalidToken,
    Malformed,
    MissingBlocks,
    NotFound,
    QuotaExceeded,
    TooLarge,
    Unacceptable,
    Unavailable,
)
from shared.domain.ids import NamespaceId
from shared.ports.block_store import Container
from shared.ports.metadata import Transaction
from tests.support.faults import Cut, Hook, Moment, WatchedMetadata, WatchedStore
from tests.support.samples import noise, prose, ref_of
from tests.support.world import World, nobody

BLOCK = noise("block", 5000)


def rows(world: World, table: str) -> int:
    return int(world.sql(f"SELECT COUNT(*) FROM {table}")[0][0])


async def test_a_new_block_is_stored_once_and_leased(world: World, ann: Caller) -> None:
    assert await world.admit_block(ann, None, BLOCK) == ref_of(BLOCK)
    assert list(world.memory.blobs.values()) == [BLOCK]
    assert await world.check_blocks(ann, None, [hash_of(BLOCK)]) == []
    assert rows(world, "leases") == 1


async def test_a_repeated_block_is_harmless_and_not_written_again(world: World, ann: Caller) -> None:
    for _ in range(3):
        assert await world.admit_block(ann, None, BLOCK) == ref_of(BLOCK)
    assert (len(world.memory.blobs), rows(world, "blocks"), rows(world, "leases")) == (1, 1, 1)


async def test_the_same_block_many_times_at_once_is_one_block(world: World, ann: Caller) -> None:
    made = await asyncio.gather(*(world.admit_block(ann, None, BLOCK) for _ in range(20)))
    assert set(made) == {ref_of(BLOCK)}
    assert (rows(world, "blocks"), rows(world, "leases")) == (1, 1)
    committed = await world.commit(ann, "/a", [BLOCK])
    assert await world.read(ann, committed.file_id) == BLOCK


async def test_what_shrinks_is_stored_shrunk_however_it_came(world: World, ann: Caller) -> None:
    plain = prose("text", 100_000)
    packed = zstandard.compress(plain)
    assert await world.admit_block(ann, None, packed, codec=Codec.ZSTD, stated=hash_of(plain)) == ref_of(
        plain
    )
    other = prose("other", 100_000)
    assert await world.admit_block(ann, None, other) == ref_of(other)
    # Packed by its sender in a way that doesn't pay: stored plain.
    useless = zstandard.compress(BLOCK)
    assert await world.admit_block(ann, None, useless, codec=Codec.ZSTD) == ref_of(BLOCK)
    codecs = world.sql("SELECT codec, COUNT(*) FROM blocks GROUP BY codec ORDER BY codec")
    assert codecs == [("none", 1), ("zstd", 2)]
    committed = await world.commit(ann, "/a", [plain, BLOCK, other])
    assert await world.read(ann, committed.file_id) == plain + BLOCK + other


async def test_four_mib_to_the_byte(world: World, ann: Caller) -> None:
    largest = noise("largest", BLOCK_SIZE)
    assert (await world.admit_block(ann, None, largest)).size == BLOCK_SIZE
    with pytest.raises(TooLarge) as refused:
        await world.admit_block(ann, None, largest + b"x")
    assert refused.value.limit == BLOCK_SIZE
    with pytest.raises(TooLarge):
        await world.admit_block(ann, None, zstandard.compress(bytes(BLOCK_SIZE + 1)), codec=Codec.ZSTD)


@pytest.mark.parametrize(
    ("body", "codec", "stated", "refusal"),
    [
        (b"", Codec.NONE, None, Unacceptable),
        (zstandard.compress(b""), Codec.ZSTD, None, Unacceptable),
        (b"no frame", Codec.ZSTD, None, Malformed),
        (zstandard.compress(BLOCK)[:-1], Codec.ZSTD, None, Malformed),
        (BLOCK, Codec.NONE, hash_of(b"other"), HashMismatch),
        (zstandard.compress(BLOCK), Codec.ZSTD, hash_of(zstandard.compress(BLOCK)), HashMismatch),
    ],
)
async def test_what_is_refused_leaves_nothing(
    world: World, ann: Caller, body: bytes, codec: Codec, stated: Sha256 | None, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await world.admit_block(ann, None, body, codec=codec, stated=stated)
    assert (world.memory.blobs, rows(world, "blobs"), rows(world, "blocks")) == ({}, 0, 0)


async def test_quota_counts_what_was_uploaded_and_not_yet_committed(world: World) -> None:
    ann = await world.caller("ann", quota=10_000)
    await world.admit(ann, noise("1", 4000), noise("2", 4000))
    with pytest.raises(QuotaExceeded) as refused:
        await world.admit(ann, noise("3", 2001))
    assert (refused.value.quota, refused.value.used) == (10_000, 0)
    await world.admit(ann, noise("1", 4000), noise("3", 2000))
    # What is committed is counted once: as used, and not as uploaded any more.
    await world.commit(ann, "/a", [noise("1", 4000), noise("2", 4000)])
    with pytest.raises(QuotaExceeded):
        await world.admit(ann, b"x")


async def test_only_a_writer_may_bring_bytes(world: World, ann: Caller, bob: Caller) -> None:
    namespace = await world.namespace_of(ann)
    for unknown in (namespace, NamespaceId("f" * 32)):
        with pytest.raises(NotFound):
            await world.admit_block(bob, unknown, BLOCK)
        with pytest.raises(NotFound):
            await world.check_blocks(bob, unknown, [hash_of(BLOCK)])
    await world.add_member(namespace, bob, Role.VIEWER)
    with pytest.raises(Forbidden):
        await world.admit_block(bob, namespace, BLOCK)
    with pytest.raises(InvalidToken):
        await world.admit_block(nobody(), None, BLOCK)
    assert (world.memory.blobs, rows(world, "blobs")) == ({}, 0)


async def test_a_role_that_is_taken_away_while_the_bytes_travel_counts(
    world: World, ann: Caller, bob: Caller
) -> None:
    namespace = await world.namespace_of(ann)
    await world.add_member(namespace, bob, Role.EDITOR)

    def demote(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if (moment, call) == (Moment.AFTER, "store.put"):
            world.sql("UPDATE members SET role = 'viewer' WHERE user_id = :user", user=bob.user_id)

    watched = world.with_ports(store=WatchedStore(world.store, demote))
    with pytest.raises(Forbidden):
        await watched.admit_block(bob, namespace, BLOCK)
    assert rows(world, "blocks") == 0


async def test_tenant_isolation_bytes_of_others_are_missing_and_stored_again(
    world: World, ann: Caller, bob: Caller
) -> None:
    await world.admit(ann, BLOCK)
    await world.commit(ann, "/a", [BLOCK])
    never = hash_of(b"nobody has this")
    assert await world.check_blocks(bob, None, [hash_of(BLOCK), never]) == [hash_of(BLOCK), never]
    await world.admit(bob, BLOCK)
    assert len(world.memory.blobs) == 2


async def test_what_another_member_has_only_uploaded_is_missing_until_it_is_committed(
    world: World, ann: Caller, bob: Caller
) -> None:
    namespace = await world.namespace_of(ann)
    await world.add_member(namespace, bob, Role.EDITOR)
    await world.admit(ann, BLOCK)
    assert await world.check_blocks(bob, namespace, [hash_of(BLOCK)]) == [hash_of(BLOCK)]
    await world.commit(ann, "/a", [BLOCK])
    assert await world.check_blocks(bob, namespace, [hash_of(BLOCK)]) == []


async def test_checking_answers_in_order_each_once_and_renews_leases(world: World, ann: Caller) -> None:
    await world.admit(ann, BLOCK)
    before = world.sql("SELECT expires_at FROM leases")
    world.clock.advance(timedelta(hours=3))
    asked = [hash_of(word) for word in (b"z", b"a", b"z")] + [hash_of(BLOCK), hash_of(b"a")]
    assert await world.check_blocks(ann, None, asked) == [hash_of(b"z"), hash_of(b"a")]
    assert world.sql("SELECT expires_at FROM leases") > before
    assert await world.check_blocks(ann, None, []) == []


async def test_bad_copy_never_blocks_repair(world: World, ann: Caller) -> None:
    await world.admit(ann, BLOCK)
    committed = await world.commit(ann, "/a", [BLOCK])
    [(container, blob)] = world.memory.blobs
    world.sql("UPDATE blobs SET bad_at = '2026-01-31 12:00:00.000000'")
    del world.memory.blobs[container, blob]
    assert await world.check_blocks(ann, None, [hash_of(BLOCK)]) == [hash_of(BLOCK)]
    with pytest.raises(MissingBlocks):
        await world.commit(ann, "/b", [BLOCK])
    await world.admit(ann, BLOCK)
    assert await world.read(ann, committed.file_id) == BLOCK
    assert await world.check_blocks(ann, None, [hash_of(BLOCK)]) == []


def cut_before(call: str) -> Hook:
    def hook(moment: Moment, passing: str, _tx: Transaction | None) -> None:
        if (moment, passing) == (Moment.BEFORE, call):
            raise Cut(call)

    return hook


@pytest.mark.parametrize("call", ["store.put", "blocks.finish_blob", "blocks.place_blocks", "blocks.lease"])
async def test_killed_between_the_steps_leaves_nothing_usable(world: World, ann: Caller, call: str) -> None:
    hook = cut_before(call)
    broken = world.with_ports(
        metadata=WatchedMetadata(world.metadata, hook), store=WatchedStore(world.store, hook)
    )
    with pytest.raises(Cut):
        await broken.admit_block(ann, None, BLOCK)
    assert await world.check_blocks(ann, None, [hash_of(BLOCK)]) == [hash_of(BLOCK)]
    assert world.sql("SELECT state, referable FROM blobs") == [("WRITING", 0)]
    assert rows(world, "blocks") == 0
    await world.admit(ann, BLOCK)
    assert await world.check_blocks(ann, None, [hash_of(BLOCK)]) == []


async def test_a_blob_that_is_no_longer_awaited_is_never_referred_to(world: World, ann: Caller) -> None:
    def sweep(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if (moment, call) == (Moment.AFTER, "store.put"):
            world.sql("UPDATE blobs SET state = 'RETIRING'")

    watched = world.with_ports(store=WatchedStore(world.store, sweep))
    with pytest.raises(Unavailable, match="took too long"):
        await watched.admit_block(ann, None, BLOCK)
    assert rows(world, "blocks") == 0


async def test_immutable_bytes_a_name_that_is_taken_is_never_written_over(world: World, ann: Caller) -> None:
    def occupy(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if (moment, call) == (Moment.BEFORE, "store.put"):
            [(blob,)] = world.sql("SELECT blob_id FROM blobs WHERE state = 'WRITING'")
            world.memory.blobs[Container.BLOCKS, blob] = b"what was there"

    watched = world.with_ports(store=WatchedStore(world.store, occupy))
    with pytest.raises(Unavailable):
        await watched.admit_block(ann, None, BLOCK)
    assert list(world.memory.blobs.values()) == [b"what was there"]
    assert rows(world, "blocks") == 0


async def test_a_condemned_block_that_comes_again_is_wanted_again(world: World, ann: Caller) -> None:
    await world.admit(ann, BLOCK)
    world.sql("UPDATE blocks SET condemned_at = '2026-01-31 12:00:00.000000'")
    await world.admit(ann, BLOCK)
    assert world.sql("SELECT condemned_at FROM blocks") == [(None,)]
    world.sql("UPDATE blocks SET condemned_at = '2026-01-31 12:00:00.000000'")
    await world.commit(ann, "/a", [BLOCK])
    assert world.sql("SELECT condemned_at FROM blocks") == [(None,)]
