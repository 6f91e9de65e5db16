"""Requests and answers over a pair of links (AMQP Management): `$cbs` and the `$management` of each entity.

The client sends to an address and receives from the same one, in one session; an answer is found by the request's
message id, which comes back as its correlation id with the type that it had.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tools.local.servicebus.amqp.connection import Connection
from tools.local.servicebus.amqp.link import IncomingLink, OutgoingLink
from tools.local.servicebus.amqp.message import Message, read_message, write_message
from tools.local.servicebus.amqp.performatives import Accepted, Rejected, refusal
from tools.local.servicebus.amqp.values import Int, Malformed, Symbol

_log = logging.getLogger("servicebus.requests")

MOST_UNANSWERED = 256
"""Answers of one link that may wait for the client's credit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is like HTTP's; `condition` names the error, if it is one. `after` must be done before it is said."""

    status: int
    description: str = ""
    value: object = None
    condition: str | None = None
    after: "asyncio.Future[None] | None" = None


@dataclass(frozen=True, slots=True)
class Names:
    """What the parts of an answer are called: `$cbs` and `$management` differ."""

    status: str
    description: str
    condition: str = "errorCondition"


class AnswerLink:
    """Where answers go out. They are sent settled: the SDK never settles them."""

    def __init__(self, link: OutgoingLink, left: Callable[[], None]) -> None:
        self._link, self._left = link, left
        self._waiting: deque[bytes] = deque()
        self._number = 0
        link.settles = False

    def send(self, octets: bytes) -> None:
        self._waiting.append(octets)
        self.ready()
        if len(self._waiting) > MOST_UNANSWERED:
            self._waiting.clear()
            self._link.detach("amqp:resource-limit-exceeded", "too many answers wait for credit")
            self._left()

    def ready(self) -> None:
        while self._waiting and self._link.can_send:
            self._number += 1
            self._link.send(self._waiting.popleft(), self._number.to_bytes(8, "big"))

    def disposed(self, delivery_id: int, tag: bytes, state: object, *, settled: bool) -> None:
        """Nothing is unsettled here."""

    def closed(self) -> None:
        self._waiting.clear()
        self._left()


class RequestLink:
    """Where requests come in. `answer_link` finds the link of the same address that answers go to."""

    def __init__(
        self,
        connection: Connection,
        link: IncomingLink,
        names: Names,
        handle: Callable[[Message], Answer],
        answer_link: Callable[[], AnswerLink | None],
    ) -> None:
        self._connection, self._link, self._names = connection, link, names
        self._handle, self._answer_link = handle, answer_link

    def received(self, delivery_id: int, payload: bytes, message_format: int, *, settled: bool) -> None:
        try:
            request = read_message(payload)
        except Malformed as error:
            self._link.settle(delivery_id, Rejected(refusal("amqp:decode-error", str(error))))
            return
        if not settled:
            self._link.settle(delivery_id, Accepted())
        answer = self._handle(request)
        if answer.after is None:
            self._say(request, answer)
            return
        self._connection.taken()
        answer.after.add_done_callback(lambda done: self._written(done, request, answer))

    def closed(self) -> None:
        """Answers that are on their way find their own link."""

    def _written(self, done: "asyncio.Future[None]", request: Message, answer: Answer) -> None:
        self._connection.done()
        if not done.cancelled():
            self._say(request, answer)

    def _say(self, request: Message, answer: Answer) -> None:
        link = self._answer_link()
        if link is None:
            return
        application: dict[str, object] = {self._names.status: Int(answer.status)}
        application[self._names.description] = answer.description
        if answer.condition is not None:
            application[self._names.condition] = Symbol(answer.condition)
        link.send(
            write_message(
                answer.value,
                correlation_id=request.properties.get("message_id"),
                application=application,
            )
        )


def text_property(message: Message, name: str) -> str | None:
    """An application property of a request, if it is text."""
    value = message.application.get(name)
    return str(value) if isinstance(value, str) else None
