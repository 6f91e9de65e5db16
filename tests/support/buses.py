"""What came out at the other end of a bus, whichever it is: how a test looks behind the port."""

from dataclasses import dataclass
from typing import Any, Protocol

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.service_bus import (
    AUDIT,
    DEVICE_BACKLOG,
    DEVICES,
    FILE_EVENTS,
    NOTIFY,
    OPERATORS,
    REJECTED,
    body_of,
)
from shared.domain.events import FileEvent, read_event
from shared.domain.ids import DeviceId

WAIT = 5.0


class Probe(Protocol):
    async def published(self, count: int) -> list[FileEvent]:
        """The next events, when exactly so many come."""
        ...

    async def put_into_backlog(self, device: DeviceId, *bodies: bytes) -> None: ...

    async def dead(self, *, set_aside: bool) -> list[tuple[bytes, str]]:
        """Body and reason of the dead letters of what was set aside, or of the backlogs; they are taken out."""
        ...


@dataclass
class MemoryProbe:
    bus: MemoryEventBus

    async def published(self, count: int) -> list[FileEvent]:
        found, self.bus.published[:] = list(self.bus.published), []
        assert len(found) == count
        return found

    async def put_into_backlog(self, device: DeviceId, *bodies: bytes) -> None:
        self.bus.backlogs[device] += bodies

    async def dead(self, *, set_aside: bool) -> list[tuple[bytes, str]]:
        found = [each for each in self.bus.dead if (each[0].source != "device-backlog/devices") == set_aside]
        self.bus.dead = [each for each in self.bus.dead if each not in found]
        return [(letter.body, reason) for letter, reason in found]


@dataclass
class ServiceBusProbe:
    client: ServiceBusClient

    async def published(self, count: int) -> list[FileEvent]:
        """As both subscriptions got them: they have to be the same."""
        audited = await self.taken(FILE_EVENTS, AUDIT, count)
        notified = await self.taken(FILE_EVENTS, NOTIFY, count)
        assert [body_of(each) for each in audited] == [body_of(each) for each in notified]
        return [read_event(body_of(each)) for each in notified]

    async def put_into_backlog(self, device: DeviceId, *bodies: bytes) -> None:
        async with self.client.get_topic_sender(DEVICE_BACKLOG) as sender:
            await sender.send_messages([ServiceBusMessage(body, session_id=device) for body in bodies])

    async def dead(self, *, set_aside: bool) -> list[tuple[bytes, str]]:
        topic, subscription = (REJECTED, OPERATORS) if set_aside else (DEVICE_BACKLOG, DEVICES)
        found = await self.taken(topic, subscription, None, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        return [(body_of(each), text_of(each.dead_letter_reason)) for each in found]

    async def taken(
        self, topic: str, subscription: str, count: int | None, **more: Any
    ) -> list[ServiceBusReceivedMessage]:
        """Exactly so many messages, or (None) as many as there are."""
        found: list[ServiceBusReceivedMessage] = []
        async with self.client.get_subscription_receiver(
            topic, subscription, receive_mode="receiveanddelete", **more
        ) as receiver:
            while count is None or len(found) < count:
                some = await receiver.receive_messages(100, max_wait_time=WAIT if count else 0.5)
                if not some:
                    break
                found += some
            assert count is None or len(found) == count
            assert not await receiver.peek_messages(1), "more came than was expected"
        return found


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
