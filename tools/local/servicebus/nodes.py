"""What the addresses of links mean, and who serves them.

$cbs                         tokens; every one is believed, but without one nothing else is served, as in Azure
ENTITY/$management           operations on an entity
ENTITY                       sending to a queue or a topic
QUEUE, TOPIC/Subscriptions/NAME, either with /$DeadLetterQueue         receiving
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from tools.local.servicebus.amqp.connection import Connection
from tools.local.servicebus.amqp.link import IncomingLink, OutgoingLink
from tools.local.servicebus.amqp.message import BATCH_FORMAT, Message, read_message, symbols
from tools.local.servicebus.amqp.performatives import Accepted, Rejected, refusal
from tools.local.servicebus.amqp.values import Malformed
from tools.local.servicebus.broker import Incoming, Publication, Refused
from tools.local.servicebus.dispatch import Acceptance, Dispatcher
from tools.local.servicebus.management import Management
from tools.local.servicebus.queues import Queue
from tools.local.servicebus.receiving import QueueReceiver
from tools.local.servicebus.requests import Answer, AnswerLink, Names, RequestLink, text_property
from tools.local.servicebus.sessions import Owner, SessionBusy, SessionQueue

_log = logging.getLogger("servicebus.nodes")

LARGEST_MESSAGE = 256 * 1024
"""Bytes: the limit of Azure's Standard tier and of Microsoft's emulator, for a message and for a batch."""

SESSION_WAIT = 60.0
"""Seconds that a client waits for any session when it doesn't say how long."""

_CBS, _MANAGEMENT = "$cbs", "/$management"
_SESSION_FILTER = "com.microsoft:session-filter"
_EPOCH_TICKS = 621_355_968_000_000_000
_TICKS_PER_MILLISECOND = 10_000
_CBS_NAMES = Names("status-code", "status-description")
_MANAGEMENT_NAMES = Names("statusCode", "statusDescription")


class Nodes:
    """Serves the links of all connections."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._answers: dict[tuple[Connection, object, str], AnswerLink] = {}
        self._receivers: dict[Connection, set[QueueReceiver]] = {}

    # --- Peer

    def attach(self, connection: Connection, link: IncomingLink | OutgoingLink) -> None:
        lower = link.address.lower()
        if lower == _CBS:
            self._request_link(connection, link, _CBS_NAMES, lambda message: _token(connection, message))
        elif not connection.is_authorized:
            link.refuse("amqp:unauthorized-access", "put a token to $cbs first")
        elif lower.endswith(_MANAGEMENT):
            self._management(connection, link, link.address[: -len(_MANAGEMENT)])
        elif isinstance(link, IncomingLink):
            self._sender(connection, link)
        else:
            self._receiver(connection, link)

    def disconnected(self, connection: Connection) -> None:
        self._receivers.pop(connection, None)

    # --- requests

    def _management(self, connection: Connection, link: IncomingLink | OutgoingLink, path: str) -> None:
        broker = self._dispatcher.broker
        if broker.queue(path) is None and not broker.takes_messages(path):
            link.refuse("amqp:not-found", f"The messaging entity '{path}' could not be found.")
            return
        management = Management(self._dispatcher, path)

        def owner(session: str) -> Owner | None:
            mine = self._receivers.get(connection, set())
            queue = broker.queue(path)
            owners = (each.owner for each in mine if each.queue is queue and each.owner is not None)
            return next((each for each in owners if each.session == session), None)

        self._request_link(
            connection, link, _MANAGEMENT_NAMES, lambda message: management.answer(message, owner)
        )

    def _request_link(
        self,
        connection: Connection,
        link: IncomingLink | OutgoingLink,
        names: Names,
        handle: Callable[[Message], Answer],
    ) -> None:
        key = (connection, link.channel, link.address.lower())
        if isinstance(link, IncomingLink):
            requests = RequestLink(connection, link, names, handle, lambda: self._answers.get(key))
            # Room for a batch of scheduled messages and what is around them.
            link.accept(requests, largest=2 * LARGEST_MESSAGE)
        else:
            self._answers[key] = AnswerLink(link, lambda: self._forget_answers(key))
            link.accept(self._answers[key])

    def _forget_answers(self, key: tuple[Connection, object, str]) -> None:
        self._answers.pop(key, None)

    # --- sending

    def _sender(self, connection: Connection, link: IncomingLink) -> None:
        if not self._dispatcher.broker.takes_messages(link.address):
            link.refuse("amqp:not-found", f"The messaging entity '{link.address}' could not be found.")
            return
        link.accept(_Sender(self._dispatcher, connection, link), largest=LARGEST_MESSAGE)

    # --- receiving

    def _receiver(self, connection: Connection, link: OutgoingLink) -> None:
        queue = self._dispatcher.broker.queue(link.address)
        if queue is None:
            link.refuse("amqp:not-found", f"The messaging entity '{link.address}' could not be found.")
        elif isinstance(queue, SessionQueue) and _SESSION_FILTER in link.filter:
            self._session_receiver(connection, link, queue)
        elif isinstance(queue, SessionQueue):
            link.refuse(
                "amqp:not-allowed",
                "It is not possible for an entity that requires sessions to create a non-sessionful message"
                " receiver.",
            )
        elif _SESSION_FILTER in link.filter:
            link.refuse(
                "amqp:not-allowed",
                "A sessionful message receiver can't be created on an entity that doesn't require sessions.",
            )
        else:
            self._begin(connection, queue, link, None)

    def _session_receiver(self, connection: Connection, link: OutgoingLink, queue: SessionQueue) -> None:
        wanted = link.filter[_SESSION_FILTER]
        if wanted is None:
            milliseconds = (link.attach.properties or {}).get("com.microsoft:timeout")
            seconds = milliseconds / 1000 if isinstance(milliseconds, int) else SESSION_WAIT
            _AnySession(
                self._dispatcher,
                link,
                queue,
                seconds,
                lambda owner: self._accept(connection, queue, link, owner),
            )
            return
        granted: list[Owner] = []
        try:
            self._dispatcher.change(lambda now: granted.append(queue.accept(str(wanted), now)))
        except SessionBusy as busy:
            link.refuse("com.microsoft:session-cannot-be-locked", str(busy))
            return
        self._accept(connection, queue, link, granted[0])

    def _accept(self, connection: Connection, queue: SessionQueue, link: OutgoingLink, owner: Owner) -> None:
        until = queue.locked_until(owner.session)
        self._begin(
            connection,
            queue,
            link,
            owner,
            filters=symbols({_SESSION_FILTER: owner.session}),
            properties=symbols(
                {"com.microsoft:locked-until-utc": _EPOCH_TICKS + until * _TICKS_PER_MILLISECOND}
            ),
        )

    def _begin(
        self,
        connection: Connection,
        queue: Queue,
        link: OutgoingLink,
        owner: Owner | None,
        *,
        filters: dict[object, object] | None = None,
        properties: dict[object, object] | None = None,
    ) -> None:
        mine = self._receivers.setdefault(connection, set())
        receiver = QueueReceiver(self._dispatcher, queue, link, owner, mine.discard)
        mine.add(receiver)
        link.accept(receiver, filters=filters, properties=properties)
        self._dispatcher.receive(queue, receiver)


class _Sender:
    """A client that sends: each message is answered when it is on disk."""

    def __init__(self, dispatcher: Dispatcher, connection: Connection, link: IncomingLink) -> None:
        self._dispatcher, self._connection, self._link = dispatcher, connection, link

    def received(self, delivery_id: int, payload: bytes, message_format: int, *, settled: bool) -> None:
        try:
            messages = _messages(payload, message_format)
            publishing = self._dispatcher.publish(self._link.address, messages)
        except Refused as refused:
            self._reject(delivery_id, refused.condition, str(refused))
            return
        except Malformed as malformed:
            self._reject(delivery_id, "amqp:decode-error", str(malformed))
            return
        self._connection.taken()
        publishing.add_done_callback(lambda done: self._written(done, delivery_id, settled=settled))

    def closed(self) -> None:
        """What was sent before is written all the same."""

    def _written(self, done: "asyncio.Future[Publication]", delivery_id: int, *, settled: bool) -> None:
        self._connection.done()
        if not done.cancelled() and not settled and self._link.is_attached:
            self._link.settle(delivery_id, Accepted())

    def _reject(self, delivery_id: int, condition: str, text: str) -> None:
        self._link.settle(delivery_id, Rejected(refusal(condition, text)))


class _AnySession:
    """A receiving link that waits for a session before its attach is answered."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        link: OutgoingLink,
        queue: SessionQueue,
        seconds: float,
        accepted: Callable[[Owner], None],
    ) -> None:
        self._link, self._accepted = link, accepted
        self._timer = asyncio.get_running_loop().call_later(seconds, self._time_out)
        self._acceptance: Acceptance | None = None
        # So that it hears when the client goes away meanwhile.
        link.handler = self
        self._acceptance = dispatcher.accept_next(queue, self._granted)

    def ready(self) -> None:
        """There is nothing to send yet."""

    def disposed(self, delivery_id: int, tag: bytes, state: object, *, settled: bool) -> None:
        """Nothing was sent."""

    def closed(self) -> None:
        self._timer.cancel()
        if self._acceptance is not None:
            self._acceptance.cancel()

    def _granted(self, owner: Owner) -> None:
        self._timer.cancel()
        self._accepted(owner)

    def _time_out(self) -> None:
        self.closed()
        self._link.handler = None
        self._link.refuse("com.microsoft:timeout", "no session has become available in time")


def _messages(payload: bytes, message_format: int) -> Sequence[Incoming]:
    message = read_message(payload)
    if message_format != BATCH_FORMAT:
        return [Incoming(payload, message)]
    if not message.data:
        raise Malformed("a batch has a data section for each of its messages")
    return [Incoming(each, read_message(each)) for each in message.data]


def _token(connection: Connection, message: Message) -> Answer:
    if text_property(message, "operation") != "put-token" or not isinstance(message.value, str):
        return Answer(400, "put-token with a token is all that $cbs does")
    connection.is_authorized = True
    return Answer(202, "Accepted")
