"""What has to be written, in order: filled by the broker, emptied by whoever has the store.

The broker changes its memory and notes here what that means for the disk; it doesn't wait. Everything that is
noted before one `take` is written in one transaction.
"""

from dataclasses import dataclass, field

from tools.local.servicebus.messages import Stored

Statement = tuple[str, tuple[object, ...]]

_INSERT = (
    "INSERT INTO messages (entity, sequence, raw, enqueued, expires, due, state, deliveries, reason, description)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = "UPDATE messages SET state = ?, deliveries = ? WHERE entity = ? AND sequence = ?"
_MOVE = (
    "UPDATE messages SET entity = ?, sequence = ?, enqueued = ?, expires = ?, due = ?, state = ?, deliveries = ?,"
    " reason = ?, description = ? WHERE entity = ? AND sequence = ?"
)
_DELETE = "DELETE FROM messages WHERE entity = ? AND sequence = ?"
_COUNTER = "INSERT INTO counters (entity, next) VALUES (?, ?) ON CONFLICT DO UPDATE SET next = excluded.next"
_SESSION = (
    "INSERT INTO sessions (entity, session, state, updated) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET state = excluded.state, updated = excluded.updated"
)
_NO_SESSION = "DELETE FROM sessions WHERE entity = ? AND session = ?"
_SEEN = (
    "INSERT INTO seen (entity, message_id, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at"
)
_FORGET = "DELETE FROM seen WHERE entity = ? AND at <= ?"


@dataclass(slots=True)
class Journal:
    """`entity` is the path of a queue, a subscription, a dead-letter queue or (of scheduled messages) a topic."""

    _statements: list[Statement] = field(default_factory=list)
    _counters: dict[str, int] = field(default_factory=dict)

    def insert(self, entity: str, stored: Stored) -> None:
        values = (entity, stored.sequence, stored.raw, *_standing(stored))
        self._statements.append((_INSERT, values))
        self._counters[entity] = stored.sequence + 1

    def update(self, entity: str, stored: Stored) -> None:
        """Its state and delivery count have changed."""
        values = (int(stored.state), stored.delivery_count, entity, stored.sequence)
        self._statements.append((_UPDATE, values))

    def move(self, entity: str, sequence: int, to: str, stored: Stored) -> None:
        """It was `sequence` of `entity`, and is now as it stands in `to`."""
        values = (to, stored.sequence, *_standing(stored), entity, sequence)
        self._statements.append((_MOVE, values))

    def counted(self, entity: str, following: int) -> None:
        """`following` is the next sequence number to be given out."""
        self._counters[entity] = following

    def delete(self, entity: str, sequence: int) -> None:
        self._statements.append((_DELETE, (entity, sequence)))

    def session(self, entity: str, session: str, state: bytes | None, updated: int) -> None:
        """State None is none."""
        if state is None:
            self._statements.append((_NO_SESSION, (entity, session)))
        else:
            self._statements.append((_SESSION, (entity, session, state, updated)))

    def seen(self, entity: str, message_id: str, at: int) -> None:
        self._statements.append((_SEEN, (entity, message_id, at)))

    def forget(self, entity: str, before: int) -> None:
        """The messages seen until then are no duplicates' originals any more."""
        self._statements.append((_FORGET, (entity, before)))

    def take(self) -> list[Statement]:
        """What was noted since the last time, to be written together."""
        statements = self._statements
        statements += [(_COUNTER, (entity, following)) for entity, following in self._counters.items()]
        self._statements, self._counters = [], {}
        return statements


def _standing(stored: Stored) -> tuple[object, ...]:
    return (
        *(stored.enqueued, stored.expires, stored.due, int(stored.state), stored.delivery_count),
        *(stored.reason, stored.description),
    )
