"""Dead letters on the real broker: what an operator sees of them, and where they go when they are sent again."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from shared.adapters.service_bus import ServiceBusEvents, body_of
from shared.adapters.service_bus_dead_letters import ServiceBusDeadLetters
from shared.adapters.service_bus_link import ServiceBusLink
from shared.adapters.system import RandomIds
from shared.domain.errors import NotFound
from shared.domain.events import Hint, Unreadable, write_hint
from shared.domain.ids import DeviceId, NamespaceId
from shared.ports.dead_letters import DeadLetter
from shared.ports.event_bus import Letter
from tests.support.buses import ServiceBusProbe
from tests.support.leftovers import leftovers as leftovers
from tests.support.leftovers import may_leave_sockets
from tools.local.running import ServiceBus, running_servicebus

pytestmark = may_leave_sockets
new = RandomIds().new


@dataclass
class Case:
    client: ServiceBusClient
    bus: ServiceBusEvents
    letters: ServiceBusDeadLetters
    probe: ServiceBusProbe

    async def look(self, place: str) -> list[DeadLetter]:
        return [each async for each in self.letters.look(place, limit=100)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceBus]:
    with running_servicebus(tmp_path_factory.mktemp("servicebus")) as broker:
        yield broker


@pytest.fixture
async def case(broker: ServiceBus) -> AsyncIterator[Case]:
    link = ServiceBusLink(connection_string=broker.connection_string)
    async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        yield Case(client, ServiceBusEvents(link), ServiceBusDeadLetters(link), ServiceBusProbe(client))
    await link.close()


async def test_a_rejected_message_goes_to_the_one_subscription_that_had_it(case: Case) -> None:
    letters = [Letter("file-events/notify", f"m{n}", b"%d" % n, {"kind": "changed"}) for n in range(3)]
    for letter in letters:
        await case.bus.set_aside(letter, Unreadable("FutureVersion", "it is too new"))
    found = await case.look("rejected-messages/operators")
    assert [(each.source, each.message_id, each.reason, each.description, each.size) for each in found] == [
        ("file-events/notify", f"m{n}", "FutureVersion", "it is too new", 1) for n in range(3)
    ]
    assert await case.letters.redrive("rejected-messages/operators", limit=2) == 2
    assert [each.message_id for each in await case.look("rejected-messages/operators")] == ["m2"]
    assert await case.letters.redrive("rejected-messages/operators", limit=100) == 1
    again = await case.probe.taken("file-events", "notify", 3)
    assert [body_of(each) for each in again] == [letter.body for letter in letters]
    assert await case.probe.taken("file-events", "audit", None) == []
    assert await case.letters.redrive("rejected-messages/operators", limit=100) == 0


async def test_a_device_s_dead_letter_comes_back_to_the_device(case: Case) -> None:
    device = DeviceId(new())
    hint = Hint(device=device, namespace=NamespaceId(new()), seq=1)
    async with case.client.get_topic_sender("device-backlog") as sender:
        await sender.send_messages(ServiceBusMessage(write_hint(hint), session_id=device))
    async with case.client.get_subscription_receiver(
        "device-backlog", "devices", session_id=device
    ) as receiver:
        [message] = await receiver.receive_messages(1, max_wait_time=5)
        await receiver.dead_letter_message(message, reason="Mistaken", error_description="by a bug")
    [letter] = await case.look("device-backlog/devices")
    assert (letter.session, letter.reason, letter.source) == (device, "Mistaken", "device-backlog/devices")
    assert await case.letters.redrive("device-backlog/devices", limit=100) == 1
    assert (await case.bus.collect(device)).hints == [hint]


async def test_a_place_that_isn_t_ours_is_named(case: Case) -> None:
    with pytest.raises(NotFound, match="file-events/notify"):
        await case.look("file-events/nobody")
    with pytest.raises(NotFound):
        await case.letters.redrive("x", limit=1)
