"""Random histories of commits, losses and failures: every device knows everything at the end, and nothing was made up.

Two users share a namespace, each with devices that come and go. Events are lost, doubled and delivered in any order;
the bus and Redis go away and come back, Redis empty; timers run or don't. The seed is in the name of each test, and
replays it.
"""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.memory.wakeups import MemoryWakeups
from shared.domain.accounts import Caller, Role
from shared.domain.errors import Unavailable
from shared.domain.events import FileEvent
from shared.domain.ids import DeviceId, NamespaceId, NodeId
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.leased_job import LeasedJob
from shared.usecases.notify_devices import NotifyDevices
from shared.usecases.relay_events import RelayEvents
from shared.usecases.wait_for_changes import GRACE, WaitForChanges
from tests.support.databases import copy_of
from tests.support.world import World, make_world

SEEDS, STEPS = 10, 90
LEASE, PATIENCE = timedelta(seconds=30), timedelta(seconds=10)


class LossyBus(MemoryEventBus):
    """What it has delivered is remembered, whatever becomes of it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_in: Counter[tuple[NamespaceId, int]] = Counter()

    async def publish(self, events: Collection[FileEvent]) -> None:
        before = len(self.published)
        await super().publish(list(events))
        self.taken_in.update((each.namespace, each.seq) for each in self.published[before:])


@dataclass
class Device:
    caller: Caller
    cursor: str
    files: set[NodeId] = field(default_factory=set)


class Story:
    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.bus, self.wakeups = LossyBus(), MemoryWakeups()
        self.seconds, self.number = 0.0, 0
        self.presence = MemoryPresence(lambda: self.seconds)
        jobs = LeasedJob(world.metadata, world.clock, LEASE)
        self.relay = RelayEvents(world.metadata, self.bus, world.clock, jobs, PATIENCE)
        self.notify = NotifyDevices(
            world.metadata, self.wakeups, self.presence, self.bus, world.clock, timedelta(days=60)
        )
        self.wait = WaitForChanges(
            world.metadata,
            self.wakeups,
            self.presence,
            world.follow_changes,
            world.ids,
            CollectBacklog(world.metadata, self.bus),
        )
        self.devices: list[Device] = []
        self.files: set[NodeId] = set()
        self.made: Counter[tuple[NamespaceId, int]] = Counter()
        self.shared: NamespaceId

    async def begin(self) -> None:
        ann, bob = await self.world.caller("ann"), await self.world.caller("bob")
        self.shared = await self.world.namespace_of(ann)
        await self.world.add_member(self.shared, bob, Role.EDITOR)
        callers = [ann, bob, *[await self.world.log_in(name) for name in ("ann", "ann", "bob")]]
        for caller in callers:
            changes = await self.world.follow_changes(caller, cursor=None, limit=100)
            self.devices.append(Device(caller, changes.cursor))

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.world.clock.advance(timedelta(seconds=seconds))

    async def commit(self) -> None:
        device = self.chance.choice(self.devices)
        self.number += 1
        made = await self.world.upload(device.caller, f"/{self.number}", b"x", namespace=self.shared)
        self.made[self.shared, made.seq] += 1
        self.files.add(made.file_id)

    async def timer(self) -> None:
        try:
            await self.relay()
        except Unavailable:
            assert self.bus.away

    async def deliver(self) -> None:
        """One event, whichever: it arrives, arrives twice, or is lost."""
        if not self.bus.published:
            return
        event = self.bus.published.pop(self.chance.randrange(len(self.bus.published)))
        for _ in range(self.chance.choice((0, 1, 1, 1, 2))):
            try:
                await self.notify(event)
            except Unavailable:
                assert self.bus.away
                self.bus.published.append(event)  # abandoned, it comes again
                return

    async def come_back(self, device: Device | None = None) -> None:
        """A device asks for news, and fetches them if there are any."""
        device = device or self.chance.choice(self.devices)
        waited = await self.wait(device.caller, cursor=device.cursor, wait=0)
        seqs = {standing.id: standing.seq for standing in await self.standings(device)}
        for hint in waited.backlog:
            assert hint.seq <= seqs[hint.namespace], "a hint of something that never was"
        if waited.behind:
            changes = await self.world.follow_changes(device.caller, cursor=device.cursor, limit=1000)
            device.cursor = changes.cursor
            device.files |= {each.node_id for each in changes.entries}

    async def standings(self, device: Device):  # type: ignore[no-untyped-def]
        return await self.world.metadata.read(lambda tx: tx.namespaces.seen_by(device.caller.user_id))

    async def step(self) -> None:
        kind = self.chance.choices(
            ("commit", "timer", "deliver", "come_back", "bus", "redis", "time"), (8, 4, 8, 6, 1, 1, 3)
        )[0]
        match kind:
            case "bus":
                self.bus.away = not self.bus.away
            case "redis":
                for device in self.devices:
                    await self.presence.forget(device.caller.device_id)
            case "time":
                self.pass_time(self.chance.choice((1, 10, GRACE * 2, 3600, 86_400)))
            case _:
                await getattr(self, kind)()

    async def heal(self) -> None:
        self.bus.away = False
        for _ in range(3):
            self.pass_time(60)
            await self.timer()
        for device in self.devices:
            await self.come_back(device)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_lost_event_heals_devices_converge_whatever_was_lost(
    seed: int, template: Path, tmp_path: Path
) -> None:
    world = make_world(copy_of(template, tmp_path))
    story = Story(world, seed)
    await story.begin()
    for _ in range(STEPS):
        await story.step()
        lying: dict[DeviceId, int] = {who: len(hints) for who, hints in story.bus.backlogs.items()}
        assert all(count <= 1 + story.seconds // (7 * 86_400) for count in lying.values()), lying
    await story.heal()
    assert story.bus.taken_in == story.made, "outbox_neither_phantom_nor_loss, and each once"
    for device in story.devices:
        assert not (await story.wait(device.caller, cursor=device.cursor, wait=0)).behind
        assert device.files == story.files
    assert world.sql("SELECT COUNT(*) FROM outbox") == [(0,)]
    await world.metadata.close()
