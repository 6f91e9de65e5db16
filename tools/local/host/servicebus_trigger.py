"""Service Bus: run functions for the messages of queues and subscriptions.

It behaves as Microsoft's extension 5.x: one message per invocation (cardinality ONE) or a list of them (MANY), sessions
one receiver each and in order, completed after success and abandoned after failure, dead-lettered by Service Bus
after MaxDeliveryCount. The limits are those of `extensions.serviceBus` in host.json. Retry policies don't apply, there
neither: Service Bus counts the tries.

What is different: receivers are started as there is work, not all at once, so that an idle function holds one
connection; and `autoCompleteMessages` can't be turned off.
"""

import asyncio
import logging
from collections.abc import Sequence

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient

from tools.local.host.errors import HostError
from tools.local.host.invocation import InvocationFailed
from tools.local.host.loading import LoadedFunction
from tools.local.host.placeholders import connection_string, resolve
from tools.local.host.servicebus_binding import many_messages, one_message, text_message
from tools.local.host.servicebus_output import DEFAULT_SETTING
from tools.local.host.servicebus_receive import Crew, Handle, Source
from tools.local.host.triggers import Parts, refuse_other_bindings

_log = logging.getLogger("host.servicebus")


class ServiceBusTrigger:
    """Receives for all Service Bus functions of an app."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sources = {function.name: _source(function, parts) for function in parts.functions}
        self._clients: dict[str, ServiceBusClient] = {}
        self._crews: list[Crew] = []

    async def start(self) -> None:
        for function in self._parts.functions:
            source = self._sources[function.name]
            if function.disabled:
                _log.info("Service Bus function %s is disabled", function.name)
                continue
            _log.info("%s receives from %s", function.name, source)
            crew = Crew(
                function.name,
                source,
                self._client(source.connection),
                self._parts.settings.service_bus,
                self._handler(function, source),
            )
            self._crews.append(crew)
            crew.start()

    async def stop(self) -> None:
        await asyncio.gather(*(crew.stop(self._parts.grace) for crew in self._crews))
        self._crews.clear()
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        self._clients.clear()

    async def run_now(self, function: LoadedFunction, text: str) -> None:
        """Run the function with a message whose body is the text, which no queue has."""
        message = text_message(text)
        argument = [message] if self._sources[function.name].many else message
        try:
            await self._parts.invoker.invoke(function, {function.trigger.name: argument})
        except InvocationFailed:
            # Logged by the invoker; whoever asked for the run reads it there.
            return

    def _client(self, connection: str) -> ServiceBusClient:
        client = self._clients.get(connection)
        if client is None:
            try:
                client = ServiceBusClient.from_connection_string(connection)
            except ValueError as error:
                # The SDK's words say what is missing and never quote the string, which holds a key.
                raise HostError(f"a connection string for Service Bus can't be used: {error}") from None
            self._clients[connection] = client
        return client

    def _handler(self, function: LoadedFunction, source: Source) -> Handle:
        async def handle(messages: Sequence[ServiceBusReceivedMessage]) -> bool:
            argument = many_messages(messages) if source.many else one_message(messages[0])
            try:
                await self._parts.invoker.invoke(function, {function.trigger.name: argument})
            except InvocationFailed:
                # Logged by the invoker, and tried again by Service Bus.
                return False
            return True

        return handle


def _source(function: LoadedFunction, parts: Parts) -> Source:
    refuse_other_bindings(function)
    settings, name = function.trigger.settings, function.name
    queue, topic, subscription = (
        resolve(str(settings.get(each) or ""), parts.environment, name)
        for each in ("queueName", "topicName", "subscriptionName")
    )
    if bool(queue) == bool(topic) or bool(topic) != bool(subscription):
        raise HostError(f"{name}: a Service Bus trigger needs a queue, or a topic and a subscription")
    if settings.get("autoCompleteMessages", True) is not True:
        raise HostError(
            f"{name}: autoCompleteMessages must be true: nothing else here can complete a message"
        )
    setting = resolve(str(settings.get("connection") or DEFAULT_SETTING), parts.environment, name)
    return Source(
        connection=connection_string(setting, parts.environment, name),
        queue=queue,
        topic=topic,
        subscription=subscription,
        sessions=settings.get("isSessionsEnabled") is True,
        many=str(settings.get("cardinality") or "one").lower() == "many",
    )
