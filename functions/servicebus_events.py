"""What the bus starts: only Service Bus calls these, over the connection that the settings name.

The host completes a message after success and abandons it after failure; Service Bus dead-letters what failed ten
times. A message that can't be read would fail ten times for nothing, so it is set aside with the reason instead.
"""

import logging
from typing import List  # noqa: UP035 (the one spelling that the documented samples of batches use)

import azure.functions as func

from shared.container import Application, Events
from shared.domain.events import Unreadable, read_event
from shared.ports.event_bus import Letter

_log = logging.getLogger(__name__)

TOPIC, NOTIFY, AUDIT = "file-events", "notify", "audit"


def routes(app: Application, events: Events) -> func.Blueprint:
    bp = func.Blueprint()
    connection = app.settings.servicebus_trigger_connection

    @bp.service_bus_topic_trigger(
        arg_name="message", topic_name=TOPIC, subscription_name=NOTIFY, connection=connection
    )
    async def notify_devices(message: func.ServiceBusMessage) -> None:
        letter = _letter(message, NOTIFY)
        try:
            event = read_event(letter.body)
        except Unreadable as why:
            _log.warning("message %s can't be read and is set aside: %s", letter.message_id, why)
            await events.bus.set_aside(letter, why)
            return
        await events.notify_devices(event)

    @bp.service_bus_topic_trigger(
        arg_name="messages",
        topic_name=TOPIC,
        subscription_name=AUDIT,
        connection=connection,
        cardinality=func.Cardinality.MANY,
    )
    async def audit_events(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await events.audit_events([_letter(message, AUDIT) for message in messages])

    return bp


def _letter(message: func.ServiceBusMessage, subscription: str) -> Letter:
    properties = {str(name): str(value) for name, value in (message.application_properties or {}).items()}
    return Letter(f"{TOPIC}/{subscription}", message.message_id or "", message.get_body(), properties)
