"""Workers that receive for one function: a message, a batch, or a session at a time.

    receive ──> invoke, renewing the locks ──> complete, or abandon when it failed

The SDK's receivers are not made for two tasks at once, so each worker has its own and does one thing with it at a
time. A function starts with one worker. Whoever gets work starts another, up to the limit of host.json, and a worker
that finds nothing to do ends, but for the last: so an idle function holds one connection, and a busy one as many as
it may.

What is abandoned comes back, and after MaxDeliveryCount times Service Bus dead-letters it. Messages of a session come
back before their successors, so the order within a session survives failures.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceivedMessage, ServiceBusSessionFilter
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import OperationTimeoutError, ServiceBusError

from tools.local.host.hostjson import ServiceBusSettings

T = TypeVar("T")
_log = logging.getLogger("host.servicebus")

WAIT = 10.0
"""Seconds that a worker waits for work before it looks whether it is still needed."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
# Seconds between two attempts to reach a broker that isn't there.

_RENEW_AT = 0.5
# Of the time that a lock has left: early enough for a second attempt.


@dataclass(frozen=True, slots=True)
class Source:
    """Where a function's messages come from; either `queue` or `topic` and `subscription` are set."""

    connection: str
    queue: str
    topic: str
    subscription: str
    sessions: bool
    many: bool

    def __str__(self) -> str:
        return self.queue or f"{self.topic}/{self.subscription}"


Handle = Callable[[Sequence[ServiceBusReceivedMessage]], Coroutine[Any, Any, bool]]


class Crew:
    """The workers of one function. `handle` invokes it and says whether it succeeded; it doesn't raise."""

    def __init__(
        self,
        name: str,
        source: Source,
        client: ServiceBusClient,
        settings: ServiceBusSettings,
        handle: Handle,
    ) -> None:
        self._name, self._source, self._client = name, source, client
        self._settings, self._handle = settings, handle
        self._stopping = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._idle = 0
        self._limit = settings.sessions if source.sessions else 1 if source.many else settings.calls

    def start(self) -> None:
        worker = asyncio.create_task(self._work(), name=f"service bus {self._name}")
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def stop(self, grace: float) -> None:
        """Take nothing new, and wait for what runs so many seconds."""
        self._stopping.set()
        if self._workers:
            _, late = await asyncio.wait(tuple(self._workers), timeout=grace)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- a worker

    async def _work(self) -> None:
        pause = _SHORTEST_PAUSE
        needed = True
        while needed and not self._stopping.is_set():
            try:
                needed = await (self._session() if self._source.sessions else self._queue())
                pause = _SHORTEST_PAUSE
            except ServiceBusError as error:
                _log.warning("%s: %s: %s; trying again", self._name, self._source, error)
                pause = await self._rest(pause)
            except Exception:  # noqa: BLE001 (whatever it was: a function that is not served any more helps nobody)
                _log.exception("%s: a receiver of %s has failed; trying again", self._name, self._source)
                pause = await self._rest(pause)

    async def _rest(self, pause: float) -> float:
        """Wait so many seconds, or until the host stops; returns how long to wait the next time."""
        await self._unless_stopping(asyncio.sleep(pause))
        return min(pause * 2, _LONGEST_PAUSE)

    async def _queue(self) -> bool:
        """Serve the queue until there is nothing to do, or the host stops; returns whether this worker is needed."""
        receiver = self._receiver()
        try:
            while True:
                self._idle += 1
                try:
                    messages = await self._unless_stopping(self._take(receiver, WAIT))
                finally:
                    self._idle -= 1
                if messages is None:
                    return False
                if messages:
                    self._help()
                    await self._run(receiver, messages)
                elif self._idle > 0:
                    return False
        finally:
            await receiver.close()

    async def _session(self) -> bool:
        """Take the next session, empty it and let go of it."""
        receiver = self._receiver()
        self._idle += 1
        try:
            try:
                opened = await self._unless_stopping(_opened(receiver))
            except OperationTimeoutError:
                # No session has come: one worker goes on to wait, and is enough.
                return self._idle <= 1
            finally:
                self._idle -= 1
            if opened is None:
                return False
            self._help()
            while True:
                # The SDK doesn't know "not at all".
                idle = max(self._settings.session_idle, 0.1)
                messages = await self._unless_stopping(self._take(receiver, idle))
                if not messages:
                    return True
                await self._run(receiver, messages)
        finally:
            await receiver.close()

    def _help(self) -> None:
        """This worker has got work: if nobody waits for more, somebody has to."""
        if self._idle == 0 and len(self._workers) < self._limit and not self._stopping.is_set():
            self.start()

    async def _take(
        self, receiver: ServiceBusReceiver, seconds: float
    ) -> Sequence[ServiceBusReceivedMessage]:
        if not self._source.many:
            return await receiver.receive_messages(1, max_wait_time=seconds)
        settings = self._settings
        messages = list(await receiver.receive_messages(settings.largest_batch, max_wait_time=seconds))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settings.batch_wait
        while messages and len(messages) < settings.smallest_batch and (left := deadline - loop.time()) > 0:
            room = settings.largest_batch - len(messages)
            messages += await receiver.receive_messages(room, max_wait_time=left)
        return messages

    async def _run(self, receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
        running = asyncio.ensure_future(self._handle(messages))
        await self._keep_locked(receiver, messages, running)
        succeeded = await running
        for message in messages:
            try:
                if succeeded:
                    await receiver.complete_message(message)
                else:
                    await receiver.abandon_message(message)
            except ServiceBusError as error:
                # It is delivered again: a function has to bear that.
                _log.warning(
                    "%s: message %s could not be settled: %s", self._name, message.sequence_number, error
                )

    async def _keep_locked(
        self,
        receiver: ServiceBusReceiver,
        messages: Sequence[ServiceBusReceivedMessage],
        running: "asyncio.Future[bool]",
    ) -> None:
        """Renew the locks until the function is done, or has taken longer than locks are renewed."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._settings.renewal
        while not running.done():
            left = min(self._seconds_left(receiver, each) for each in messages)
            await asyncio.wait((running,), timeout=max(left * _RENEW_AT, 0.05))
            if running.done() or loop.time() >= ends:
                break
            try:
                if self._source.sessions:
                    await receiver.session.renew_lock()
                else:
                    for message in messages:
                        await receiver.renew_message_lock(message)
            except ServiceBusError as error:
                _log.warning("%s: a lock could not be renewed: %s", self._name, error)
                break
        await asyncio.wait((running,))

    def _seconds_left(self, receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage) -> float:
        until = receiver.session.locked_until_utc if self._source.sessions else message.locked_until_utc
        return _LONGEST_PAUSE if until is None else (until - datetime.now(UTC)).total_seconds()

    def _receiver(self) -> ServiceBusReceiver:
        source = self._source
        session: Literal[ServiceBusSessionFilter.NEXT_AVAILABLE] | None = (
            NEXT_AVAILABLE_SESSION if source.sessions else None
        )
        # Of a receiver with a session, the wait is that for the session.
        wait = WAIT if source.sessions else None
        prefetch = self._settings.prefetch
        if source.queue:
            return self._client.get_queue_receiver(
                source.queue, session_id=session, max_wait_time=wait, prefetch_count=prefetch
            )
        return self._client.get_subscription_receiver(
            source.topic, source.subscription, session_id=session, max_wait_time=wait, prefetch_count=prefetch
        )

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work gives, or None when the host stops first. Closing a receiver gives back what it got then."""
        if self._stopping.is_set():
            work.close()
            return None
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return None if task.cancelled() else task.result()


async def _opened(receiver: ServiceBusReceiver) -> bool:
    """Attach the link, which waits for a session."""
    await receiver.__aenter__()
    return True
