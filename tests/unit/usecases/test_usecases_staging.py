"""Blocks put straight into storage: whatever events do, only granted and verified bytes are ever usable."""

import asyncio
from datetime import timedelta

import pytest

from shared.domain.accounts import Caller, Role
from shared.domain.blocks import BlockRef, hash_of
from shared.domain.errors import Forbidden, QuotaExceeded, TooManyRequests, Unavailable
from shared.domain.ids import BlobId
from shared.ports.block_store import Arrived, BlobChanged, BlobUnreadable, Container
from shared.ports.metadata import Transaction
from shared.usecases import grant_blocks, sweep_staging
from shared.usecases.admit_staged_block import Outcome
from shared.usecases.check_health import TIMERS
from shared.usecases.leased_job import LeaseLost, Turn
from tests.support.faults import Moment, WatchedStore
from tests.support.samples import noise, ref_of
from tests.support.staging import LEASE, StagingWorld
from tests.support.world import World

BLOCK = noise("staged", 5000)


@pytest.fixture
def staging(world: World) -> StagingWorld:
    return StagingWorld(world)


async def missing(world: World, caller: Caller, *blocks: bytes) -> int:
    return len(await world.check_blocks(caller, None, [hash_of(block) for block in blocks]))


async def test_a_granted_block_is_usable_once_it_was_admitted(staging: StagingWorld, ann: Caller) -> None:
    world = staging.world
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)
    assert await missing(world, ann, BLOCK) == 1
    assert await staging.admit(blob) is Outcome.ADMITTED
    assert await missing(world, ann, BLOCK) == 0
    assert staging.staged() == []
    committed = await world.commit(ann, "/direct", [BLOCK])
    assert await world.read(ann, committed.file_id) == BLOCK


async def test_blocks_that_are_there_get_no_grant(staging: StagingWorld, ann: Caller) -> None:
    await staging.world.admit(ann, BLOCK)
    other = noise("other", 10)
    grants = await staging.grant(ann, None, [ref_of(BLOCK), ref_of(other), ref_of(other)])
    assert [grant.block for grant in grants] == [ref_of(other)]


async def test_asking_again_gives_the_same_name_and_reserves_nothing_twice(
    staging: StagingWorld, ann: Caller
) -> None:
    first = await staging.grant(ann, None, [ref_of(BLOCK)])
    assert await staging.grant(ann, None, [ref_of(BLOCK)]) == first
    assert staging.states() == {"GRANTED": 1}
    # Towards its end, a grant is not worth giving out again.
    staging.world.clock.advance(timedelta(minutes=12))
    (later,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    assert later.url != first[0].url


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (noise("wrong", 5000), "wrong hash"),
        (BLOCK + b"x", "one byte too many"),
        (BLOCK[:-1], "one byte too few"),
        (noise("huge", 6_000_000), "oversize"),
    ],
)
async def test_content_equals_hash_or_is_refused(
    staging: StagingWorld, ann: Caller, content: bytes, why: str
) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, content)
    assert await staging.admit(blob) is Outcome.REFUSED
    assert (staging.states(), staging.staged()) == ({"REFUSED": 1}, [])
    assert await missing(staging.world, ann, BLOCK, content) == 2
    assert all(room is not Container.BLOCKS for room, _ in staging.world.memory.blobs)


async def test_what_has_the_wrong_size_is_deleted_unread(staging: StagingWorld, ann: Caller) -> None:
    def no_reading(moment: Moment, call: str, tx: Transaction | None) -> None:
        assert call != "store.read_arrived"

    watched = StagingWorld(staging.world.with_ports(store=WatchedStore(staging.world.memory, no_reading)))
    (grant,) = await watched.grant(ann, None, [ref_of(BLOCK)])
    assert await watched.admit(watched.arrive(grant, noise("huge", 6_000_000))) is Outcome.REFUSED


async def test_a_blob_that_is_swapped_between_looking_and_reading_is_not_taken(
    staging: StagingWorld, ann: Caller
) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)

    def swap(moment: Moment, call: str, tx: Transaction | None) -> None:
        if (moment, call) == (Moment.AFTER, "store.arrived"):
            staging.arrive(grant, noise("swapped", 5000))

    watched = StagingWorld(staging.world.with_ports(store=WatchedStore(staging.world.memory, swap)))
    with pytest.raises(BlobChanged):
        await watched.admit(blob)
    assert await missing(staging.world, ann, BLOCK) == 1
    # The next try sees what is there now, and refuses it.
    assert await staging.admit(blob) is Outcome.REFUSED


async def test_what_the_store_gives_nobody_is_refused(staging: StagingWorld, ann: Caller) -> None:
    def out_of_reach(moment: Moment, call: str, tx: Transaction | None) -> None:
        if call == "store.read_arrived":
            raise BlobUnreadable("archived")

    watched = StagingWorld(staging.world.with_ports(store=WatchedStore(staging.world.memory, out_of_reach)))
    (grant,) = await watched.grant(ann, None, [ref_of(BLOCK)])
    assert await watched.admit(watched.arrive(grant, BLOCK)) is Outcome.REFUSED
    assert (staging.states(), staging.staged()) == ({"REFUSED": 1}, [])


async def test_event_effect_exactly_once(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)
    outcomes = [await staging.admit(blob) for _ in range(3)]
    assert outcomes == [Outcome.ADMITTED, Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert staging.world.sql("SELECT COUNT(*) FROM blocks") == [(1,)]
    assert staging.states() == {"ADMITTED": 1}


async def test_events_at_the_same_time_make_one_block(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)
    outcomes = await asyncio.gather(*(staging.admit(blob) for _ in range(5)))
    assert Outcome.ADMITTED in outcomes
    assert staging.world.sql("SELECT COUNT(*) FROM blocks") == [(1,)]
    assert await missing(staging.world, ann, BLOCK) == 0


async def test_events_out_of_order(staging: StagingWorld, ann: Caller) -> None:
    contents = [noise(str(number), 100 + number) for number in range(10)]
    grants = await staging.grant(ann, None, [ref_of(content) for content in contents])
    blobs = [staging.arrive(grant, content) for grant, content in zip(grants, contents, strict=True)]
    for blob in reversed(blobs):
        await staging.admit(blob)
    assert await missing(staging.world, ann, *contents) == 0


async def test_an_event_for_a_blob_that_is_gone_changes_nothing(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)
    del staging.world.memory.blobs[Container.STAGING, blob]
    assert await staging.admit(blob) is Outcome.ABSENT
    assert staging.states() == {"GRANTED": 1}
    staging.arrive(grant, BLOCK)
    assert await staging.admit(blob) is Outcome.ADMITTED


async def test_a_blob_that_nobody_was_granted_is_deleted(staging: StagingWorld, ann: Caller) -> None:
    stranger = BlobId("f" * 32)
    staging.world.memory.blobs[Container.STAGING, stranger] = BLOCK
    assert await staging.admit(stranger) is Outcome.UNKNOWN
    assert staging.staged() == []
    assert await missing(staging.world, ann, BLOCK) == 1


async def test_a_second_use_of_the_address_is_deleted(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    await staging.admit(staging.arrive(grant, BLOCK))
    blob = staging.arrive(grant, noise("again", 5000))
    assert await staging.admit(blob) is Outcome.UNKNOWN
    assert staging.staged() == []


async def test_who_may_not_write_any_more_gets_nothing_in(
    staging: StagingWorld, ann: Caller, bob: Caller
) -> None:
    world = staging.world
    shared = await world.namespace_of(ann)
    await world.add_member(shared, bob, Role.EDITOR)
    (grant,) = await staging.grant(bob, shared, [ref_of(BLOCK)])
    blob = staging.arrive(grant, BLOCK)
    world.sql("UPDATE members SET role = 'viewer' WHERE user_id = :user", user=bob.user_id)
    assert await staging.admit(blob) is Outcome.REFUSED
    with pytest.raises(Forbidden):
        await staging.grant(bob, shared, [ref_of(BLOCK)])


async def test_tenant_isolation_a_block_of_another_gets_a_grant(
    staging: StagingWorld, ann: Caller, bob: Caller
) -> None:
    await staging.world.admit(ann, BLOCK)
    assert len(await staging.grant(bob, None, [ref_of(BLOCK)])) == 1


async def test_quota_never_exceeded_by_what_is_granted(staging: StagingWorld) -> None:
    world = staging.world
    poor = await world.caller("poor", quota=10_000)
    await staging.grant(poor, None, [ref_of(BLOCK)])
    with pytest.raises(QuotaExceeded):
        await staging.grant(poor, None, [ref_of(noise("more", 5001))])
    with pytest.raises(QuotaExceeded):
        await world.admit_block(poor, None, noise("more", 5001))
    await staging.grant(poor, None, [ref_of(noise("fits", 5000))])


async def test_the_reserved_room_is_the_block_s_own(staging: StagingWorld) -> None:
    poor = await staging.world.caller("poor", quota=5000)
    (grant,) = await staging.grant(poor, None, [ref_of(BLOCK)])
    assert await staging.admit(staging.arrive(grant, BLOCK)) is Outcome.ADMITTED
    await staging.world.commit(poor, "/all", [BLOCK])


async def test_outstanding_grants_are_capped(
    staging: StagingWorld, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grant_blocks, "MAX_OUTSTANDING", 3)
    await staging.grant(ann, None, [ref_of(noise(str(n), 10)) for n in range(3)])
    with pytest.raises(TooManyRequests):
        await staging.grant(ann, None, [ref_of(BLOCK)])
    # Asking for the same three again is no more than asking once.
    await staging.grant(ann, None, [ref_of(noise(str(n), 10)) for n in range(3)])


async def test_lost_event_heals(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    staging.arrive(grant, BLOCK)
    assert (await staging.sweep()).admitted == 0, "the event may still come"
    staging.world.clock.advance(timedelta(minutes=2))
    swept = await staging.sweep()
    assert (swept.ran, swept.admitted) == (True, 1)
    assert await missing(staging.world, ann, BLOCK) == 0


async def test_abandoned_grants_give_their_room_back(staging: StagingWorld) -> None:
    poor = await staging.world.caller("poor", quota=5000)
    await staging.grant(poor, None, [ref_of(BLOCK)])
    staging.world.clock.advance(timedelta(minutes=30))
    assert (await staging.sweep()).expired == 0, "an upload that began in time may still arrive"
    staging.world.clock.advance(timedelta(minutes=30))
    assert (await staging.sweep()).expired == 1
    assert staging.states() == {"EXPIRED": 1}
    await staging.world.admit_block(poor, None, noise("instead", 5000))


async def test_what_arrives_after_its_grant_expired_is_deleted(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    staging.world.clock.advance(timedelta(hours=2))
    await staging.sweep()
    staging.arrive(grant, BLOCK)
    assert (await staging.sweep()).orphans == 1
    assert staging.staged() == []


async def test_settled_grants_are_forgotten_after_a_week(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    await staging.admit(staging.arrive(grant, BLOCK))
    staging.world.clock.advance(timedelta(days=6))
    assert (await staging.sweep()).forgotten == 0
    staging.world.clock.advance(timedelta(days=2))
    assert (await staging.sweep()).forgotten == 1


async def test_a_sweep_is_bounded_and_the_next_goes_on(
    staging: StagingWorld, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_staging, "PAGE", 3)
    monkeypatch.setattr(sweep_staging, "PAGES", 2)
    contents = [noise(str(number), 50) for number in range(10)]
    grants = await staging.grant(ann, None, [ref_of(content) for content in contents])
    staging.world.clock.advance(timedelta(minutes=2))
    # Half of them never come: they stay, and must not keep the sweep from reaching the others.
    late = sorted(zip(grants, contents, strict=True), key=lambda pair: pair[0].url)[5:]
    for grant, content in late:
        staging.arrive(grant, content)
    admitted = [(await staging.sweep()).admitted for _ in range(4)]
    assert sum(admitted) == 5
    assert max(admitted) < 5


@pytest.mark.parametrize("broken", [1, 2, 3])
async def test_a_grant_that_fails_keeps_no_others_waiting(
    staging: StagingWorld, ann: Caller, broken: int
) -> None:
    contents = [noise(str(number), 50) for number in range(6)]
    grants = await staging.grant(ann, None, [ref_of(content) for content in contents])
    arrived = [staging.arrive(grant, content) for grant, content in zip(grants, contents, strict=True)]
    bad = set(sorted(arrived)[:broken])
    looked_at: list[BlobId] = []

    class Partly(WatchedStore):
        async def arrived(self, blob: BlobId) -> Arrived:
            looked_at.append(blob)
            if blob in bad:
                raise Unavailable("no answer for this one")
            return await staging.world.memory.arrived(blob)

    watched = StagingWorld(staging.world.with_ports(store=Partly(staging.world.memory, lambda *_: None)))
    staging.world.clock.advance(timedelta(minutes=2))
    if broken < sweep_staging.FAILURES_IN_A_ROW:
        swept = await watched.sweep()
        assert (swept.failed, swept.admitted) == (broken, len(contents) - broken)
    else:
        with pytest.raises(Unavailable):
            await watched.sweep()
        assert len(looked_at) == sweep_staging.FAILURES_IN_A_ROW, "the store is away: it is left in peace"


async def test_two_sweeps_at_once_do_the_work_once(staging: StagingWorld, ann: Caller) -> None:
    (grant,) = await staging.grant(ann, None, [ref_of(BLOCK)])
    staging.arrive(grant, BLOCK)
    staging.world.clock.advance(timedelta(minutes=2))
    swept = await asyncio.gather(*(staging.sweep() for _ in range(4)))
    assert sorted(each.ran for each in swept) == [False, False, False, True]
    assert sum(each.admitted for each in swept) == 1


async def test_a_run_that_was_replaced_can_write_nothing_more(staging: StagingWorld) -> None:
    world = staging.world

    async def stalled(turn: Turn) -> str | None:
        world.clock.advance(LEASE + timedelta(seconds=1))

        async def other(second: Turn) -> str | None:
            assert second.fence == turn.fence + 1
            return "further"

        assert await staging.jobs.run("job", other)
        with pytest.raises(LeaseLost):
            await world.metadata.write(turn.check)
        return "back"

    with pytest.raises(LeaseLost):
        await staging.jobs.run("job", stalled)
    assert await world.metadata.read(lambda tx: tx.jobs.cursor("job")) == "further"


async def test_a_run_at_work_prolongs_its_lease(staging: StagingWorld) -> None:
    world = staging.world

    async def long(turn: Turn) -> str | None:
        for _ in range(5):
            world.clock.advance(LEASE * 0.7)
            await staging.jobs.keep(turn)
            assert not await staging.jobs.run("job", long), "two run at once"
        return None

    assert await staging.jobs.run("job", long)


async def test_a_failed_run_is_followed_by_another_when_its_lease_ends(staging: StagingWorld) -> None:
    async def failing(turn: Turn) -> str | None:
        raise Unavailable("the store is away")

    async def working(turn: Turn) -> str | None:
        return None

    with pytest.raises(Unavailable):
        await staging.jobs.run("job", failing)
    assert not await staging.jobs.run("job", working)
    assert await staging.world.metadata.read(lambda tx: tx.jobs.last_successes()) == {}
    staging.world.clock.advance(LEASE)
    assert await staging.jobs.run("job", working)
    assert "job" in await staging.world.metadata.read(lambda tx: tx.jobs.last_successes())


async def test_expired_tokens_and_replies_go_and_living_ones_stay(staging: StagingWorld, ann: Caller) -> None:
    world = staging.world
    await world.admit(ann, BLOCK)
    await world.commit(ann, "/a", [BLOCK], idempotency_key="once")
    assert (await staging.expire()).replies == 0
    world.clock.advance(timedelta(days=2))
    await world.log_in("ann")
    expired = await staging.expire()
    assert (expired.ran, expired.replies, expired.tokens) == (True, 1, 0)
    world.clock.advance(timedelta(days=66))
    assert (await staging.expire()).tokens == 1
    assert world.sql("SELECT COUNT(*) FROM refresh_tokens") == [(1,)]


async def test_health_names_what_is_away_and_what_still_works(staging: StagingWorld) -> None:
    def away(moment: Moment, call: str, tx: Transaction | None) -> None:
        if call.startswith("store."):
            raise Unavailable("away")

    health = await staging.health()
    assert (health.status, health.timers) == ("ready", dict.fromkeys(TIMERS))
    await staging.sweep()
    health = await StagingWorld(
        staging.world.with_ports(store=WatchedStore(staging.world.memory, away))
    ).health()
    assert (health.status, health.is_ready) == ("degraded", True)
    assert health.parts == {"database": True, "store": False}
    assert health.works["signing in"]
    assert not health.works["downloading"]
    assert health.timers == {**dict.fromkeys(TIMERS), "sweep_staging": staging.world.clock.now()}


async def test_a_block_of_four_mib_to_the_byte(staging: StagingWorld, ann: Caller) -> None:
    largest = noise("largest", 4 * 2**20)
    (grant,) = await staging.grant(ann, None, [BlockRef(hash_of(largest), len(largest))])
    assert await staging.admit(staging.arrive(grant, largest)) is Outcome.ADMITTED
