"""The local Service Bus through the SDK, beside a storage queue of Azurite through its own."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.storage.queue import QueueServiceClient

from tests.bench.measuring import Row, peak_of
from tools.local.running import ServiceBus, running_azurite, running_servicebus

SINGLE = 1_000
BATCHES, BATCH = 100, 100
HANDLED = 500
_CONFIG = """{"UserConfig": {"Namespaces": [{"Name": "n", "Queues": [{"Name": "q", "Properties": {}}], "Topics": [
    {"Name": "t", "Subscriptions": [{"Name": "one"}, {"Name": "two"}]}]}]}}"""


def rows(folder: Path) -> Iterator[Row]:
    config = folder / "config.json"
    config.write_text(_CONFIG)
    with running_servicebus(folder, config) as bus, running_azurite(folder) as azurite:
        peer_put, peer_get = _storage_queue(azurite.connection_string)
        with ServiceBusClient.from_connection_string(bus.connection_string) as client:
            yield from _one_client(client, peer_put, peer_get)
        yield _handled(bus)
        yield Row(
            "servicebus: memory of the broker after it all",
            f"{peak_of(bus.child.pid):.0f} MiB",
            f"Azurite: {peak_of(azurite.child.pid):.0f} MiB",
        )


def _one_client(client: ServiceBusClient, peer_put: list[float], peer_get: list[float]) -> Iterator[Row]:
    with client.get_queue_sender("q") as sender:
        sender.send_messages(ServiceBusMessage("warm"))
        sent = _timed(SINGLE, lambda: sender.send_messages(ServiceBusMessage("x" * 500)))
        yield _row("servicebus: send one, confirmed on disk", sent, "put into a storage queue", peer_put)
        start = time.perf_counter()
        for _ in range(BATCHES):
            sender.send_messages([ServiceBusMessage("x" * 500) for _ in range(BATCH)])
        rate = BATCHES * BATCH / (time.perf_counter() - start)
        yield _rate("servicebus: send in batches of 100", rate, peer_put)
    with client.get_topic_sender("t") as sender:
        start = time.perf_counter()
        for _ in range(BATCHES // 4):
            sender.send_messages([ServiceBusMessage("x" * 500) for _ in range(BATCH)])
        rate = BATCHES // 4 * BATCH / (time.perf_counter() - start)
        yield _rate("servicebus: the same to a topic with two subscriptions", rate, peer_put)
    with client.get_queue_receiver("q") as receiver:
        [message] = receiver.receive_messages(1)
        receiver.complete_message(message)
        received = _timed(SINGLE, lambda: receiver.complete_message(receiver.receive_messages(1)[0]))
        yield _row("servicebus: receive and complete one", received, "get and delete one", peer_get)
    with client.get_queue_receiver("q", prefetch_count=200) as receiver:
        left, start = 3_000, time.perf_counter()
        while left > 0:
            for message in receiver.receive_messages(100, max_wait_time=5):
                receiver.complete_message(message)
                left -= 1
        rate = (3_000 - left) / (time.perf_counter() - start)
        yield _rate("servicebus: receive 100, complete each", rate, peer_get)


def _handled(bus: ServiceBus) -> Row:
    took = asyncio.run(_handling(bus.connection_string))
    return _row("servicebus: from send to a receiver that waits", took, "", [])


async def _handling(connection: str) -> list[float]:
    """Seconds from the call of send to the message in the hands of somebody who waits for it."""
    took: list[float] = []
    async with (
        AsyncClient.from_connection_string(connection) as client,
        client.get_topic_sender("t") as sender,
        client.get_subscription_receiver("t", "one", receive_mode="receiveanddelete") as drain,
    ):
        while await drain.receive_messages(1_000, max_wait_time=0.5):
            pass
        for _ in range(HANDLED):
            waiting = asyncio.create_task(drain.receive_messages(1, max_wait_time=10))
            await asyncio.sleep(0.002)
            start = time.perf_counter()
            sending = asyncio.create_task(sender.send_messages(ServiceBusMessage("x")))
            await waiting
            took.append(time.perf_counter() - start)
            await sending
    return took


def _storage_queue(connection: str) -> tuple[list[float], list[float]]:
    with (
        QueueServiceClient.from_connection_string(connection) as service,
        service.create_queue("bench") as queue,
    ):

        def take() -> None:
            message = queue.receive_message()
            assert message is not None
            queue.delete_message(message)

        put = _timed(SINGLE // 4, lambda: queue.send_message("x" * 500))
        return put, _timed(SINGLE // 4, take)


def _timed(count: int, work: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return took


def _row(name: str, took: list[float], beside: str, peer: list[float]) -> Row:
    middle, late = _milliseconds(took)
    words = f"{beside}: {_milliseconds(peer)[0]:.2f} ms" if peer else ""
    ratio = statistics.median(peer) / statistics.median(took) if peer else None
    return Row(
        name,
        f"p50 {middle:.2f} ms, p99 {late:.2f} ms",
        words,
        ratio,
        figures={"p50_ms": middle, "p99_ms": late},
    )


def _rate(name: str, rate: float, peer: list[float]) -> Row:
    alone = len(peer) / sum(peer)
    return Row(
        name,
        f"{rate:,.0f} messages/s",
        f"{alone:,.0f} messages/s",
        rate / alone,
        figures={"messages_per_second": rate},
    )


def _milliseconds(took: list[float]) -> tuple[float, float]:
    return statistics.median(took) * 1000, statistics.quantiles(took, n=100)[98] * 1000
