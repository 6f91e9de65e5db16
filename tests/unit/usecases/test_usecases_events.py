"""From the outbox to the devices: nothing is lost on the way, whatever is away, and nobody's commit waits for it."""

import asyncio
import json
import sqlite3
from collections.abc import Collection
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from shared.adapters.memory.audit_log import MemoryAuditLog
from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.memory.wakeups import MemoryWakeups
from shared.adapters.ringing import RingingMetadata
from shared.domain.accounts import Caller, Role
from shared.domain.errors import Unavailable
from shared.domain.events import FileEvent, write_event
from shared.domain.ids import NodeId
from shared.ports.event_bus import Letter
from shared.ports.metadata import Transaction
from shared.ports.presence import WaitId
from shared.ports.tables_journal import Change, ChangeKind
from shared.ports.tables_outbox import EventKey
from shared.usecases.audit_events import AuditEvents
from shared.usecases.check_health import LATE, CheckHealth
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.leased_job import LeasedJob
from shared.usecases.notify_devices import RENEW, NotifyDevices
from shared.usecases.relay_events import KEEP, PAGE, RelayEvents, RelaySoon
from shared.usecases.use_devices import UseDevices
from tests.support.faults import Moment, WatchedMetadata, cuts
from tests.support.world import World

DAY = timedelta(days=1)
PATIENCE = timedelta(seconds=10)


class Events:
    """A world with a bus, in which no time passes and nothing runs by itself."""

    def __init__(self, world: World) -> None:
        self.world, self.bus, self.presence = world, MemoryEventBus(), MemoryPresence()
        self.wakeups = MemoryWakeups()
        jobs = LeasedJob(world.metadata, world.clock, timedelta(minutes=1))
        self.relay = RelayEvents(world.metadata, self.bus, world.clock, jobs, PATIENCE)
        self.notify = NotifyDevices(
            world.metadata, self.wakeups, self.presence, self.bus, world.clock, 60 * DAY
        )
        self.collect = CollectBacklog(world.metadata, self.bus)
        self.soon = RelaySoon(world.metadata, self.bus, linger=0)

    async def timer(self) -> int:
        """The timer, a while after whatever came before."""
        self.world.clock.advance(2 * PATIENCE)
        return (await self.relay()).sent

    async def take(self) -> list[FileEvent]:
        found, self.bus.published = self.bus.published, []
        return found

    def waiting(self) -> list[EventKey]:
        return [(ns, seq) for ns, seq in self.world.sql("SELECT ns_id, seq FROM outbox ORDER BY ns_id, seq")]


@pytest.fixture
def events(world: World) -> Events:
    return Events(world)


# --- the relay


async def test_event_effect_exactly_once_each_commit_is_one_event(
    events: Events, world: World, ann: Caller
) -> None:
    made = [await world.upload(ann, f"/{number}", b"x") for number in range(3)]
    await world.batch(ann, {"/p": [b"p"], "/q": [b"q"]})
    assert await events.timer() == 4
    published = await events.take()
    assert [event.seq for event in published] == [*(each.seq for each in made), made[-1].seq + 1]
    assert published[-1].kinds == {"file_created": 2}
    assert {event.device for event in published} == {ann.device_id}
    assert events.waiting() == []
    assert await events.timer() == 0


async def test_young_events_are_left_to_who_committed_them(events: Events, world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", b"a")
    assert (await events.relay()).sent == 0
    assert len(events.waiting()) == 1


async def test_lost_event_heals_a_bus_that_is_away_gets_all_of_them_later(
    events: Events, world: World, ann: Caller
) -> None:
    events.bus.away = True
    made = [await world.upload(ann, f"/{number}", b"x") for number in range(PAGE + 5)]
    with pytest.raises(Unavailable):
        await events.timer()
    assert len(events.waiting()) == PAGE + 5
    events.bus.away = False
    world.clock.advance(timedelta(minutes=2))  # a failed run keeps its lease
    assert await events.timer() == PAGE + 5
    assert [event.seq for event in await events.take()] == [each.seq for each in made]


@pytest.mark.parametrize("moment", list(Moment))
async def test_outbox_neither_phantom_nor_loss_wherever_a_relay_is_killed(
    events: Events, world: World, ann: Caller, moment: Moment
) -> None:
    """Killed at each of its calls in turn, and run again, it has sent every event, and the bus has each once."""
    seqs = []
    for _, cut in cuts(moment):
        seqs.append((await world.upload(ann, f"/{len(seqs)}", b"x")).seq)
        world.clock.advance(2 * PATIENCE)
        metadata = WatchedMetadata(world.metadata, cut)
        jobs = LeasedJob(metadata, world.clock, timedelta(minutes=1))
        try:
            await RelayEvents(metadata, events.bus, world.clock, jobs, PATIENCE)()
        except Unavailable:
            world.clock.advance(timedelta(minutes=2))
            await events.timer()
    assert [event.seq for event in await events.take()] == seqs
    assert events.waiting() == []


async def test_without_a_bus_the_outbox_does_not_grow_for_ever(
    events: Events, world: World, ann: Caller
) -> None:
    alone = RelayEvents(world.metadata, None, world.clock, events.relay.jobs, PATIENCE)
    for number in range(3):
        await world.upload(ann, f"/{number}", b"x")
    world.clock.advance(KEEP)
    await world.upload(ann, "/young", b"x")
    assert (await alone()).dropped == 0
    world.clock.advance(timedelta(seconds=1))
    assert (await alone()).dropped == 3
    assert len(events.waiting()) == 1


async def test_a_commit_s_events_follow_it_at_once_and_it_waits_for_none(
    events: Events, world: World, ann: Caller
) -> None:
    telling = world.with_ports(metadata=RingingMetadata(world.metadata, events.wakeups, events.soon.note))
    made = [await telling.upload(ann, f"/{number}", b"x") for number in range(3)]
    async with asyncio.timeout(10):
        while events.waiting():
            await asyncio.sleep(0.01)
    assert [event.seq for event in await events.take()] == [each.seq for each in made]
    events.bus.away = True
    await telling.upload(ann, "/more", b"x")
    await asyncio.sleep(0.1)
    assert len(events.waiting()) == 1, "it is left to the timer"
    events.bus.away = False
    assert await events.timer() == 1
    await events.soon.close()


async def test_a_change_that_fails_is_told_to_nobody(events: Events, world: World, ann: Caller) -> None:
    told: list[EventKey] = []

    def committed(keys: Collection[EventKey]) -> None:
        told.extend(keys)

    metadata = RingingMetadata(world.metadata, events.wakeups, committed)
    telling = world.with_ports(metadata=metadata)
    made = await telling.upload(ann, "/a", b"a")
    with pytest.raises(Exception, match="there is no such file"):
        await telling.delete_file(ann, ann.device_id)  # type: ignore[arg-type]
    assert told == [(await world.namespace_of(ann), made.seq)]


async def test_of_a_transaction_that_ran_twice_the_second_counts(
    events: Events, world: World, ann: Caller
) -> None:
    told: list[EventKey] = []
    namespace, first = await world.namespace_of(ann), iter((True, False))

    def work(tx: Transaction) -> None:
        if next(first):
            seq = tx.namespaces.advance(namespace, delta=0)
            made = Change(ChangeKind.FOLDER_CREATED, NodeId(world.ids.new()), None, ann.device_id)
            tx.journal.record(namespace, seq, [made], now=world.clock.now())
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))

    await RingingMetadata(world.metadata, events.wakeups, told.extend).write(work)
    assert (told, events.waiting()) == ([], [])


# --- the devices


async def event_of(events: Events, world: World, caller: Caller, path: str = "/a") -> FileEvent:
    await world.upload(caller, path, path.encode())
    await events.timer()
    [event] = await events.take()
    return event


async def test_who_is_away_gets_a_hint_and_who_waits_or_wrote_gets_none(
    events: Events, world: World, ann: Caller, bob: Caller
) -> None:
    here, away = await world.log_in("ann"), await world.log_in("ann")
    await world.add_member(await world.namespace_of(ann), bob, Role.VIEWER)
    stranger = await world.caller("eve")
    await events.presence.arrive(here.device_id, WaitId("w"), seconds=60)
    event = await event_of(events, world, ann)
    assert (await events.notify(event)).hinted == 2
    assert events.bus.backlogs.keys() == {away.device_id, bob.device_id}
    [hint] = await events.collect(away.device_id)
    assert (hint.namespace, hint.seq) == (event.namespace, event.seq)
    assert await events.collect(stranger.device_id) == []


async def test_a_device_that_is_away_for_a_month_has_a_hint_a_week(
    events: Events, world: World, ann: Caller
) -> None:
    away = await world.log_in("ann")
    days = []
    for number in range(30):
        if (await events.notify(await event_of(events, world, ann, f"/{number}"))).hinted:
            days.append(number)
        world.clock.advance(DAY)
    # The bus lets go of what is fourteen days old, so two of these lie there at once.
    assert days == list(range(0, 30, RENEW.days))
    assert len(events.bus.backlogs[away.device_id]) == len(days)
    await events.collect(away.device_id)
    await events.notify(await event_of(events, world, ann, "/after"))
    assert len(events.bus.backlogs[away.device_id]) == 1, "who has come for them gets the next at once"


async def test_a_hint_that_could_not_be_left_is_left_when_the_event_comes_again(
    events: Events, world: World, ann: Caller
) -> None:
    away = await world.log_in("ann")
    event = await event_of(events, world, ann)
    events.bus.away = True
    with pytest.raises(Unavailable):
        await events.notify(event)
    events.bus.away = False
    assert (await events.notify(event)).hinted == 1
    assert (await events.notify(event)).hinted == 0, "doubled, it changes nothing"
    assert len(await events.collect(away.device_id)) == 1


async def test_a_backlog_that_can_t_be_collected_now_is_collected_later(
    events: Events, world: World, ann: Caller
) -> None:
    away = await world.log_in("ann")
    await events.notify(await event_of(events, world, ann))
    events.bus.away = True
    assert await events.collect(away.device_id) == []
    events.bus.away = False
    events.bus.held.add(away.device_id)
    assert await events.collect(away.device_id) == []
    events.bus.held.clear()
    assert await world.metadata.read(lambda tx: tx.backlogs.is_noted(away.device_id))
    assert len(await events.collect(away.device_id)) == 1
    assert not await world.metadata.read(lambda tx: tx.backlogs.is_noted(away.device_id))


async def test_a_device_that_is_ended_has_no_backlog_and_gets_none(
    events: Events, world: World, ann: Caller
) -> None:
    lost = await world.log_in("ann")
    await events.notify(await event_of(events, world, ann))
    await events.presence.arrive(lost.device_id, WaitId("w"), seconds=60)
    await UseDevices(world.metadata, world.clock, events.presence, events.collect).revoke(ann, lost.device_id)
    assert not events.bus.backlogs.get(lost.device_id)
    assert await events.presence.present([lost.device_id]) == frozenset()
    await events.notify(await event_of(events, world, ann, "/b"))
    assert not events.bus.backlogs.get(lost.device_id)


async def test_a_device_that_can_t_come_back_gets_nothing(events: Events, world: World, ann: Caller) -> None:
    forgotten = await world.log_in("ann")
    world.clock.advance(61 * DAY)
    ann = await world.log_in("ann")
    await events.notify(await event_of(events, world, ann))
    assert not events.bus.backlogs.get(forgotten.device_id)


# --- the record, and health


async def test_every_event_is_recorded_and_what_can_t_be_read_as_such(
    events: Events, world: World, ann: Caller
) -> None:
    audit = MemoryAuditLog()
    event = await event_of(events, world, ann)
    await AuditEvents(audit, world.clock)(
        [
            Letter("file-events/audit", event.message_id, write_event(event), {"kind": "changed"}),
            Letter("file-events/audit", "m2", b'{"version": 9, "path": "/secret"}', {"kind": "later"}),
        ]
    )
    assert b"secret" not in audit.lines[1]
    known, unknown = map(json.loads, audit.lines)
    assert (known["message_id"], known["seq"], known["device"]) == (
        event.message_id,
        event.seq,
        ann.device_id,
    )
    assert (unknown["unreadable"], unknown["kind"], unknown["size"]) == ("FutureVersion", "later", 33)


async def test_health_says_when_events_don_t_get_away(events: Events, world: World, ann: Caller) -> None:
    check = CheckHealth(world.metadata, world.store, world.remembering, world.clock, events.bus)
    await world.upload(ann, "/a", b"a")
    health = await check()
    assert (health.status, health.parts["events"], health.events.waiting) == ("ready", True, 1)
    world.clock.advance(LATE + timedelta(seconds=1))
    assert (await check()).status == "degraded", "nobody relays, whoever's fault it is"
    await events.timer()
    assert (await check()).status == "ready"
    events.bus.away = True
    await world.upload(ann, "/b", b"b")
    with pytest.raises(Unavailable):
        await events.timer()
    health = await check()
    assert (health.status, health.is_ready, health.parts["events"]) == ("degraded", True, False)


async def test_health_without_a_bus_is_no_worse_for_it(world: World, ann: Caller) -> None:
    await world.upload(ann, "/a", b"a")
    world.clock.advance(DAY)
    health = await CheckHealth(world.metadata, world.store, world.remembering, world.clock)()
    assert (health.status, "events" in health.parts) == ("ready", False)
    assert (health.events.relayed, health.events.waiting) == (False, 1)
