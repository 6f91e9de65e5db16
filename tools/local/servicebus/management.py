"""The operations of `$management`: everything that isn't sending, receiving or settling on a link.

Source of names, fields and status codes: Microsoft's "AMQP 1.0 in Azure Service Bus: request-response-based
operations". An operation answers when its change is on disk. Those that belong to a session are for the connection
that has accepted it; for anybody else the session's lock is lost.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tools.local.servicebus.amqp.message import Message, read_message
from tools.local.servicebus.amqp.values import Array, Int, Malformed, Timestamp
from tools.local.servicebus.broker import Incoming, Publication, Refused
from tools.local.servicebus.dispatch import Dispatcher
from tools.local.servicebus.messages import Stored
from tools.local.servicebus.queues import LockLost, NotFound, Queue
from tools.local.servicebus.receiving import MESSAGE_LOCK_LOST, SESSION_LOCK_LOST
from tools.local.servicebus.requests import Answer, text_property
from tools.local.servicebus.sessions import Owner, SessionQueue

MOST_PEEKED = 250
MOST_PEEKED_BYTES = 1024 * 1024
"""One answer of a peek has no more than that; the client asks again from the last number."""

_YEAR_10000 = 253402300800000
# What the SDK sends for "all sessions, whenever their state was set".

REDRIVE = "strata:redrive"
"""Not Azure's: of a dead-letter queue, moves its messages back. For the command of this broker."""

Ours = Callable[[str], Owner | None]


@dataclass(frozen=True, slots=True)
class _Request:
    """`owner` finds the session of that id, if the asking connection has it."""

    body: Mapping[object, object]
    owner: Ours

    def one(self, name: str, kind: type) -> object:
        value = self.body.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Malformed(f"{name} is missing, or not of its type")
        return value

    def number(self, name: str) -> int:
        value = self.one(name, int)
        return value if isinstance(value, int) else 0

    def text(self, name: str) -> str:
        return str(self.one(name, str))

    def maybe_text(self, name: str) -> str | None:
        value = self.body.get(name)
        return value if isinstance(value, str) else None

    def all(self, name: str) -> Sequence[object]:
        value = self.body.get(name)
        if not isinstance(value, list):
            raise Malformed(f"{name} is missing, or not a list")
        return value

    def tokens(self) -> list[uuid.UUID]:
        tokens = self.all("lock-tokens")
        return [each if isinstance(each, uuid.UUID) else _token(each) for each in tokens]

    def numbers(self) -> list[int]:
        return [each for each in self.all("sequence-numbers") if isinstance(each, int)]


class Management:
    """Of one entity, which is a queue, a topic or both words for nothing: then everything is not found."""

    def __init__(self, dispatcher: Dispatcher, path: str) -> None:
        self._dispatcher, self._path = dispatcher, path

    def answer(self, message: Message, owner: Ours) -> Answer:
        operation = text_property(message, "operation") or ""
        handler = _OPERATIONS.get(operation)
        if handler is None:
            return Answer(501, f"{operation!r} is not provided", condition="amqp:not-implemented")
        body = message.value if isinstance(message.value, dict) else {}
        try:
            return handler(self, _Request(body, owner))
        except LockLost as lost:
            condition = SESSION_LOCK_LOST if isinstance(self._queue(), SessionQueue) else MESSAGE_LOCK_LOST
            return Answer(410, str(lost), condition=condition)
        except NotFound as missing:
            return Answer(404, str(missing), condition="com.microsoft:message-not-found")
        except Refused as refused:
            return Answer(400, str(refused), condition=refused.condition)
        except Malformed as malformed:
            return Answer(400, str(malformed), condition="com.microsoft:argument-error")

    # --- locks and settling

    def renew(self, request: _Request) -> Answer:
        queue, until = self._queue(), []

        def work(now: int) -> None:
            until.extend([Timestamp(queue.renew(each, now)) for each in request.tokens()])

        after = self._dispatcher.change(work)
        return Answer(200, value={"expirations": Array(Timestamp, until)}, after=after)

    def dispose(self, request: _Request) -> Answer:
        queue = self._queue()
        status = request.text("disposition-status")
        reason, text = (request.maybe_text(f"deadletter-{each}") for each in ("reason", "description"))
        how: dict[str, Callable[[uuid.UUID, int], None]] = {
            "completed": queue.complete,
            "abandoned": queue.abandon,
            "defered": queue.defer,
            "suspended": lambda token, now: queue.dead_letter(token, reason, text, now),
        }
        if status not in how:
            raise Malformed(f"{status!r} is no disposition")

        def work(now: int) -> None:
            for token in request.tokens():
                how[status](token, now)

        return Answer(200, after=self._dispatcher.change(work))

    # --- sessions

    def renew_session(self, request: _Request) -> Answer:
        queue, owner = self._session(request)
        until: list[int] = []
        after = self._dispatcher.change(lambda now: until.append(queue.renew_session(owner, now)))
        return Answer(200, value={"expiration": Timestamp(until[0])}, after=after)

    def get_state(self, request: _Request) -> Answer:
        queue, owner = self._session(request)
        return Answer(200, value={"session-state": queue.state_of(owner.session)})

    def set_state(self, request: _Request) -> Answer:
        queue, owner = self._session(request)
        state = request.body.get("session-state")
        kept = state if isinstance(state, bytes) else None
        return Answer(200, after=self._dispatcher.change(lambda now: queue.set_state(owner, kept, now)))

    def list_sessions(self, request: _Request) -> Answer:
        queue = self._queue()
        if not isinstance(queue, SessionQueue):
            raise Refused("amqp:not-allowed", f"{self._path} has no sessions")
        since, skip, top = (request.number(each) for each in ("last-updated-time", "skip", "top"))
        page = queue.sessions(None if since >= _YEAR_10000 else since)[max(skip, 0) :][: max(top, 0)]
        if not page:
            return Answer(204)
        return Answer(200, value={"skip": Int(skip + len(page)), "sessions-ids": Array(str, page)})

    # --- messages by number

    def peek(self, request: _Request) -> Answer:
        start, count = request.number("from-sequence-number"), request.number("message-count")
        found = self._queue().peek(
            start, min(count, MOST_PEEKED), self._dispatcher.now(), request.maybe_text("session-id")
        )
        entries: list[object] = []
        size = 0
        for stored in found:
            size += stored.size
            if entries and size > MOST_PEEKED_BYTES:
                break
            entries.append({"message": stored.delivered(locked_until=None)})
        return Answer(200, value={"messages": entries}) if entries else Answer(204)

    def receive_deferred(self, request: _Request) -> Answer:
        queue, removes = self._queue(), request.number("receiver-settle-mode") == 0
        if isinstance(queue, SessionQueue):
            self._session(request)
        found: list[Stored] = []
        after = self._dispatcher.change(
            lambda now: found.extend(queue.take_deferred(request.numbers(), now, remove=removes))
        )
        return Answer(200, value={"messages": [_locked(each) for each in found]}, after=after)

    def schedule(self, request: _Request) -> Answer:
        messages = list(_messages(request.all("messages")))
        numbers = Array(int)
        publishing = self._dispatcher.publish(self._path, messages)
        # The numbers are known when it is written; the answer's list is filled before it is said.
        after = publishing.get_loop().create_future()

        def number(done: "object") -> None:
            publication: Publication = publishing.result()
            numbers.extend(publication.sequences)
            after.set_result(None)

        publishing.add_done_callback(number)
        return Answer(200, value={"sequence-numbers": numbers}, after=after)

    def cancel(self, request: _Request) -> Answer:
        numbers = request.numbers()
        after = self._dispatcher.change(lambda now: self._dispatcher.broker.cancel(self._path, numbers))
        return Answer(200, after=after)

    def redrive(self, request: _Request) -> Answer:
        count, moved = request.number("message-count"), list[int]()
        dead, broker = self._queue(), self._dispatcher.broker
        after = self._dispatcher.change(lambda now: moved.append(broker.redrive(dead, now, count)))
        return Answer(200, value={"moved": moved[0]}, after=after)

    # --- inside

    def _queue(self) -> Queue:
        queue = self._dispatcher.broker.queue(self._path)
        if queue is None:
            raise Refused("amqp:not-allowed", f"{self._path} is no queue and no subscription")
        return queue

    def _session(self, request: _Request) -> tuple[SessionQueue, Owner]:
        queue, session = self._queue(), request.text("session-id")
        owner = request.owner(session)
        if not isinstance(queue, SessionQueue) or owner is None:
            raise LockLost(f"the session {session!r} is not locked by this connection")
        queue.held_until(owner, self._dispatcher.now())
        return queue, owner


_OPERATIONS: Mapping[str, Callable[[Management, _Request], Answer]] = {
    "com.microsoft:renew-lock": Management.renew,
    "com.microsoft:update-disposition": Management.dispose,
    "com.microsoft:renew-session-lock": Management.renew_session,
    "com.microsoft:get-session-state": Management.get_state,
    "com.microsoft:set-session-state": Management.set_state,
    "com.microsoft:get-message-sessions": Management.list_sessions,
    "com.microsoft:peek-message": Management.peek,
    "com.microsoft:receive-by-sequence-number": Management.receive_deferred,
    "com.microsoft:schedule-message": Management.schedule,
    "com.microsoft:cancel-scheduled-message": Management.cancel,
    REDRIVE: Management.redrive,
}


def _messages(entries: Sequence[object]) -> Iterable[Incoming]:
    for entry in entries:
        raw = entry.get("message") if isinstance(entry, dict) else None
        if not isinstance(raw, bytes):
            raise Malformed("each entry of messages has the bytes of a message")
        yield Incoming(raw, read_message(raw))


def _locked(stored: Stored) -> dict[str, object]:
    if stored.lock is None:
        return {"message": stored.delivered(locked_until=None)}
    message = stored.delivered(locked_until=stored.lock.until)
    return {"lock-token": stored.lock.token, "message": message}


def _token(value: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise Malformed("a lock token is a UUID") from None
