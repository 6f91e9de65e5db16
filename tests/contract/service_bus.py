"""One way to call both clients of the SDK, so that each promise is written once and held by both.

The asynchronous client is called as it is; the synchronous one in threads, which makes its calls awaitable.
"""

import asyncio
import datetime
import functools
import inspect
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import azure.servicebus
import azure.servicebus.aio
import pytest
import pytest_asyncio
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.exceptions import OperationTimeoutError

from tools.local.running import running_servicebus

CONNECTION = os.environ.get("TEST_SERVICEBUS_CONNECTION")
"""Azure or Microsoft's emulator, with the entities of service_bus_entities.json."""

FLAVORS = ("sync", "aio")
Case = Callable[..., Awaitable[None]]
ENTITIES = Path(__file__).parent / "service_bus_entities.json"
WAIT = 5.0
"""Seconds that a receiver waits for a message that is there."""


def local_entities(folder: Path) -> Path:
    """The same entities with locks and lives of a second, which Azure doesn't allow and the local broker does."""
    text = ENTITIES.read_text().replace('"PT5S"', '"PT1S"').replace('"PT6S"', '"PT4S"')
    path = folder / "entities.json"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def service_bus_connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A broker for each client, so that both run at once; one that the environment names serves them in turn."""
    if CONNECTION:
        yield dict.fromkeys(FLAVORS, CONNECTION)
        return
    with ExitStack() as stack:
        connections = {}
        for flavor in FLAVORS:
            folder = tmp_path_factory.mktemp(f"servicebus-{flavor}")
            broker = stack.enter_context(running_servicebus(folder, local_entities(folder)))
            connections[flavor] = broker.connection_string
        yield connections


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def buses(service_bus_connections: dict[str, str]) -> AsyncIterator[list["Bus"]]:
    """Both clients, kept for a module: their parts take half a second each to open and to close."""
    buses = [Bus(connection, flavor) for flavor, connection in service_bus_connections.items()]
    if CONNECTION:
        await buses[-1].clear()
    yield buses
    await asyncio.gather(*(bus.close() for bus in buses))


def both_clients(case: Case) -> Case:
    """Make a test of a case: it has to hold for both clients. The SDK mostly waits, so they run side by side."""

    async def test(buses: list["Bus"], **parameters: Any) -> None:
        async def labelled(bus: "Bus") -> None:
            try:
                await case(bus, **parameters)
            except BaseException as error:
                error.add_note(f"with the {bus.flavor} client")
                raise

        if CONNECTION:
            for bus in buses:
                await labelled(bus)
        else:
            async with asyncio.TaskGroup() as group:
                for bus in buses:
                    group.create_task(labelled(bus))

    functools.update_wrapper(test, case)
    others = [each for each in inspect.signature(case).parameters.values() if each.name != "bus"]
    given = inspect.Parameter("buses", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([given, *others])
    return test


class InThread:
    """An object of the synchronous client whose methods are awaited."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)
        if not callable(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(value, *args, **kwargs)

        return call


class Bus:
    """A client, its senders kept open: opening and closing one costs half a second each."""

    def __init__(self, connection: str, flavor: str) -> None:
        module: Any = azure.servicebus if flavor == "sync" else azure.servicebus.aio
        self._is_sync = flavor == "sync"
        self.flavor, self._module = flavor, module
        # One try: a refusal is the answer here, not something to try again.
        self._client = module.ServiceBusClient.from_connection_string(connection, retry_total=0)
        self._senders: dict[str, Any] = {}
        self._kept: dict[tuple[str, bool, str], list[Any]] = {}
        self._ending: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        kept = (*self._senders.values(), *(each for some in self._kept.values() for each in some))
        await asyncio.gather(*(each.close() for each in kept), *self._ending)
        await self._awaited(self._client).close()

    async def clear(self) -> None:
        """Take away what an earlier run, that failed, has left behind."""
        [namespace] = json.loads(ENTITIES.read_text())["UserConfig"]["Namespaces"]
        places = [(each["Name"], each["Properties"]) for each in namespace["Queues"]] + [
            (f"{topic['Name']}/{each['Name']}", each["Properties"])
            for topic in namespace["Topics"]
            for each in topic["Subscriptions"]
        ]
        for path, properties in places:
            await self._clear(path, dead=True)
            if properties.get("RequiresSession"):
                with suppress(OperationTimeoutError):
                    while True:
                        await self._clear(path, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=2)
            else:
                await self._clear(path)

    async def _clear(self, path: str, *, dead: bool = False, **options: Any) -> None:
        mode = "receiveanddelete"
        async with self.receiver(path, dead=dead, receive_mode=mode, **options) as receiver:
            while await receiver.receive_messages(100, max_wait_time=1):
                pass

    def _awaited(self, target: Any) -> Any:
        return InThread(target) if self._is_sync else target

    # --- sending

    async def sender(self, entity: str) -> Any:
        if entity not in self._senders:
            make = self._client.get_topic_sender if entity == "events" else self._client.get_queue_sender
            self._senders[entity] = self._awaited(make(entity))
        return self._senders[entity]

    async def send(self, entity: str, *messages: ServiceBusMessage) -> None:
        await (await self.sender(entity)).send_messages(list(messages) if len(messages) > 1 else messages[0])

    # --- receiving

    @asynccontextmanager
    async def receiver(self, entity: str, *, dead: bool = False, **options: Any) -> AsyncIterator[Any]:
        """A receiver of a queue or of `topic/subscription`, open.

        A plain one is kept for the next test, unless it has credit left: it would take what others wait for. All
        others are closed while the tests go on.
        """
        mode = options.get("receive_mode", "peeklock")
        kept = self._kept.setdefault((entity, dead, mode), [])
        plain = set(options) <= {"receive_mode"}
        receiver = kept.pop() if plain and kept else self._receiver(entity, dead=dead, **options)
        done = False
        try:
            await receiver._open_with_retry()
            yield receiver
            done = True
        finally:
            if done and plain and receiver._handler._link.current_link_credit == 0:
                kept.append(receiver)
            else:
                self._ending.append(asyncio.ensure_future(self._end(receiver)))

    def _receiver(self, entity: str, *, dead: bool, **options: Any) -> Any:
        if dead:
            options["sub_queue"] = ServiceBusSubQueue.DEAD_LETTER
        topic, _, subscription = entity.rpartition("/")
        if topic:
            made = self._client.get_subscription_receiver(topic, subscription, **options)
        else:
            made = self._client.get_queue_receiver(entity, **options)
        return self._awaited(made)

    @staticmethod
    async def _end(receiver: Any) -> None:
        await receiver.close()

    async def settled(self) -> None:
        """Wait until all receivers that were left are closed."""
        ending, self._ending = self._ending, []
        await asyncio.gather(*ending)

    async def receive(
        self, entity: str, count: int = 1, *, dead: bool = False, session_id: str | None = None
    ) -> list[ServiceBusReceivedMessage]:
        """Receive and delete exactly that many messages."""
        options = {} if session_id is None else {"session_id": session_id}
        async with self.receiver(entity, dead=dead, receive_mode="receiveanddelete", **options) as receiver:
            return await take(receiver, count)

    async def session(self, receiver: Any) -> Any:
        return self._awaited(receiver.session)

    async def waiting(self, entity: str, *, dead: bool = False) -> list[str]:
        """The bodies of all messages of an entity, which are left where they are."""
        async with self.receiver(entity, dead=dead) as receiver:
            return [str(each) for each in await receiver.peek_messages(250, sequence_number=1)]

    def lock_renewer(self) -> Any:
        return self._awaited(self._module.AutoLockRenewer())

    async def register(self, renewer: Any, receiver: Any, message: Any, seconds: float) -> None:
        target = receiver.target if self._is_sync else receiver
        actual = renewer.target if self._is_sync else renewer
        actual.register(target, message, max_lock_renewal_duration=seconds)

    async def sessions(self, entity: str) -> list[str]:
        if self._is_sync:
            return await asyncio.to_thread(lambda: list(self._client.list_queue_sessions(entity)))
        return [each async for each in self._client.list_queue_sessions(entity)]

    async def iterated(self, receiver: Any, count: int) -> list[str]:
        """What `for message in receiver` gives, each completed as it comes."""
        if not self._is_sync:
            bodies = []
            async for message in receiver:
                bodies.append(str(message))
                await receiver.complete_message(message)
                if len(bodies) == count:
                    break
            return bodies

        def iterate() -> list[str]:
            found = []
            for message in receiver.target:
                found.append(str(message))
                receiver.target.complete_message(message)
                if len(found) == count:
                    break
            return found

        return await asyncio.to_thread(iterate)


async def take(receiver: Any, count: int = 1) -> list[ServiceBusReceivedMessage]:
    """Receive exactly that many messages, in as many calls as the SDK makes of it."""
    found: list[ServiceBusReceivedMessage] = []
    while len(found) < count:
        more = await receiver.receive_messages(count - len(found), max_wait_time=WAIT)
        assert more, f"{count} message(s) expected, got {len(found)}"
        found += more
    return found


async def one(receiver: Any) -> ServiceBusReceivedMessage:
    return (await take(receiver))[0]


def fresh(word: str = "") -> str:
    """A text that nothing else has: body, session id or message id."""
    return f"{word}{uuid.uuid4().hex[:12]}"


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float = 15.0) -> None:
    """Ask the broker until it says so; it tells nobody when it dead-letters what has expired."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


def soon(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def text(value: Any) -> str:
    """Of a dead-letter reason, which the SDK hands on as the bytes of the wire."""
    return value.decode() if isinstance(value, bytes) else str(value)
