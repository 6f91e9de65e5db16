"""Output bindings: what a function sets, or returns, is sent to a queue or a topic after it has succeeded.

    parameter `out: func.Out[str]` ──set()──> function returns ──> sent ──> the invocation is done

A message that can't be sent fails the invocation, and a trigger that tries again runs the function again: sent twice
is possible, not sent isn't. A function that fails sends nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import azure.functions as func
from azure.functions.meta import Datum
from azure.functions.servicebus import ServiceBusMessageOutConverter
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from tools.local.host.errors import HostError
from tools.local.host.loading import RETURNED, Binding, LoadedFunction
from tools.local.host.placeholders import connection_string, resolve

DEFAULT_SETTING = "AzureWebJobsServiceBus"
"""The setting that a Service Bus binding without a connection uses."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an output goes; one of `queue` and `topic` is set."""

    connection: str
    queue: str
    topic: str


class OutValue(func.Out[object]):
    """What a function sees of an output."""

    def __init__(self) -> None:
        self._value: object = None

    def set(self, val: object) -> None:
        self._value = val

    def get(self) -> object:
        return self._value


class ServiceBusOutputs:
    """Sends for all functions of an app. Raises HostError for an output that says where to in no usable way."""

    def __init__(self, functions: Sequence[LoadedFunction], environment: Mapping[str, str]) -> None:
        self._targets = {
            (function.name, binding.name): target_of(binding, environment, function.name)
            for function in functions
            for binding in function.outputs
        }
        self._clients: dict[str, ServiceBusClient] = {}
        self._senders: dict[Target, ServiceBusSender] = {}
        # The SDK's senders are not made for two tasks at once.
        self._turns: dict[Target, asyncio.Lock] = {}

    def arguments(self, function: LoadedFunction) -> Mapping[str, OutValue]:
        return {each.name: OutValue() for each in function.outputs if each.name != RETURNED}

    async def send(self, function: LoadedFunction, arguments: Mapping[str, object], result: object) -> None:
        for binding in function.outputs:
            given = arguments.get(binding.name)
            value = given.get() if isinstance(given, OutValue) else result
            if value is not None:
                await self._send(self._targets[function.name, binding.name], message_of(value))

    async def close(self) -> None:
        """Let go of all connections."""
        await asyncio.gather(*(sender.close() for sender in self._senders.values()))
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        self._senders.clear()
        self._clients.clear()

    async def _send(self, target: Target, message: ServiceBusMessage) -> None:
        async with self._turns.setdefault(target, asyncio.Lock()):
            sender = self._senders.get(target)
            if sender is None:
                client = self._clients.get(target.connection)
                if client is None:
                    client = ServiceBusClient.from_connection_string(target.connection)
                    self._clients[target.connection] = client
                sender = self._senders[target] = (
                    client.get_queue_sender(target.queue)
                    if target.queue
                    else client.get_topic_sender(target.topic)
                )
            await sender.send_messages(message)


def target_of(binding: Binding, environment: Mapping[str, str], function: str) -> Target:
    """Raises HostError for an output without a place, or with a setting that is missing."""
    settings = binding.settings
    queue, topic = (
        resolve(str(settings.get(name) or ""), environment, function) for name in ("queueName", "topicName")
    )
    if bool(queue) == bool(topic):
        raise HostError(f"{function}: the output {binding.name!r} needs the name of a queue or of a topic")
    setting = resolve(str(settings.get("connection") or DEFAULT_SETTING), environment, function)
    return Target(connection_string(setting, environment, function), queue, topic)


def message_of(value: object) -> ServiceBusMessage:
    """Text and bytes, as azure-functions' encoder takes them; raises TypeError for anything else."""
    try:
        datum = ServiceBusMessageOutConverter.encode(value, expected_type=None)
    except NotImplementedError:
        kind = type(value).__name__
        raise TypeError(f"a Service Bus output takes str or bytes, not {kind}") from None
    if not isinstance(datum, Datum):
        raise TypeError("azure-functions has encoded something else than a Datum")
    content = "text/plain" if datum.type == "string" else "application/octet-stream"
    return ServiceBusMessage(datum.value, content_type=content)
