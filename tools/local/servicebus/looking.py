"""Looking into a broker from outside, over the SDK's connection.

The SDK peeks through receivers, and a receiver of an entity with sessions has to lock one of them: a look would take
it from whoever works on it. Requests to `$management` need no receiver. The SDK has a part that makes such requests
without one, for the listing of sessions; it is private, and used here because its version is pinned (7.15.0).

Redriving by receiving and sending again isn't the same: through a topic every subscription would get the message a
second time, and one that detects duplicates would drop it. So it is an operation of this broker, which moves the
message back into the one queue that it died in.
"""

import functools
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage
from azure.servicebus._common import constants, mgmt_handlers

from tools.local.servicebus.management import REDRIVE

LONGEST_BODY = 200
"""Characters of a body that are shown to people."""

_PAGE = 100
_SHOWN = ("message_id", "session_id", "subject", "dead_letter_reason", "dead_letter_description")


class NoSuchPlace(Exception):
    """The text names neither a queue nor a subscription."""


@dataclass(frozen=True, slots=True)
class Place:
    """A queue, or a subscription of a topic."""

    queue: str | None
    topic: str | None
    subscription: str | None

    @classmethod
    def of(cls, text: str) -> "Place":
        """`queue`, `topic/subscription` or `topic/Subscriptions/subscription`. Raises NoSuchPlace."""
        match text.strip("/").split("/"):
            case [queue] if queue:
                return cls(queue, None, None)
            case [topic, subscription] | [topic, _, subscription]:
                return cls(None, topic, subscription)
        raise NoSuchPlace(f"{text!r} is neither QUEUE nor TOPIC/SUBSCRIPTION")

    def __str__(self) -> str:
        return self.queue or f"{self.topic}/{self.subscription}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it is shown."""

    place: str
    sequence_number: int
    message_id: str | None
    session_id: str | None
    subject: str | None
    enqueued: str
    delivery_count: int
    state: str
    body: str
    properties: dict[str, str]
    dead_letter_reason: str | None
    dead_letter_description: str | None

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def as_text(self) -> str:
        about = [f"{self.place}  #{self.sequence_number}  {self.enqueued}  {self.state}"]
        about += [
            f"    {name.replace('_', ' ')}: {getattr(self, name)}"
            for name in _SHOWN
            if getattr(self, name) is not None
        ]
        about += [f"    {name} = {value}" for name, value in self.properties.items()]
        if self.delivery_count:
            about.append(f"    failed deliveries: {self.delivery_count}")
        return "\n".join([*about, "    " + textwrap.shorten(self.body, LONGEST_BODY, placeholder=" ...")])


def peek(
    client: ServiceBusClient, place: Place, *, dead: bool, start: int = 1, count: int | None = None
) -> Iterator[Seen]:
    """Messages in their order, without taking them; all there are when there is no count."""
    shown = f"{place}/$DeadLetterQueue" if dead else str(place)
    with closing(_Requests(client, place, dead=dead)) as requests:
        while count is None or count > 0:
            wanted = _PAGE if count is None else min(count, _PAGE)
            page = requests.peek(start, wanted)
            if not page:
                return
            yield from (_seen(shown, each) for each in page)
            start = int(page[-1].sequence_number or 0) + 1
            count = None if count is None else count - len(page)


def redrive(client: ServiceBusClient, place: Place, count: int) -> int:
    """Move messages from the dead-letter queue back, as new ones, the oldest first; returns how many."""
    with closing(_Requests(client, place, dead=True)) as requests:
        return requests.redrive(count)


class _Requests:
    """Requests to the `$management` of one place."""

    def __init__(self, client: ServiceBusClient, place: Place, *, dead: bool) -> None:
        part = "/$DeadLetterQueue" if dead else ""
        without_receiver: Callable[..., Any] = client._create_session_browser
        if place.queue is not None:
            self._handler = without_receiver(f"{place.queue}{part}")
        else:
            self._handler = without_receiver(str(place.topic), f"{place.subscription}{part}")

    def close(self) -> None:
        self._handler.close()

    def peek(self, start: int, count: int) -> list[ServiceBusReceivedMessage]:
        transport = self._handler._amqp_transport
        read = functools.partial(mgmt_handlers.peek_op, receiver=self._handler, amqp_transport=transport)
        body = {
            constants.MGMT_REQUEST_FROM_SEQUENCE_NUMBER: transport.AMQP_LONG_VALUE(start),
            constants.MGMT_REQUEST_MAX_MESSAGE_COUNT: count,
        }
        found = self._ask(constants.REQUEST_RESPONSE_PEEK_OPERATION, body, lambda *args, **_: read(*args[:3]))
        return cast("list[ServiceBusReceivedMessage]", found)

    def redrive(self, count: int) -> int:
        answer = self._ask(REDRIVE.encode(), {"message-count": count}, mgmt_handlers.default)
        return int(cast("dict[bytes, int]", answer)[b"moved"])

    def _ask(self, operation: bytes, body: Mapping[str, object], read: Callable[..., Any]) -> object:
        return self._handler._mgmt_request_response_with_retry(
            operation, dict(body), read, keep_alive_associated_link=False
        )


def _seen(place: str, message: ServiceBusReceivedMessage) -> Seen:
    body = b"".join(_parts(message))
    properties = message.application_properties or {}
    return Seen(
        place=place,
        sequence_number=int(message.sequence_number or 0),
        message_id=message.message_id,
        session_id=message.session_id,
        subject=message.subject,
        enqueued="" if message.enqueued_time_utc is None else message.enqueued_time_utc.isoformat(),
        delivery_count=message.delivery_count or 0,
        state=message.state.name.lower(),
        body=body.decode(errors="replace"),
        properties={
            _text(key): _text(value)
            for key, value in properties.items()
            if not _text(key).startswith("DeadLetter")
        },
        dead_letter_reason=_maybe(message.dead_letter_reason),
        dead_letter_description=_maybe(message.dead_letter_error_description),
    )


def _parts(message: ServiceBusReceivedMessage) -> Iterable[bytes]:
    body = message.body
    if isinstance(body, list | dict | str | int | float | None):
        return [str(body).encode()]
    return [each if isinstance(each, bytes) else str(each).encode() for each in body]


def _maybe(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
