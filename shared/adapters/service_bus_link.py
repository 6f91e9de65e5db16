"""One connection's worth of Service Bus, kept by a process: its senders, and receivers for a moment.

The SDK's senders are not made for two tasks at once, and after a failure they may be in any state; so each has a lock,
and one that failed is thrown away. Service Bus that is away costs the first who asks a few seconds and everybody behind
them nothing: it is left alone for a while.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import ServiceBusError, SessionCannotBeLockedError

from shared.adapters.breaker import REST, Breaker
from shared.domain.errors import Unavailable

PATIENCE = 5.0
"""Seconds for one exchange, with the opening of what it needs."""

DOUBT = 60.0
"""Seconds after a failure for which it counts as away, unless something succeeds."""

_CLOSING = 3.0


class ServiceBusLink:
    """Exactly one of `connection_string` and `namespace`, a host name, is given; `client_id` names an identity.

    Service Bus is left alone for `rest` seconds after a failure. Nothing is opened before the first call, which must
    come from the event loop that all others come from.
    """

    def __init__(
        self,
        *,
        connection_string: str | None = None,
        namespace: str | None = None,
        client_id: str | None = None,
        rest: float = REST,
    ) -> None:
        if (connection_string is None) == (namespace is None):
            raise ValueError("give a connection string or a namespace")
        self._connection_string, self._namespace, self._client_id = connection_string, namespace, client_id
        self._breaker = Breaker("Service Bus", rest)
        self._client: ServiceBusClient | None = None
        self._credential: DefaultAzureCredential | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closing: set[asyncio.Task[None]] = set()
        self._failed_at: float | None = None

    @property
    def is_answering(self) -> bool:
        return self._failed_at is None or asyncio.get_running_loop().time() - self._failed_at > DOUBT

    async def send(self, topic: str, messages: Sequence[ServiceBusMessage]) -> None:
        """Send all of these, or none; raises Unavailable."""
        async with self._turns[topic]:
            with self._translated():
                async with asyncio.timeout(PATIENCE):
                    if topic in self._senders:
                        # Service Bus ends links that were idle for ten minutes, which shows when one is used again.
                        with suppress(ServiceBusError, AzureError, OSError):
                            await self._try(topic, messages)
                            return
                    await self._try(topic, messages)

    @asynccontextmanager
    async def receiver(
        self,
        topic: str,
        subscription: str,
        *,
        session: str | None = None,
        dead: bool = False,
        patience: float = PATIENCE,
    ) -> AsyncIterator[ServiceBusReceiver]:
        """A receiver in peek-lock mode for a block that may take `patience` seconds; raises Unavailable.

        SessionCannotBeLockedError is the one error of the SDK that it lets out: somebody else has the session.
        """
        part = ServiceBusSubQueue.DEAD_LETTER if dead else None
        more: dict[str, Any] = {} if session is None else {"session_id": session}
        receiver: ServiceBusReceiver | None = None
        with self._translated():
            try:
                async with asyncio.timeout(patience):
                    receiver = self._opened().get_subscription_receiver(
                        topic, subscription, sub_queue=part, **more
                    )
                    await receiver.__aenter__()
                    yield receiver
            finally:
                # Closing is a conversation of its own, for which nobody has to wait.
                self._close_soon(receiver)

    async def settled(self) -> None:
        """Wait until everything that was let go of is closed."""
        await asyncio.gather(*self._closing)

    async def close(self) -> None:
        for sender in self._senders.values():
            self._close_soon(sender)
        self._senders.clear()
        await self.settled()
        if self._client is not None:
            await _closed(self._client)
        if self._credential is not None:
            await self._credential.close()

    async def _try(self, topic: str, messages: Sequence[ServiceBusMessage]) -> None:
        sender = self._senders.pop(topic, None) or self._opened().get_topic_sender(topic)
        try:
            await sender.send_messages(list(messages))
        except BaseException:
            self._close_soon(sender)
            raise
        self._senders[topic] = sender

    def _opened(self) -> ServiceBusClient:
        if self._client is None:
            # A refusal is an answer, and whoever waits for one has no time for three tries with pauses.
            options: dict[str, Any] = {"retry_total": 0}
            if self._connection_string is not None:
                self._client = ServiceBusClient.from_connection_string(self._connection_string, **options)
            else:
                self._credential = DefaultAzureCredential(managed_identity_client_id=self._client_id)
                self._client = ServiceBusClient(str(self._namespace), self._credential, **options)
        return self._client

    def _close_soon(self, part: ServiceBusSender | ServiceBusReceiver | None) -> None:
        if part is not None:
            task = asyncio.create_task(_closed(part))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let the SDK's errors out as the port's, and remember how it went; its texts stay in the log's cause."""
        if not self._breaker.admits():
            raise Unavailable("Service Bus failed a moment ago and is left alone")
        try:
            yield
        except SessionCannotBeLockedError:
            self._went_well()
            raise
        except (ServiceBusError, AzureError, OSError, TimeoutError) as error:
            self._failed_at = asyncio.get_running_loop().time()
            self._breaker.failed(error)
            raise Unavailable("Service Bus can't be reached") from error
        self._went_well()

    def _went_well(self) -> None:
        self._breaker.succeeded()
        self._failed_at = None


async def _closed(part: ServiceBusClient | ServiceBusSender | ServiceBusReceiver) -> None:
    """Close a part that may be broken, within a limit."""
    with suppress(ServiceBusError, AzureError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSING):
            await part.close()
