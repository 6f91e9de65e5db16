"""The broker at work: its memory, its store, receivers that wait, and time.

Each operation changes memory at once and answers when the change is on disk. Receivers are served in turn: whoever
got a message goes to the end of the line, so that two receivers of one queue share it.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from tools.local.servicebus.broker import Broker, Incoming, Publication
from tools.local.servicebus.entities import Entities
from tools.local.servicebus.journal import Journal
from tools.local.servicebus.messages import Stored
from tools.local.servicebus.queues import LockLost, Queue
from tools.local.servicebus.sessions import Owner, SessionQueue
from tools.local.servicebus.store import Store

_log = logging.getLogger("servicebus.dispatch")


class Receiver(Protocol):
    """Somebody who wants messages of a queue. `owner` is the session it has accepted, if the queue has sessions."""

    @property
    def owner(self) -> Owner | None: ...

    @property
    def deletes(self) -> bool:
        """Whether messages are removed as they are delivered."""

    @property
    def can_take(self) -> bool: ...

    def deliver(self, stored: Stored) -> None: ...

    def session_lost(self) -> None:
        """Its session has expired; it is not asked any more."""


class Acceptance:
    """Somebody who waits for any session: `accepted` is called once, unless `cancel` was before."""

    def __init__(self, accepted: Callable[[Owner], None]) -> None:
        self._accepted: Callable[[Owner], None] | None = accepted

    @property
    def is_wanted(self) -> bool:
        return self._accepted is not None

    def cancel(self) -> None:
        self._accepted = None

    def grant(self, owner: Owner) -> None:
        accepted, self._accepted = self._accepted, None
        if accepted is not None:
            accepted(owner)


def clock() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Dispatcher:
    """What the AMQP side calls. All of it happens on one event loop."""

    def __init__(
        self,
        entities: Entities,
        open_store: Callable[[], Store],
        now: Callable[[], int] = clock,
        new_token: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.now = now
        self._journal = Journal()
        self._awake: dict[str, Queue] = {}
        self._receivers: dict[str, deque[Receiver]] = {}
        self._waiting: dict[str, deque[Acceptance]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timed: int | None = None
        self._pumping = False
        self.broker = Broker(entities, self._journal, wake=self._wake, new_token=new_token)
        self._store = open_store()
        self._restore()
        self._settle_down()

    def close(self) -> None:
        """Write what is noted, and close the store."""
        if self._timer is not None:
            self._timer.cancel()
        self._store.close()

    # --- operations

    def publish(self, path: str, messages: Sequence[Incoming]) -> "asyncio.Future[Publication]":
        """Done when the messages are on disk and in their queues. Raises Refused."""
        publication = self.broker.prepare(path, messages, self.now())
        done: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()

        def admit(written: "asyncio.Future[None]") -> None:
            if written.cancelled():
                done.cancel()
                return
            self.broker.admit(publication)
            done.set_result(publication)
            self._settle_down()

        self._flush().add_done_callback(admit)
        return done

    def change(self, operation: Callable[[int], None]) -> "asyncio.Future[None]":
        """Run an operation on queues, given the time; done when it is on disk. Raises what the operation raises."""
        try:
            operation(self.now())
        finally:
            # An operation that fails may have found a lock expired, which is a change as well.
            written = self._flush()
            self._settle_down()
        return written

    def receive(self, queue: Queue, receiver: Receiver) -> None:
        """From now on the receiver gets messages, whenever it can take them."""
        self._receivers.setdefault(queue.path, deque()).append(receiver)
        self._wake(queue)

    def stop_receiving(self, queue: Queue, receiver: Receiver) -> None:
        line = self._receivers.get(queue.path)
        if line is not None and receiver in line:
            line.remove(receiver)

    def ready(self, queue: Queue) -> None:
        """A receiver of this queue may be able to take more."""
        self._wake(queue)
        self._settle_down()

    def accept_next(self, queue: SessionQueue, accepted: Callable[[Owner], None]) -> Acceptance:
        """Wait for a session that nobody has."""
        acceptance = Acceptance(accepted)
        self._waiting.setdefault(queue.path, deque()).append(acceptance)
        self.ready(queue)
        return acceptance

    # --- inside

    def _wake(self, queue: Queue) -> None:
        self._awake[queue.path] = queue

    def _settle_down(self) -> None:
        """Give out what can be given out, and set the timer for the next thing that time does."""
        if self._pumping:
            # Called by what the pump itself has set off: the loop below goes on until nothing is awake.
            return
        self._pumping = True
        try:
            while self._awake:
                _, queue = self._awake.popitem()
                if isinstance(queue, SessionQueue):
                    self._accept(queue)
                self._serve(queue)
                self._report_lost(queue)
        finally:
            self._pumping = False
        self._flush()
        self._set_timer()

    def _accept(self, queue: SessionQueue) -> None:
        line = self._waiting.get(queue.path)
        while line:
            if not line[0].is_wanted:
                line.popleft()
                continue
            owner = queue.accept_next(self.now())
            if owner is None:
                return
            line.popleft().grant(owner)

    def _serve(self, queue: Queue) -> None:
        line = self._receivers.get(queue.path)
        if not line:
            return
        passed = 0
        now = self.now()
        while line and passed < len(line):
            receiver = line[0]
            line.rotate(-1)
            stored = self._next(queue, receiver, now) if receiver.can_take else None
            if stored is None:
                passed += 1
                continue
            passed = 0
            receiver.deliver(stored)

    def _next(self, queue: Queue, receiver: Receiver, now: int) -> Stored | None:
        if not isinstance(queue, SessionQueue):
            return queue.take_away(now) if receiver.deletes else queue.take(now)
        owner = receiver.owner
        if owner is None:
            return None
        try:
            return queue.take_away_of(owner, now) if receiver.deletes else queue.take_of(owner, now)
        except LockLost:
            # `_report_lost` tells the receiver.
            return None

    def _report_lost(self, queue: Queue) -> None:
        if not isinstance(queue, SessionQueue) or not queue.lost:
            return
        lost, queue.lost = queue.lost, []
        for receiver in list(self._receivers.get(queue.path, ())):
            if receiver.owner in lost:
                self.stop_receiving(queue, receiver)
                receiver.session_lost()

    def _flush(self) -> "asyncio.Future[None]":
        return self._store.write(self._journal.take())

    def _set_timer(self) -> None:
        alarm = self.broker.next_alarm
        if alarm == self._timed and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timed, self._timer = alarm, None
        if alarm is not None:
            # The wall clock may be set while a timer runs: ask it again once an hour at least.
            delay = min(max(alarm - self.now(), 1) / 1000, 3600.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.broker.sweep(self.now())
        for queue in self.broker.queues.values():
            if isinstance(queue, SessionQueue) and queue.lost:
                self._wake(queue)
        self._settle_down()

    def _restore(self) -> None:
        unknown: dict[str, int] = {}
        for path, following in self._store.counters():
            self.broker.restore_counter(path, following)
        for path, stored in self._store.messages():
            if not self.broker.restore(path, stored):
                unknown[path] = unknown.get(path, 0) + 1
        for path, session, state, updated in self._store.sessions():
            queue = self.broker.queue(path)
            if isinstance(queue, SessionQueue):
                queue.restore_state(session, state, updated)
        for path, message_id, at in self._store.seen():
            self.broker.restore_seen(path, message_id, at)
        for path, count in unknown.items():
            _log.warning("%d message(s) of %s are kept, but nothing of that name is configured", count, path)
