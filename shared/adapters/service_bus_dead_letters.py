"""The dead letters of Service Bus, for an operator's command."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage

from shared.adapters.service_bus import (
    AUDIT,
    DESCRIPTION,
    DEVICE_BACKLOG,
    DEVICES,
    FILE_EVENTS,
    NOTIFY,
    OPERATORS,
    REASON,
    REJECTED,
    SOURCE,
    body_of,
    properties_of,
)
from shared.adapters.service_bus_link import ServiceBusLink
from shared.domain.errors import NotFound
from shared.ports.dead_letters import DeadLetter

PLACES = (
    f"{FILE_EVENTS}/{NOTIFY}",
    f"{FILE_EVENTS}/{AUDIT}",
    f"{DEVICE_BACKLOG}/{DEVICES}",
    f"{REJECTED}/{OPERATORS}",
)

ONLY = "only"
"""The property that keeps a message that is sent again from all subscriptions but one: their filters look for it."""

_AT_ONCE = 50
_WAIT = 2.0
_PATIENCE = 30.0


class ServiceBusDeadLetters:
    """Implements the DeadLetters port."""

    def __init__(self, link: ServiceBusLink) -> None:
        self._link = link

    @property
    def places(self) -> Sequence[str]:
        return PLACES

    async def look(self, place: str, *, limit: int) -> AsyncIterator[DeadLetter]:
        topic, subscription = _parts(place)
        found: list[DeadLetter] = []
        async with self._link.receiver(topic, subscription, dead=True, patience=_PATIENCE) as receiver:
            after = 0
            while len(found) < limit:
                some = await receiver.peek_messages(
                    min(_AT_ONCE, limit - len(found)), sequence_number=after + 1
                )
                if not some:
                    break
                after = some[-1].sequence_number or 0
                found += [_described(place, each) for each in some]
        for each in found:
            yield each

    async def redrive(self, place: str, *, limit: int) -> int:
        topic, subscription = _parts(place)
        left = {letter.sequence async for letter in self.look(place, limit=limit)}
        sent = 0
        while left:
            async with self._link.receiver(topic, subscription, dead=True, patience=_PATIENCE) as receiver:
                some = await receiver.receive_messages(min(_AT_ONCE, len(left)), max_wait_time=_WAIT)
                # What was sent again may be back already, as unreadable as before: that would go on for ever.
                mine = [each for each in some if each.sequence_number in left]
                for each in mine:
                    target, message = _again(place, each)
                    await self._link.send(target, [message])
                    await receiver.complete_message(each)
                left.difference_update(each.sequence_number or 0 for each in mine)
                sent += len(mine)
                await asyncio.gather(*(receiver.abandon_message(each) for each in some if each not in mine))
            if not mine:
                break
        return sent


def _parts(place: str) -> tuple[str, str]:
    if place not in PLACES:
        raise NotFound(f"there is no {place}; there are {', '.join(PLACES)}")
    topic, _, subscription = place.partition("/")
    return topic, subscription


def _described(place: str, message: ServiceBusReceivedMessage) -> DeadLetter:
    told = properties_of(message)
    return DeadLetter(
        place=place,
        source=told.get(SOURCE, place),
        sequence=message.sequence_number or 0,
        message_id=str(message.message_id or ""),
        session=message.session_id,
        reason=_plain(message.dead_letter_reason),
        description=_plain(message.dead_letter_error_description),
        enqueued_at=message.enqueued_time_utc,
        size=len(body_of(message)),
    )


def _again(place: str, message: ServiceBusReceivedMessage) -> tuple[str, ServiceBusMessage]:
    """The topic, and a copy that only the subscription takes that had the message.

    Its id is a new one, since the old one may still count as a duplicate, and the same at each try.
    """
    told = properties_of(message)
    topic, subscription = _parts(told.get(SOURCE, place))
    kept = {
        name: value
        for name, value in (message.application_properties or {}).items()
        if _plain(name) not in (SOURCE, REASON, DESCRIPTION, "DeadLetterReason", "DeadLetterErrorDescription")
    }
    return topic, ServiceBusMessage(
        body_of(message),
        message_id=f"{str(message.message_id or '')[:80]}:again:{place[:1]}{message.sequence_number}",
        session_id=message.session_id,
        content_type=message.content_type,
        application_properties={**kept, ONLY: subscription},
    )


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)
