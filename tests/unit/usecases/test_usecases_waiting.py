"""Waiting for changes: nothing that happens between any two steps is missed, and nobody waits in vain."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from shared.adapters.memory.wakeups import MemoryWakeups
from shared.adapters.ringing import RingingMetadata
from shared.domain.accounts import Caller
from shared.domain.errors import CursorReset, InvalidToken, Malformed
from shared.domain.ids import NamespaceId
from shared.ports.metadata import Transaction
from shared.ports.wakeups import Bell
from shared.usecases.follow_changes import FollowChanges
from shared.usecases.wait_for_changes import WaitForChanges
from tests.support.faults import Moment, WatchedMetadata
from tests.support.samples import noise
from tests.support.world import World

LONG = 20.0


class Deaf(MemoryWakeups):
    """Rings get lost, and it is known or not."""

    def __init__(self, *, sure: bool) -> None:
        super().__init__()
        self._sure = sure

    async def ring(self, namespaces: Collection[NamespaceId]) -> None:
        return None

    @asynccontextmanager
    async def listen(self, namespaces: Collection[NamespaceId]) -> AsyncIterator[Bell]:
        async with super().listen(namespaces) as bell:
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
    return WaitForChanges(world.metadata, wakeups, FollowChanges(world.metadata, world.seals), **more)


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
            watched.metadata, wakeups, FollowChanges(watched.metadata, ringing.seals), LONG, LONG
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
    assert wait_for.waiting == {}


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
    assert wait_for.waiting == {}


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
    rung: list[NamespaceId] = []

    class Counting(MemoryWakeups):
        async def ring(self, namespaces: Collection[NamespaceId]) -> None:
            rung.extend(namespaces)

    ringing = world.with_ports(metadata=RingingMetadata(world.metadata, Counting()))
    with pytest.raises(Malformed):
        await ringing.metadata.write(lambda tx: _record_then_fail(tx))
    await ringing.admit(ann, b"a block changes no journal")
    assert rung == []
    await ringing.upload(ann, "/a", b"a")
    assert rung == [await ringing.namespace_of(ann)]


def _record_then_fail(tx: Transaction) -> None:
    raise Malformed("no")
