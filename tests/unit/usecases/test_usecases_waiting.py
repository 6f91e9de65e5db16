"""Waiting for changes: nothing that happens between any two steps is missed, and nobody waits in vain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.memory.wakeups import MemoryWakeups
from shared.adapters.ringing import RingingMetadata
from shared.domain.accounts import Caller
from shared.domain.errors import CursorReset, InvalidToken, Malformed
from shared.domain.events import Hint
from shared.ports.metadata import Transaction
from shared.ports.wakeups import Bell, Rung
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.follow_changes import FollowChanges
from shared.usecases.use_devices import UseDevices
from shared.usecases.wait_for_changes import GRACE, WaitForChanges
from tests.support.doubles import CountedIds
from tests.support.faults import Moment, WatchedMetadata
from tests.support.samples import noise
from tests.support.world import PASSWORD, World

LONG = 20.0


class Deaf(MemoryWakeups):
    """Rings get lost, and it is known or not."""

    def __init__(self, *, sure: bool) -> None:
        super().__init__()
        self._sure = sure

    async def ring(self, rung: Collection[Rung]) -> None:
        return None

    @asynccontextmanager
    async def listen(self, rung: Collection[Rung]) -> AsyncIterator[Bell]:
        async with super().listen(rung) as bell:
            object.__setattr__(bell, "_sure", lambda: self._sure)
            yield bell


@pytest.fixture
def wakeups() -> MemoryWakeups:
    return MemoryWakeups()


@pytest.fixture
def ringing(world: World, wakeups: MemoryWakeups) -> World:
    """The world whose commits ring."""
    return world.with_ports(metadata=RingingMetadata(world.metadata, wakeups))


def waiting(world: World, wakeups: MemoryWakeups, **more: float) -> WaitForChanges:
    return WaitForChanges(
        world.metadata,
        wakeups,
        MemoryPresence(),
        FollowChanges(world.metadata, world.seals),
        world.ids,
        **more,
    )


async def cursor_of(world: World, caller: Caller) -> str:
    return (await world.follow_changes(caller, cursor=None, limit=1000)).cursor


async def test_what_is_behind_already_is_told_at_once(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    cursor = await cursor_of(ringing, ann)
    made = await ringing.upload(ann, "/a", b"a")
    waited = await waiting(ringing, wakeups)(ann, cursor=cursor, wait=LONG)
    assert waited.behind == [(await ringing.namespace_of(ann), made.seq)]


async def test_nothing_new_until_the_time_is_up(ringing: World, wakeups: MemoryWakeups, ann: Caller) -> None:
    cursor = await cursor_of(ringing, ann)
    for wait in (0.0, 0.1):
        assert (await waiting(ringing, wakeups)(ann, cursor=cursor, wait=wait)).behind == []


async def test_a_commit_wakes(ringing: World, wakeups: MemoryWakeups, ann: Caller, bob: Caller) -> None:
    wait_for = waiting(ringing, wakeups, look_every=LONG, look_often=LONG)
    cursor = await cursor_of(ringing, ann)
    waiter = asyncio.create_task(wait_for(ann, cursor=cursor, wait=LONG))
    await asyncio.sleep(0.05)
    await ringing.upload(bob, "/b", b"b")
    await asyncio.sleep(0.05)
    assert not waiter.done(), "what another user does wakes nobody else"
    await ringing.batch(ann, {"/a": [noise("a", 10)]})
    async with asyncio.timeout(LONG / 2):
        assert (await waiter).behind


async def test_no_lost_wakeup_a_commit_between_any_two_steps(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    """A commit is made by somebody else at each step of the wait in turn, and is heard of long before its end."""
    number, loop = 0, asyncio.get_running_loop()
    while True:
        number += 1
        cursor, passed, hit = await cursor_of(ringing, ann), 0, False

        def commit_here(moment: Moment, call: str, tx: Transaction | None, at: int = number) -> None:
            nonlocal passed, hit
            # Within a transaction that reads, nobody else's commit would be seen: between them is where it counts.
            if tx is not None or not call.startswith("metadata."):
                return
            passed += 1
            if passed == at:
                hit = True
                asyncio.run_coroutine_threadsafe(ringing.upload(ann, f"/{at}", b"x"), loop)

        watched = ringing.with_ports(metadata=WatchedMetadata(ringing.metadata, commit_here))
        wait_for = WaitForChanges(
            watched.metadata,
            wakeups,
            MemoryPresence(),
            FollowChanges(watched.metadata, ringing.seals),
            ringing.ids,
            look_every=LONG,
            look_often=LONG,
        )
        waiter = asyncio.create_task(wait_for(ann, cursor=cursor, wait=LONG))
        await asyncio.sleep(0.1)
        if not hit:
            waiter.cancel()
            break
        async with asyncio.timeout(LONG / 2):
            assert (await waiter).behind, f"step {number}"
    assert number > 3


@pytest.mark.parametrize("sure", [True, False])
async def test_lost_event_heals_without_rings_it_looks_now_and_then(
    world: World, ann: Caller, sure: bool
) -> None:
    deaf = Deaf(sure=sure)
    pauses = {"look_every": 0.05, "look_often": LONG} if sure else {"look_every": LONG, "look_often": 0.05}
    cursor = await cursor_of(world, ann)
    waiter = asyncio.create_task(waiting(world, deaf, **pauses)(ann, cursor=cursor, wait=LONG))
    await asyncio.sleep(0.1)
    await world.upload(ann, "/a", b"a")
    async with asyncio.timeout(LONG / 2):
        assert (await waiter).behind


async def test_a_newer_wait_of_the_same_device_ends_the_older(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    wait_for = waiting(ringing, wakeups)
    other = await ringing.log_in("ann")
    cursor = await cursor_of(ringing, ann)
    older = asyncio.create_task(wait_for(ann, cursor=cursor, wait=LONG))
    elsewhere = asyncio.create_task(wait_for(other, cursor=cursor, wait=LONG))
    await asyncio.sleep(0.05)
    newer = asyncio.create_task(wait_for(ann, cursor=cursor, wait=LONG))
    async with asyncio.timeout(LONG / 2):
        ended = await older
    assert (ended.behind, ended.superseded) == ([], True)
    assert not newer.done()
    assert not elsewhere.done(), "another device waits on"
    await ringing.upload(ann, "/a", b"a")
    async with asyncio.timeout(LONG / 2):
        assert (await newer).behind
        assert (await elsewhere).behind


async def test_a_newer_wait_in_another_process_ends_the_older_at_once(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    """Two processes share the bells and what is known of presence, and nothing else."""
    presence, follow = MemoryPresence(), FollowChanges(ringing.metadata, ringing.seals)
    one, other = (
        WaitForChanges(ringing.metadata, wakeups, presence, follow, CountedIds(word), None, LONG, LONG)
        for word in ("one", "other")
    )
    cursor = await cursor_of(ringing, ann)
    waits = [asyncio.create_task(one(ann, cursor=cursor, wait=LONG))]
    for number in range(1, 7):
        await asyncio.sleep(0.02)
        process = (one, other)[number % 2]
        waits.append(asyncio.create_task(process(ann, cursor=cursor, wait=LONG)))
        async with asyncio.timeout(LONG / 2):
            assert (await waits[-2]).superseded
    assert not waits[-1].done()
    # All at once, exactly one is left, whichever.
    more = [asyncio.create_task((one, other)[n % 2](ann, cursor=cursor, wait=LONG)) for n in range(10)]
    async with asyncio.timeout(LONG / 2):
        while sum(not each.done() for each in (*waits, *more)) > 1:
            await asyncio.sleep(0.01)
    await ringing.upload(ann, "/a", b"a")
    async with asyncio.timeout(LONG / 2):
        told = await asyncio.gather(*waits, *more)
    assert sum(bool(each.behind) for each in told) == 1


async def test_a_backlog_comes_with_the_next_answer_and_once(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    bus, namespace = MemoryEventBus(), await ringing.namespace_of(ann)
    wait_for = replace(waiting(ringing, wakeups), collect_backlog=CollectBacklog(ringing.metadata, bus))
    cursor = await cursor_of(ringing, ann)
    hint = Hint(device=ann.device_id, namespace=namespace, seq=1)
    await bus.leave([hint])
    assert (await wait_for(ann, cursor=cursor, wait=0)).backlog == [], "nobody has noted one"
    await ringing.metadata.write(lambda tx: tx.backlogs.note([ann.device_id], now=ringing.clock.now()))
    bus.away = True
    assert (await wait_for(ann, cursor=cursor, wait=0)).backlog == []
    bus.away = False
    assert (await wait_for(ann, cursor=cursor, wait=0)).backlog == [hint]
    assert (await wait_for(ann, cursor=cursor, wait=0)).backlog == []


async def test_who_waits_is_present_and_a_while_longer(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    seconds = 0.0
    presence = MemoryPresence(lambda: seconds)
    wait_for = replace(waiting(ringing, wakeups), presence=presence)
    await wait_for(ann, cursor=await cursor_of(ringing, ann), wait=0)
    assert await presence.present([ann.device_id]) == {ann.device_id}
    seconds = GRACE + 0.1
    assert await presence.present([ann.device_id]) == frozenset()


async def test_a_device_that_is_ended_hears_of_it_at_once(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    """However: by another device, by its own logout, by a new password."""
    wait_for = waiting(ringing, wakeups, look_every=LONG, look_often=LONG)
    cursor = await cursor_of(ringing, ann)

    async def ended(how: Callable[[Caller], Awaitable[None]]) -> None:
        other = await ringing.log_in("ann")
        waiter = asyncio.create_task(wait_for(other, cursor=cursor, wait=LONG))
        await asyncio.sleep(0.05)
        await how(other)
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(InvalidToken):
                await waiter

    use_devices = UseDevices(ringing.metadata, ringing.clock, MemoryPresence())
    await ended(lambda other: use_devices.revoke(ann, other.device_id))
    await ended(ringing.sign_in.log_out)
    await ended(lambda other: ringing.sign_in.change_password(other, PASSWORD, "another good password"))


async def test_who_may_not_and_what_is_no_cursor(
    ringing: World, wakeups: MemoryWakeups, ann: Caller, bob: Caller
) -> None:
    wait_for, cursor = waiting(ringing, wakeups), await cursor_of(ringing, ann)
    with pytest.raises(Malformed):
        await wait_for(ann, cursor="nonsense", wait=LONG)
    with pytest.raises(CursorReset):
        await wait_for(bob, cursor=cursor, wait=LONG)
    await ringing.sign_in.log_out(ann)
    with pytest.raises(InvalidToken):
        await wait_for(ann, cursor=cursor, wait=LONG)


async def test_a_device_that_is_ended_waits_no_more(
    ringing: World, wakeups: MemoryWakeups, ann: Caller
) -> None:
    other = await ringing.log_in("ann")
    cursor = await cursor_of(ringing, ann)
    waiter = asyncio.create_task(waiting(ringing, wakeups)(other, cursor=cursor, wait=LONG))
    await asyncio.sleep(0.05)
    await ringing.sign_in.log_out(other)
    await ringing.upload(ann, "/a", b"a")
    with pytest.raises(InvalidToken):
        await waiter


async def test_a_change_that_fails_rings_for_nobody(world: World, ann: Caller) -> None:
    heard: list[Rung] = []

    class Counting(MemoryWakeups):
        async def ring(self, rung: Collection[Rung]) -> None:
            heard.extend(rung)

    ringing = world.with_ports(metadata=RingingMetadata(world.metadata, Counting()))
    with pytest.raises(Malformed):
        await ringing.metadata.write(lambda tx: _record_then_fail(tx))
    await ringing.admit(ann, b"a block changes no journal")
    assert heard == []
    await ringing.upload(ann, "/a", b"a")
    assert heard == [await ringing.namespace_of(ann)]


def _record_then_fail(tx: Transaction) -> None:
    raise Malformed("no")
