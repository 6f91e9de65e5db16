"""From messages of the SDK to the arguments of functions, by azure-functions' own decoder.

The names of the metadata are those that Microsoft's extension gives (`ServiceBusTriggerBindingStrategy`), and so is one
number: .NET counts deliveries from 1 where the wire, and Python's SDK, count from 0.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import azure.functions as func
from azure.functions.meta import Datum
from azure.functions.servicebus import ServiceBusMessageInConverter
from azure.servicebus import ServiceBusReceivedMessage


@dataclass(frozen=True, slots=True)
class _Bodies:
    """A collection, in the form that the decoder expects of the worker's protocol."""

    bytes: Sequence[bytes]


def one_message(message: ServiceBusReceivedMessage) -> func.ServiceBusMessage:
    """The argument of a function with the cardinality ONE."""
    metadata = {name: _datum(value) for name, value in _metadata(message).items() if value is not None}
    decoded = ServiceBusMessageInConverter.decode(Datum(body_of(message), "bytes"), trigger_metadata=metadata)
    return _checked(decoded)


def many_messages(messages: Sequence[ServiceBusReceivedMessage]) -> list[func.ServiceBusMessage]:
    """The argument of a function with the cardinality MANY."""
    each = [_metadata(message) for message in messages]
    columns = {f"{name}Array": _datum([row[name] for row in each]) for name in each[0]}
    bodies = _Bodies([body_of(message) for message in messages])
    decoded = ServiceBusMessageInConverter.decode(Datum(bodies, "collection_bytes"), trigger_metadata=columns)
    if not isinstance(decoded, list):
        raise TypeError("azure-functions has decoded something else than a list")
    return [_checked(message) for message in decoded]


def text_message(text: str) -> func.ServiceBusMessage:
    """What `/admin` runs a function with: a body, and nothing else."""
    metadata = {"UserProperties": _datum({}), "MessageId": _datum("")}
    decoded = ServiceBusMessageInConverter.decode(Datum(text.encode(), "bytes"), trigger_metadata=metadata)
    return _checked(decoded)


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """The body as bytes. A body that is a value or a sequence is given as JSON."""
    body = message.body
    if isinstance(body, list | dict | str | int | float | None):
        return json.dumps(body, default=_plain).encode()
    parts = list(body)
    if all(isinstance(part, bytes) for part in parts):
        return b"".join(parts)
    return json.dumps(parts, default=_plain).encode()


def _metadata(message: ServiceBusReceivedMessage) -> Mapping[str, object]:
    properties = {_plain(key): value for key, value in (message.application_properties or {}).items()}
    return {
        "MessageId": message.message_id or "",
        "SequenceNumber": message.sequence_number,
        "DeliveryCount": (message.delivery_count or 0) + 1,
        "EnqueuedTimeUtc": message.enqueued_time_utc,
        "ExpiresAtUtc": message.expires_at_utc,
        "LockedUntil": message.locked_until_utc if message.session_id is None else None,
        "LockToken": None if message.lock_token is None else str(message.lock_token),
        "ContentType": message.content_type,
        "CorrelationId": message.correlation_id,
        "Subject": message.subject,
        "Label": message.subject,
        "To": message.to,
        "ReplyTo": message.reply_to,
        "SessionId": message.session_id,
        "ReplyToSessionId": message.reply_to_session_id,
        "PartitionKey": message.partition_key,
        "DeadLetterReason": message.dead_letter_reason,
        "DeadLetterErrorDescription": message.dead_letter_error_description,
        "DeadLetterSource": message.dead_letter_source,
        "ApplicationProperties": properties,
        "UserProperties": properties,
    }


def _datum(value: object) -> Datum:
    return Datum(json.dumps(value, default=_plain), "json")


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, datetime.datetime):
        # The one form that azure-functions reads in every version; it has no colon in its zone.
        return value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def _checked(decoded: object) -> func.ServiceBusMessage:
    if not isinstance(decoded, func.ServiceBusMessage):
        raise TypeError("azure-functions has decoded something else than a ServiceBusMessage")
    return decoded
