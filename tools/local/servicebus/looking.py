"""Looking into a broker from outside, through the SDK: any Service Bus will do, but for `redrive`.

Redriving by receiving and sending again isn't the same: through a topic every subscription would get the message a
second time, and one that detects duplicates would drop it. So it is an operation of this broker, which moves the
message back into the one queue that it died in.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import cast

from azure.servicebus import (
    ServiceBusClient,
    ServiceBusReceivedMessage,
    ServiceBusReceiver,
    ServiceBusSubQueue,
)
from azure.servicebus._common import mgmt_handlers

from tools.local.servicebus.amqp.values import Int
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

    def receiver(self, client: ServiceBusClient, *, dead: bool) -> ServiceBusReceiver:
        """A receiver that is used for its management link only: it takes nothing."""
        part = ServiceBusSubQueue.DEAD_LETTER if dead else None
        if self.queue is not None:
            return client.get_queue_receiver(self.queue, sub_queue=part)
        return client.get_subscription_receiver(str(self.topic), str(self.subscription), sub_queue=part)


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
    with place.receiver(client, dead=dead) as receiver:
        shown = f"{place}/$DeadLetterQueue" if dead else str(place)
        while count is None or count > 0:
            wanted = _PAGE if count is None else min(count, _PAGE)
            page = receiver.peek_messages(max_message_count=wanted, sequence_number=start)
            if not page:
                return
            yield from (_seen(shown, each) for each in page)
            start = int(page[-1].sequence_number or 0) + 1
            count = None if count is None else count - len(page)


def redrive(client: ServiceBusClient, place: Place, count: int) -> int:
    """Move messages from the dead-letter queue back, as new ones, the oldest first; returns how many.

    Uses a private method of the SDK (7.15.0) to reach an operation that only this broker has.
    """
    with place.receiver(client, dead=True) as receiver:
        answer = receiver._mgmt_request_response_with_retry(
            REDRIVE.encode(), {"message-count": Int(count)}, mgmt_handlers.default
        )
        return int(cast("dict[bytes, int]", answer)[b"moved"])


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
