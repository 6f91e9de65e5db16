"""A message in a queue: what was sent, where it stands, and how it looks to a receiver.

Times are milliseconds since 1970, as AMQP counts them.
"""

import uuid
from dataclasses import dataclass
from enum import IntEnum

from tools.local.servicebus.amqp.message import Message, symbols
from tools.local.servicebus.amqp.values import Timestamp

_UNLIMITED = 0xFFFFFFFF
# A time to live that doesn't fit into the header's 32 bits: the absolute expiry time has it.


class State(IntEnum):
    """As the SDK counts them, in the annotation x-opt-message-state."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """Who has a message now. `until` is None when the lock is that of the message's session."""

    token: uuid.UUID
    until: int | None


@dataclass(slots=True)
class Stored:
    """A message of one queue. `sequence` is unique there and grows; `raw` is what was sent.

    `due` is when a scheduled message is to be enqueued, `expires` when its time to live ends; None for never.
    `reason` and `description` say why it was dead-lettered.
    """

    sequence: int
    raw: bytes
    message: Message
    enqueued: int
    expires: int | None = None
    due: int | None = None
    state: State = State.ACTIVE
    delivery_count: int = 0
    reason: str | None = None
    description: str | None = None
    lock: Lock | None = None

    @property
    def session(self) -> str | None:
        return self.message.text("group_id")

    @property
    def size(self) -> int:
        return len(self.raw)

    def is_expired(self, now: int) -> bool:
        return self.expires is not None and self.expires <= now

    def delivered(self, *, locked_until: int | None) -> bytes:
        """The bytes that a receiver gets. `locked_until` is None for one that deletes or peeks."""
        notes: dict[str, object] = {
            "x-opt-enqueued-time": Timestamp(self.enqueued),
            "x-opt-sequence-number": self.sequence,
            "x-opt-message-state": int(self.state),
        }
        if locked_until is not None:
            notes["x-opt-locked-until"] = Timestamp(locked_until)
        reasons: dict[object, object] = {}
        if self.reason is not None:
            reasons["DeadLetterReason"] = self.reason
        if self.description is not None:
            reasons["DeadLetterErrorDescription"] = self.description
        return self.message.encoded(self.delivery_count, symbols(notes), reasons)


def time_to_live(message: Message) -> int | None:
    """What the sender asked for, in milliseconds."""
    ttl = message.header.ttl
    if ttl is not None and ttl != _UNLIMITED:
        return int(ttl)
    expiry, creation = (message.properties.get(name) for name in ("absolute_expiry_time", "creation_time"))
    if isinstance(expiry, Timestamp) and isinstance(creation, Timestamp):
        return max(expiry - creation, 1)
    return None


def scheduled_for(message: Message) -> int | None:
    """When the sender wants it to be enqueued."""
    due = message.annotations.get("x-opt-scheduled-enqueue-time")
    return int(due) if isinstance(due, Timestamp) else None
