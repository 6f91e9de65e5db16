"""A client that receives from a queue: its link as a Receiver, and what it makes of messages as changes.

The outcome of a delivery is the client's decision about the message: accepted completes, rejected dead-letters,
released and modified give it back, modified with undeliverable-here defers. The client waits until it hears the same
outcome, settled; an error instead tells it that the lock was lost.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping

from tools.local.servicebus.amqp.link import OutgoingLink
from tools.local.servicebus.amqp.performatives import (
    Accepted,
    Error,
    Modified,
    Performative,
    Rejected,
    Released,
    as_performative,
    refusal,
)
from tools.local.servicebus.amqp.values import Described, Malformed
from tools.local.servicebus.dispatch import Dispatcher
from tools.local.servicebus.messages import Stored
from tools.local.servicebus.queues import LockLost, Queue
from tools.local.servicebus.sessions import Owner, SessionQueue

_log = logging.getLogger("servicebus.receiving")

MESSAGE_LOCK_LOST = "com.microsoft:message-lock-lost"
SESSION_LOCK_LOST = "com.microsoft:session-lock-lost"


class QueueReceiver:
    """One receiving link. With sessions, `owner` is the session that the link has accepted."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        queue: Queue,
        link: OutgoingLink,
        owner: Owner | None,
        left: Callable[["QueueReceiver"], None],
    ) -> None:
        self._dispatcher, self.queue, self.link, self.owner, self._left = dispatcher, queue, link, owner, left

    # --- Receiver

    @property
    def deletes(self) -> bool:
        return not self.link.settles

    @property
    def can_take(self) -> bool:
        return self.link.can_send

    def deliver(self, stored: Stored) -> None:
        if stored.lock is None:
            self.link.send(stored.delivered(locked_until=None), uuid.uuid4().bytes_le)
            return
        until = stored.lock.until
        if until is None and self.owner is not None and isinstance(self.queue, SessionQueue):
            until = self.queue.locked_until(self.owner.session)
        self.link.send(stored.delivered(locked_until=until), stored.lock.token.bytes_le)

    def session_lost(self) -> None:
        self.link.detach(SESSION_LOCK_LOST, "the lock of the session has expired")
        self._left(self)

    # --- OutgoingHandler

    def ready(self) -> None:
        self._dispatcher.ready(self.queue)

    def disposed(self, delivery_id: int, tag: bytes, state: object, *, settled: bool) -> None:
        outcome = _outcome(state)
        token = uuid.UUID(bytes_le=tag)
        try:
            written = self._dispatcher.change(lambda now: self._apply(outcome, token, now))
        except LockLost as lost:
            if not settled:
                condition = MESSAGE_LOCK_LOST if self.owner is None else SESSION_LOCK_LOST
                self.link.confirm(delivery_id, Rejected(refusal(condition, str(lost))).described())
            return
        if not settled:
            written.add_done_callback(lambda done: self._confirm(done, delivery_id, outcome))

    def closed(self) -> None:
        self._dispatcher.stop_receiving(self.queue, self)
        self._left(self)
        owner, queue = self.owner, self.queue
        if owner is not None and isinstance(queue, SessionQueue):
            self._dispatcher.change(lambda now: queue.release_session(owner))

    # --- inside

    def _apply(self, outcome: Performative, token: uuid.UUID, now: int) -> None:
        match outcome:
            case Accepted():
                self.queue.complete(token, now)
            case Rejected():
                self.queue.dead_letter(token, *dead_letter_reason(outcome.error), now)
            case Modified(undeliverable_here=True):
                self.queue.defer(token, now)
            case Modified():
                self.queue.abandon(token, now)
            case _:
                self.queue.release(token, now)

    def _confirm(self, done: "asyncio.Future[None]", delivery_id: int, outcome: Performative) -> None:
        if done.cancelled() or not self.link.is_attached:
            return
        # A rejection that carries an error would read as "this settlement has failed".
        echoed = Rejected() if isinstance(outcome, Rejected) else outcome
        self.link.confirm(delivery_id, echoed.described())


def dead_letter_reason(error: object) -> tuple[str | None, str | None]:
    """Reason and description out of the error of a rejected outcome."""
    if not isinstance(error, Described):
        return None, None
    given = as_performative(error)
    if not isinstance(given, Error):
        raise Malformed("a rejected outcome carries an error")
    info: Mapping[object, object] = given.info
    reason, text = (_text(info.get(key)) for key in ("DeadLetterReason", "DeadLetterErrorDescription"))
    return reason, text if text is not None else given.description


def _outcome(state: object) -> Performative:
    # A delivery that is settled without an outcome is one that the client doesn't care about any more.
    outcome = Accepted() if state is None else as_performative(state)
    if not isinstance(outcome, Accepted | Rejected | Modified | Released):
        raise Malformed(f"{type(outcome).__name__} is no outcome")
    return outcome


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
