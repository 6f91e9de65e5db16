"""The broker is killed at random while clients send and receive: what was acknowledged is there, and in its order."""

import asyncio
import gc
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import OperationTimeoutError, ServiceBusError

from tests.support.leftovers import leftovers as leftovers
from tests.support.leftovers import may_leave_sockets
from tools.local import processes
from tools.local.running import ServiceBus, start_servicebus

KILLS = 4
SESSIONS = ("red", "green", "blue")
QUEUES = [
    {
        "Name": "ordered",
        "Properties": {"RequiresSession": True, "LockDuration": "PT2S", "MaxDeliveryCount": 100},
    }
]
TOPICS = [{"Name": "events", "Subscriptions": [{"Name": "one"}, {"Name": "two"}]}]
CONFIG = {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": QUEUES, "Topics": TOPICS}]}}

pytestmark = may_leave_sockets


class Clients:
    """Senders and receivers that go on whatever happens, and remember what they were told."""

    def __init__(self, connection: str) -> None:
        self._client = ServiceBusClient.from_connection_string(connection, retry_total=0)
        self.sending, self.receiving = True, True
        self.acknowledged: dict[str, list[int]] = {name: [] for name in (*SESSIONS, "events")}
        self.received: dict[str, list[int]] = {name: [] for name in (*SESSIONS, "one", "two")}

    async def close(self) -> None:
        await self._client.close()

    async def whatever_happens(
        self, goes_on: Callable[[], bool], work: Callable[[], Awaitable[None]]
    ) -> None:
        while goes_on():
            try:
                await work()
            except OperationTimeoutError:
                continue
            except ServiceBusError:
                # The broker is gone, or just back without what the connection knew.
                await asyncio.sleep(0.1)

    async def send(self, name: str) -> None:
        """Send numbers in their order; one whose answer was lost is sent again before the next."""
        number = 0

        async def work() -> None:
            nonlocal number
            make = self._client.get_topic_sender if name == "events" else self._client.get_queue_sender
            async with make("events" if name == "events" else "ordered") as sender:
                while self.sending:
                    session = None if name == "events" else name
                    await sender.send_messages(ServiceBusMessage(str(number), session_id=session))
                    self.acknowledged[name].append(number)
                    number += 1

        await self.whatever_happens(lambda: self.sending, work)

    async def receive_sessions(self) -> None:
        async def work() -> None:
            receiver = self._client.get_queue_receiver(
                "ordered", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1
            )
            async with receiver:
                for _ in range(20):
                    for message in await receiver.receive_messages(5, max_wait_time=0.5):
                        self.received[str(message.session_id)].append(int(str(message)))
                        await receiver.complete_message(message)

        await self.whatever_happens(lambda: self.receiving, work)

    async def drain(self, subscription: str) -> None:
        """Everything that the subscription has, at the end."""
        receiver = self._client.get_subscription_receiver(
            "events", subscription, receive_mode="receiveanddelete"
        )
        async with receiver:
            while found := await receiver.receive_messages(500, max_wait_time=1):
                self.received[subscription] += [int(str(message)) for message in found]


async def test_what_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    [port] = processes.free_ports(1)

    def start() -> ServiceBus:
        return start_servicebus(tmp_path / "bus.db", port, tmp_path / "bus.log", config)

    broker = start()
    clients = Clients(broker.connection_string)
    try:
        senders = [asyncio.create_task(clients.send(name)) for name in (*SESSIONS, "events")]
        receivers = [asyncio.create_task(clients.receive_sessions()) for _ in range(2)]
        for _ in range(KILLS):
            before = sum(map(len, clients.acknowledged.values()))
            async with asyncio.timeout(30):
                while sum(map(len, clients.acknowledged.values())) < before + 20:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 1.0))
            broker.child.kill()
            broker = await asyncio.to_thread(start)
        clients.sending = False
        await asyncio.gather(*senders)
        async with asyncio.timeout(60):
            while not all(
                set(clients.acknowledged[name]) <= set(clients.received[name]) for name in SESSIONS
            ):
                await asyncio.sleep(0.1)
        clients.receiving = False
        await asyncio.gather(*receivers)
        await asyncio.gather(clients.drain("one"), clients.drain("two"))
    finally:
        clients.sending = clients.receiving = False
        await clients.close()
        broker.child.stop()
        # Now, and not during somebody else's test.
        gc.collect()
        await asyncio.sleep(0.1)

    print({name: len(numbers) for name, numbers in clients.acknowledged.items()})
    for name in SESSIONS:
        assert len(clients.acknowledged[name]) > 10
        firsts = list(dict.fromkeys(clients.received[name]))
        assert firsts == sorted(firsts), f"session {name} was received out of its order"
    one, two = set(clients.received["one"]), set(clients.received["two"])
    assert set(clients.acknowledged["events"]) <= one
    assert one == two, "a publication is in all subscriptions or in none"
