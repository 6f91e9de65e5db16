"""Queues and topics by their paths: what happens to a message between its sender and the queues that get it.

    prepare(path, messages) ──> Publication ──(written to disk)──> admit ──> in the queues

In between nobody sees the messages, so what a sender was not yet told is not yet delivered. A publication is written
as a whole: over all its messages and all subscriptions that take them.

Pure: time is an argument, and what has to be written goes into the journal.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tools.local.servicebus.amqp.message import Message
from tools.local.servicebus.duplicates import DuplicateWatch
from tools.local.servicebus.entities import Entities, QueueSettings, SubscriptionEntity
from tools.local.servicebus.filters.evaluate import FilterError
from tools.local.servicebus.journal import Journal
from tools.local.servicebus.messages import State, Stored, scheduled_for, time_to_live
from tools.local.servicebus.queues import NotFound, Queue
from tools.local.servicebus.rules import Rule, subject_of
from tools.local.servicebus.sessions import SessionQueue

DEAD_LETTERS = "$DeadLetterQueue"
NO_SESSION = (
    "Session id is null.",
    "Session enabled entity doesn't allow a message whose session identifier is null.",
)
FILTER_FAILED = "FilterException"
"""Azure takes the name of the exception; this is the one its documentation names."""

MOST_BYTES = 256 * 1024 * 1024
"""Of all messages together: they are kept in memory, and a full broker refuses more, as a full queue in Azure does."""


class Refused(Exception):
    """The message can't be sent there. `condition` is the AMQP error."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to be published, with its bytes as they came."""

    raw: bytes
    message: Message


@dataclass(slots=True)
class Publication:
    """What is noted for the disk and waits to be seen. `sequences` are those of scheduled messages."""

    placed: list[tuple[Queue, Stored]] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Subscription:
    queue: Queue
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """`scheduled` holds what is to be published later, and nothing else."""

    path: str
    intake: DuplicateWatch
    subscriptions: tuple[_Subscription, ...]
    scheduled: Queue


class Broker:
    """All entities. `wake` is called with a queue that may have something for its receivers."""

    def __init__(
        self,
        entities: Entities,
        journal: Journal,
        *,
        wake: Callable[[Queue], None] = lambda queue: None,
        new_token: Callable[[], uuid.UUID] = uuid.uuid4,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._journal, self._wake, self._new_token, self._most_bytes = journal, wake, new_token, most_bytes
        self._waiting_bytes = 0
        self.queues: dict[str, Queue] = {}
        self.topics: dict[str, Topic] = {}
        self._intakes: dict[str, DuplicateWatch] = {}
        for entity in entities.queues:
            queue = self._add_queue(entity.name, entity.settings)
            # A queue's own default holds whichever of the two names it.
            self._intakes[queue.path.lower()] = DuplicateWatch(entity.name, entity.intake, journal)
        for topic in entities.topics:
            intake = self._intakes[topic.name.lower()] = DuplicateWatch(topic.name, topic.intake, journal)
            self.topics[topic.name.lower()] = Topic(
                path=topic.name,
                intake=intake,
                subscriptions=tuple(self._subscribe(topic.name, each) for each in topic.subscriptions),
                scheduled=Queue(topic.name, QueueSettings(), journal),
            )

    # --- where things are

    def queue(self, path: str) -> Queue | None:
        """A queue, a subscription or a dead-letter queue; case doesn't count."""
        return self.queues.get(path.lower())

    def takes_messages(self, path: str) -> bool:
        """Whether messages can be sent there."""
        return path.lower() in self._intakes

    def holders(self) -> Iterator[Queue]:
        """Everything that has messages, topics' scheduled ones included."""
        yield from self.queues.values()
        for topic in self.topics.values():
            yield topic.scheduled

    @property
    def bytes(self) -> int:
        """Of all messages, and of those on their way to the disk."""
        return sum(each.bytes for each in self.holders()) + self._waiting_bytes

    # --- sending

    def prepare(self, path: str, messages: Sequence[Incoming], now: int) -> Publication:
        """Note a publication for the disk. Raises Refused, and then nothing of it is noted."""
        intake = self._intakes.get(path.lower())
        if intake is None:
            raise Refused("amqp:not-found", f"there is no queue or topic {path!r} to send to")
        topic, queue = self.topics.get(path.lower()), self.queues.get(path.lower())
        self._check(queue, messages)
        publication = Publication()
        for incoming in messages:
            if intake.is_duplicate(incoming.message.text("message_id"), now):
                # It counts as sent. A scheduled one has a number nevertheless, though nothing will come of it.
                if scheduled_for(incoming.message) is not None:
                    publication.sequences.append(0)
                continue
            due = scheduled_for(incoming.message)
            if due is not None and due > now:
                self._schedule(publication, queue or self._scheduled(topic), incoming, due, now)
            elif topic is not None:
                self._fan_out(publication, topic, incoming, now)
            elif queue is not None:
                self._place(publication, queue, incoming, now, intake.settings.time_to_live)
        self._waiting_bytes += publication.bytes
        return publication

    def admit(self, publication: Publication) -> None:
        """It is written: let it be seen."""
        self._waiting_bytes -= publication.bytes
        for queue, stored in publication.placed:
            queue.add(stored)

    def cancel(self, path: str, sequences: list[int]) -> None:
        """Raises NotFound when one of them isn't scheduled there, and then none is cancelled."""
        topic = self.topics.get(path.lower())
        holder = self.queues.get(path.lower()) if topic is None else topic.scheduled
        if holder is None:
            raise NotFound(f"there is no queue or topic {path!r}")
        holder.cancel(sequences)

    def redrive(self, dead: Queue, now: int, count: int) -> int:
        """Move messages from a dead-letter queue back to where they died, the oldest first; returns how many."""
        alive = next((each for each in self.queues.values() if each.dead_letters is dead), None)
        if alive is None:
            raise NotFound(f"{dead.path!r} is no dead-letter queue")
        free = [each for each in sorted(dead.messages) if dead.messages[each].lock is None][:count]
        moved = 0
        for sequence in free:
            stored = dead.messages[sequence]
            # One that died for want of a session id would die of it again.
            if isinstance(alive, SessionQueue) and stored.session is None:
                continue
            dead.move_to(alive, stored, now, _expiry(stored.message, now, alive.settings.time_to_live))
            moved += 1
        return moved

    # --- time

    def sweep(self, now: int) -> None:
        """Do everything that is due."""
        for queue in self.queues.values():
            for stored in list(queue.sweep(now)):
                intake = self._intakes[queue.path.lower()]
                lives = _shorter(intake.settings.time_to_live, queue.settings.time_to_live)
                queue.move_to(queue, stored, now, _expiry(stored.message, now, lives))
        for topic in self.topics.values():
            for stored in list(topic.scheduled.sweep(now)):
                publication = Publication()
                self._fan_out(publication, topic, Incoming(stored.raw, stored.message), now)
                topic.scheduled.cancel([stored.sequence])
                self._waiting_bytes += publication.bytes
                self.admit(publication)

    @property
    def next_alarm(self) -> int | None:
        """The next moment at which `sweep` has something to do."""
        return min((each.next_alarm for each in self.holders() if each.next_alarm is not None), default=None)

    # --- at start

    def restore(self, path: str, stored: Stored) -> bool:
        """Put back a message that was read from the disk; False when nothing of that path is known."""
        topic = self.topics.get(path.lower())
        holder = self.queues.get(path.lower()) if topic is None else topic.scheduled
        if holder is None:
            return False
        dead = holder.dead_letters
        if isinstance(holder, SessionQueue) and stored.session is None and dead is not None:
            # It was sent before the queue had sessions.
            stored.reason, stored.description = NO_SESSION
            self._journal.move(holder.path, stored.sequence, dead.path, stored)
            holder = dead
        holder.add(stored)
        return True

    def restore_seen(self, path: str, message_id: str, at: int) -> None:
        """In the order of their times."""
        intake = self._intakes.get(path.lower())
        if intake is not None:
            intake.remember(message_id, at)

    def restore_counter(self, path: str, following: int) -> None:
        topic = self.topics.get(path.lower())
        holder = self.queues.get(path.lower()) if topic is None else topic.scheduled
        if holder is not None:
            holder.next_sequence = max(holder.next_sequence, following)

    # --- inside

    def _check(self, queue: Queue | None, messages: Sequence[Incoming]) -> None:
        if isinstance(queue, SessionQueue) and any(
            each.message.text("group_id") is None for each in messages
        ):
            raise Refused(
                "amqp:not-allowed",
                "the SessionId was not set on a message, and it cannot be sent to an entity with sessions",
            )
        size = sum(len(each.raw) for each in messages)
        if self.bytes + size > self._most_bytes:
            raise Refused(
                "amqp:resource-limit-exceeded",
                f"the broker holds {self.bytes} bytes of messages; {self._most_bytes} are allowed",
            )

    @staticmethod
    def _scheduled(topic: Topic | None) -> Queue:
        if topic is None:
            raise NotFound("there is no such topic")
        return topic.scheduled

    def _schedule(
        self, publication: Publication, holder: Queue, incoming: Incoming, due: int, now: int
    ) -> None:
        stored = Stored(holder.number(), incoming.raw, incoming.message, now, due=due, state=State.SCHEDULED)
        publication.sequences.append(stored.sequence)
        self._note(publication, holder, stored)

    def _fan_out(self, publication: Publication, topic: Topic, incoming: Incoming, now: int) -> None:
        subject = subject_of(incoming.message)
        lives = topic.intake.settings.time_to_live
        for subscription in topic.subscriptions:
            queue = subscription.queue
            try:
                wanted = any(rule.filter.takes(subject) for rule in subscription.rules)
            except FilterError as error:
                self._place_dead(publication, queue, incoming, now, (FILTER_FAILED, str(error)))
                continue
            if not wanted:
                continue
            if isinstance(queue, SessionQueue) and incoming.message.text("group_id") is None:
                self._place_dead(publication, queue, incoming, now, NO_SESSION)
            else:
                self._place(publication, queue, incoming, now, lives)

    def _place(
        self, publication: Publication, queue: Queue, incoming: Incoming, now: int, lives: float | None
    ) -> None:
        expires = _expiry(incoming.message, now, _shorter(lives, queue.settings.time_to_live))
        self._note(
            publication,
            queue,
            Stored(queue.number(), incoming.raw, incoming.message, now, expires=expires),
        )

    def _place_dead(
        self, publication: Publication, queue: Queue, incoming: Incoming, now: int, why: tuple[str, str]
    ) -> None:
        if queue.dead_letters is None:
            raise NotFound("a dead-letter queue has none of its own")
        stored = Stored(
            queue.number(), incoming.raw, incoming.message, now, reason=why[0], description=why[1]
        )
        self._journal.counted(queue.path, queue.next_sequence)
        self._note(publication, queue.dead_letters, stored)

    def _note(self, publication: Publication, queue: Queue, stored: Stored) -> None:
        publication.placed.append((queue, stored))
        publication.bytes += stored.size
        self._journal.insert(queue.path, stored)

    def _add_queue(self, path: str, settings: QueueSettings) -> Queue:
        # Sessions and times to live end at death.
        without = replace(settings, requires_session=False, time_to_live=None, dead_letter_expired=False)
        dead = Queue(
            f"{path}/{DEAD_LETTERS}", without, self._journal, wake=self._wake, new_token=self._new_token
        )
        kind = SessionQueue if settings.requires_session else Queue
        queue = kind(
            path, settings, self._journal, dead_letters=dead, wake=self._wake, new_token=self._new_token
        )
        self.queues[path.lower()], self.queues[dead.path.lower()] = queue, dead
        return queue

    def _subscribe(self, topic: str, entity: SubscriptionEntity) -> _Subscription:
        queue = self._add_queue(f"{topic}/Subscriptions/{entity.name}", entity.settings)
        return _Subscription(queue, entity.rules)


def _shorter(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _expiry(message: Message, now: int, lives: float | None) -> int | None:
    """When a message ends: its own time to live, but no more than its entity's (in seconds)."""
    own = time_to_live(message)
    shortest = _shorter(own, None if lives is None else lives * 1000)
    return None if shortest is None else now + int(shortest)
