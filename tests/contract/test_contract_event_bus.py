"""What every bus owes: events for all who subscribe, and a backlog for each device that is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from azure.servicebus.aio import ServiceBusClient

from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.service_bus import COLLECTING, DEVICE_BACKLOG, DEVICES, ServiceBusEvents
from shared.adapters.service_bus_link import ServiceBusLink
from shared.adapters.system import RandomIds
from shared.domain.errors import Unavailable
from shared.domain.events import FileEvent, Hint, Unreadable
from shared.domain.ids import DeviceId, NamespaceId
from shared.ports.event_bus import EventBus, Letter
from tests.support.buses import MemoryProbe, Probe, ServiceBusProbe
from tests.support.doubles import START
from tests.support.leftovers import leftovers as leftovers
from tests.support.leftovers import may_leave_sockets
from tools.local.running import ServiceBus, running_servicebus

pytestmark = may_leave_sockets
new = RandomIds().new
PAUSE = 0.3
Case = tuple[EventBus, Probe]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceBus]:
    """With the project's own entities."""
    with running_servicebus(tmp_path_factory.mktemp("servicebus")) as broker:
        yield broker


@pytest.fixture(params=["memory", "servicebus"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        memory = MemoryEventBus()
        yield memory, MemoryProbe(memory)
        return
    connection = request.getfixturevalue("broker").connection_string
    bus = ServiceBusEvents(ServiceBusLink(connection_string=connection))
    async with ServiceBusClient.from_connection_string(connection) as client:
        yield bus, ServiceBusProbe(client)
    await bus.close()


def event(seq: int = 1, namespace: str | None = None) -> FileEvent:
    return FileEvent(
        namespace=NamespaceId(namespace or new()),
        epoch=1,
        seq=seq,
        device=DeviceId(new()),
        at=START,
        kinds={"file_created": 2, "folder_created": 1},
    )


def hint(device: DeviceId, seq: int = 1) -> Hint:
    return Hint(device=device, namespace=NamespaceId(new()), seq=seq)


async def test_events_arrive_as_they_were_and_once_however_often_they_are_sent(case: Case) -> None:
    bus, probe = case
    events = [event(seq) for seq in range(1, 101)]
    await bus.publish(events)
    await bus.publish(events[:3])
    assert await probe.published(100) == events
    assert bus.is_answering


async def test_too_many_at_once_are_refused_before_any_is_sent(case: Case) -> None:
    bus, probe = case
    with pytest.raises(ValueError, match="at most 100"):
        await bus.publish([event(seq) for seq in range(1, 102)])
    await bus.publish([])
    assert await probe.published(0) == []


async def test_a_backlog_is_collected_once_by_its_device_alone(case: Case) -> None:
    bus, _ = case
    mine, other = DeviceId(new()), DeviceId(new())
    hints = [hint(mine, 1), hint(other, 2), hint(mine, 3)]
    await bus.leave(hints)
    assert (await bus.collect(mine)).hints == [hints[0], hints[2]]
    assert (await bus.collect(mine)).hints == []
    assert (await bus.collect(other)).hints == [hints[1]]


async def test_an_unreadable_hint_is_a_dead_letter_with_its_reason_and_blocks_nothing(case: Case) -> None:
    bus, probe = case
    device = DeviceId(new())
    bad = {
        b"\xff": "Malformed",
        b'{"version": 99, "news": 1}': "FutureVersion",
        b'{"version": 1, "namespace": "x", "seq": 1}': "Malformed",
    }
    await probe.put_into_backlog(device, *bad)
    good = hint(device)
    await bus.leave([good])
    collected = await bus.collect(device)
    assert (collected.hints, collected.refused, collected.busy) == ([good], 3, False)
    assert dict(await probe.dead(set_aside=False)) == bad
    assert (await bus.collect(device)).hints == []


async def test_what_can_t_be_read_is_set_aside_with_its_reason(case: Case) -> None:
    bus, probe = case
    letter = Letter("file-events/notify", new(), b"\x00 not ours", {"kind": "changed", "colour": "blue"})
    await bus.set_aside(letter, Unreadable("Malformed", "it is not ours"))
    assert await probe.dead(set_aside=True) == [(letter.body, "Malformed")]


async def test_many_senders_at_once(case: Case) -> None:
    bus, probe = case
    namespace = new()
    await asyncio.gather(*(bus.publish([event(seq, namespace)]) for seq in range(1, 41)))
    assert sorted(each.seq for each in await probe.published(40)) == list(range(1, 41))


# --- Service Bus itself


async def test_a_session_that_somebody_else_has_is_left_to_them(broker: ServiceBus) -> None:
    bus = ServiceBusEvents(ServiceBusLink(connection_string=broker.connection_string))
    device = DeviceId(new())
    await bus.leave([hint(device)])
    async with (
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_subscription_receiver(DEVICE_BACKLOG, DEVICES, session_id=device),
    ):
        taken = await bus.collect(device)
    assert (taken.hints, taken.busy) == ([], True)
    assert bus.is_answering, "that is an answer, too"
    assert len((await bus.collect(device)).hints) == 1
    await bus.close()


async def test_a_bus_that_is_away_costs_one_caller_a_moment_and_others_nothing() -> None:
    nobody = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;"
    bus = ServiceBusEvents(ServiceBusLink(connection_string=nobody))
    for _ in range(100):
        started = time.perf_counter()
        with pytest.raises(Unavailable):
            await bus.publish([event()])
    assert time.perf_counter() - started < 1
    assert not bus.is_answering
    started = time.perf_counter()
    with pytest.raises(Unavailable):
        await bus.collect(DeviceId(new()))
    assert time.perf_counter() - started < COLLECTING
    await bus.close()


async def test_a_bus_that_dies_and_comes_back_is_used_again(tmp_path: Path) -> None:
    device = DeviceId(new())
    with running_servicebus(tmp_path) as first:
        bus = ServiceBusEvents(ServiceBusLink(connection_string=first.connection_string, rest=PAUSE))
        await bus.publish([event()])
        await bus.leave([hint(device)])
        first.child.kill()
        with pytest.raises(Unavailable):
            await bus.publish([event()])
    with running_servicebus(tmp_path, port=first.port):
        sent = 0
        async with asyncio.timeout(30):
            while not sent:
                try:
                    await bus.publish([event(7)])
                    sent = 1
                except Unavailable:
                    await asyncio.sleep(PAUSE)
        assert bus.is_answering
        assert len((await bus.collect(device)).hints) == 1, "what was left there outlived its death"
    await bus.close()
