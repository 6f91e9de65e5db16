"""The event bus on Azure Service Bus, or on the local one, by the SDK's async client.

    topic file-events        subscriptions notify and audit, by filter
    topic device-backlog     subscription devices: a session for each device
    topic rejected-messages  subscription operators: nobody reads it, its dead letters are what counts

A function can't dead-letter the message that started it: outside of .NET the host settles it, by success or failure. So
a message that can't be read is sent on to `rejected-messages`, taken from there by this adapter itself, and
dead-lettered with the reason, as the session of a device is read in the first place.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.exceptions import SessionCannotBeLockedError

from shared.adapters.service_bus_link import ServiceBusLink
from shared.domain.errors import Unavailable
from shared.domain.events import (
    CHANGED,
    WIRE,
    FileEvent,
    Hint,
    Unreadable,
    read_hint,
    write_event,
    write_hint,
)
from shared.domain.ids import DeviceId
from shared.ports.event_bus import Collected, Letter

FILE_EVENTS, NOTIFY, AUDIT = "file-events", "notify", "audit"
DEVICE_BACKLOG, DEVICES = "device-backlog", "devices"
REJECTED, OPERATORS = "rejected-messages", "operators"

SOURCE, REASON, DESCRIPTION = "rejected-by", "rejected-for", "rejected-because"
"""Properties of a message on its way to the dead letters."""

COLLECTING = 2.0
"""Seconds that collecting a backlog may take, of which opening the session takes most."""

_MOST = 100
_WAIT = 0.5


Property = int | float | bytes | str | UUID


class ServiceBusEvents:
    """Implements the EventBus port."""

    def __init__(self, link: ServiceBusLink) -> None:
        self._link = link

    @property
    def is_answering(self) -> bool:
        return self._link.is_answering

    async def publish(self, events: Sequence[FileEvent]) -> None:
        await self._send(
            FILE_EVENTS,
            [
                ServiceBusMessage(
                    write_event(event),
                    message_id=event.message_id,
                    content_type="application/json",
                    application_properties={"kind": CHANGED, "version": WIRE},
                )
                for event in events
            ],
        )

    async def leave(self, hints: Sequence[Hint]) -> None:
        await self._send(
            DEVICE_BACKLOG,
            [
                ServiceBusMessage(
                    write_hint(hint),
                    message_id=hint.message_id,
                    session_id=hint.device,
                    content_type="application/json",
                    application_properties={"version": WIRE},
                )
                for hint in hints
            ],
        )

    async def collect(self, device: DeviceId) -> Collected:
        hints: list[Hint] = []
        refused = 0
        try:
            async with self._link.receiver(
                DEVICE_BACKLOG, DEVICES, session=device, patience=COLLECTING
            ) as receiver:
                full = True
                while full:
                    messages = await receiver.receive_messages(_MOST, max_wait_time=_WAIT)
                    full = len(messages) == _MOST
                    taken = await asyncio.gather(*(_take(receiver, device, each) for each in messages))
                    hints += [hint for hint in taken if hint is not None]
                    refused += taken.count(None)
        except SessionCannotBeLockedError:
            return Collected([], busy=True)
        return Collected(hints, refused)

    async def set_aside(self, letter: Letter, why: Unreadable) -> None:
        told: dict[str | bytes, Property] = dict(letter.properties.items())
        told |= {SOURCE: letter.source, REASON: why.reason, DESCRIPTION: str(why)[:1000]}
        await self._send(
            REJECTED,
            [
                ServiceBusMessage(
                    letter.body,
                    message_id=letter.message_id[:128] or None,
                    application_properties=told,
                )
            ],
        )
        # It is safe there already. Should burying it fail, the next one that is set aside brings it along.
        with suppress(Unavailable):
            async with self._link.receiver(REJECTED, OPERATORS) as receiver:
                messages = await receiver.receive_messages(_MOST, max_wait_time=_WAIT)
                await asyncio.gather(*(_bury(receiver, each) for each in messages))

    async def close(self) -> None:
        await self._link.close()

    async def _send(self, topic: str, messages: Sequence[ServiceBusMessage]) -> None:
        if len(messages) > _MOST:
            raise ValueError(f"at most {_MOST} messages go at once")
        if messages:
            await self._link.send(topic, messages)


async def _take(
    receiver: ServiceBusReceiver, device: DeviceId, message: ServiceBusReceivedMessage
) -> Hint | None:
    try:
        hint = read_hint(device, body_of(message))
    except Unreadable as why:
        await receiver.dead_letter_message(message, reason=why.reason, error_description=str(why)[:1000])
        return None
    await receiver.complete_message(message)
    return hint


async def _bury(receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage) -> None:
    told = properties_of(message)
    await receiver.dead_letter_message(
        message, reason=told.get(REASON, "Unknown"), error_description=told.get(DESCRIPTION, "")
    )


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """The body if it is bytes, which all of ours are; else something that no reader can read."""
    body = message.body
    if isinstance(body, bytes):
        return body
    parts = list(body) if hasattr(body, "__iter__") and not isinstance(body, str | dict) else [body]
    if all(isinstance(part, bytes) for part in parts):
        return b"".join(parts)
    return repr(parts).encode()


def properties_of(message: ServiceBusReceivedMessage) -> dict[str, str]:
    """Application properties as text; the SDK gives names and texts as the bytes of the wire."""
    return {_text(name): _text(value) for name, value in (message.application_properties or {}).items()}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
