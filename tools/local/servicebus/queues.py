"""One queue (or subscription, or dead-letter queue): messages in order, and who has them locked.

    active ──take──> locked ──complete──> gone
      ^                 │──abandon, lock expired──> active again, delivery count + 1; beyond the limit: dead-lettered
      │                 │──release──> active again, nothing counted
      │                 │──defer──> deferred ──take_deferred──> locked
      │                 └──dead_letter──> in the dead-letter queue
    scheduled (until it is due)

Pure: time comes in as a number, what has to be written goes into the journal, and nothing here waits. The order of
delivery is that of sequence numbers, and a message that comes back comes back to its place.

Delivery count: it is the number of failed deliveries before this one, as on Azure's wire; .NET shows one more.
"""

import heapq
import uuid
from collections.abc import Callable, Iterator
from enum import IntEnum, auto

from tools.local.servicebus.entities import QueueSettings
from tools.local.servicebus.journal import Journal
from tools.local.servicebus.messages import Lock, State, Stored

TTL_EXPIRED = ("TTLExpiredException", "The message expired and was dead lettered.")
MOST_DELIVERIES = "MaxDeliveryCountExceeded"

_FEW = 1_000
# Entries of the past that a list of alarms may have, before it is worth throwing them out.


class LockLost(Exception):
    """The lock has expired, or was never given, or the message is settled already."""


class NotFound(Exception):
    """No such message in the state that the operation needs."""


class Alarm(IntEnum):
    """What a moment in time is waited for."""

    LOCK = auto()
    EXPIRY = auto()
    DUE = auto()


class Queue:
    """`wake` is called when there may be something to take; `dead_letters` is None exactly for a dead-letter queue."""

    def __init__(
        self,
        path: str,
        settings: QueueSettings,
        journal: Journal,
        *,
        dead_letters: "Queue | None" = None,
        wake: Callable[["Queue"], None] = lambda queue: None,
        new_token: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.path, self.settings, self.dead_letters = path, settings, dead_letters
        self.messages: dict[int, Stored] = {}
        self.next_sequence = 1
        self.bytes = 0
        self._journal, self._wake, self._new_token = journal, wake, new_token
        self._ready: list[int] = []
        self._locked: dict[uuid.UUID, int] = {}
        self._alarms: list[tuple[int, int, Alarm]] = []

    # --- in

    def number(self) -> int:
        """The next sequence number, which is taken by asking."""
        sequence = self.next_sequence
        self.next_sequence += 1
        return sequence

    def add(self, stored: Stored) -> None:
        """Take in a message that is written, or is noted to be: a new one, or one read at start."""
        self.messages[stored.sequence] = stored
        self.bytes += stored.size
        self.next_sequence = max(self.next_sequence, stored.sequence + 1)
        if stored.state is State.SCHEDULED and stored.due is not None:
            self._alarm(stored.due, stored.sequence, Alarm.DUE)
            return
        if stored.expires is not None:
            self._alarm(stored.expires, stored.sequence, Alarm.EXPIRY)
        if stored.state is State.ACTIVE:
            self._make_ready(stored)

    # --- out

    def take(self, now: int) -> Stored | None:
        """Lock the next message and return it, or None when there is none."""
        stored = self._next_ready(self._ready, now)
        if stored is not None:
            self._lock(stored, now + self._lock_milliseconds)
        return stored

    def take_away(self, now: int) -> Stored | None:
        """Remove the next message and return it, or None when there is none."""
        stored = self._next_ready(self._ready, now)
        if stored is not None:
            self._remove(stored)
        return stored

    def take_deferred(self, sequences: list[int], now: int, *, remove: bool = False) -> list[Stored]:
        """Lock, or remove, these deferred messages. Raises NotFound when one isn't there to be had."""
        found = [self.messages.get(each) for each in sequences]
        chosen = [
            each for each in found if each is not None and each.state is State.DEFERRED and not each.lock
        ]
        if len(chosen) != len(sequences):
            raise NotFound("a message with this sequence number is not deferred here, or is locked")
        for stored in chosen:
            if remove:
                self._remove(stored)
            else:
                self._lock(stored, self._until(stored, now))
        return chosen

    def peek(self, start: int, count: int, now: int, session: str | None = None) -> list[Stored]:
        """Messages from that sequence number on, in any state, nothing changed."""
        chosen: list[Stored] = []
        for sequence in sorted(each for each in self.messages if each >= start):
            stored = self.messages[sequence]
            if stored.is_expired(now) and stored.lock is None and stored.state is not State.SCHEDULED:
                continue
            if session is None or stored.session == session:
                chosen.append(stored)
                if len(chosen) == count:
                    break
        return chosen

    # --- what becomes of a locked message; all raise LockLost

    def locked(self, token: uuid.UUID, now: int) -> Stored:
        """The message that this lock is of."""
        stored = self.messages.get(self._locked.get(token, 0))
        if stored is None or stored.lock is None:
            raise LockLost("the lock is not, or no longer, on a message of this queue")
        if stored.lock.until is not None and stored.lock.until <= now:
            self._failed(stored, now)
            raise LockLost("the lock has expired")
        return stored

    def complete(self, token: uuid.UUID, now: int) -> None:
        self._remove(self.locked(token, now))

    def abandon(self, token: uuid.UUID, now: int) -> None:
        self._failed(self.locked(token, now), now)

    def release(self, token: uuid.UUID, now: int) -> None:
        self._unlock(self.locked(token, now))

    def defer(self, token: uuid.UUID, now: int) -> None:
        stored = self.locked(token, now)
        stored.state = State.DEFERRED
        self._journal.update(self.path, stored)
        self._unlock(stored)

    def dead_letter(self, token: uuid.UUID, reason: str | None, description: str | None, now: int) -> None:
        stored = self.locked(token, now)
        if self.dead_letters is None:
            # There is nowhere further to go: it stays where it is.
            self._failed(stored, now)
            return
        self.bury(stored, reason, description)

    def renew(self, token: uuid.UUID, now: int) -> int:
        """Returns until when the lock now holds."""
        stored = self.locked(token, now)
        until = now + self._lock_milliseconds
        stored.lock = Lock(token, until)
        self._alarm(until, stored.sequence, Alarm.LOCK)
        return until

    # --- time, and moves between queues

    @property
    def next_alarm(self) -> int | None:
        """The next moment at which `sweep` has something to do."""
        return self._alarms[0][0] if self._alarms else None

    def sweep(self, now: int) -> Iterator[Stored]:
        """Do what is due until now; gives out the scheduled messages whose time has come, which stay here."""
        while self._alarms and self._alarms[0][0] <= now:
            moment, sequence, alarm = heapq.heappop(self._alarms)
            stored = self.messages.get(sequence)
            if stored is None:
                continue
            if alarm is Alarm.DUE and stored.state is State.SCHEDULED:
                yield stored
            elif alarm is Alarm.LOCK and stored.lock is not None and stored.lock.until == moment:
                self._failed(stored, now)
            elif alarm is Alarm.EXPIRY and stored.lock is None and stored.is_expired(now):
                self._expire(stored)

    def bury(self, stored: Stored, reason: str | None, description: str | None) -> None:
        """Move a message into the dead-letter queue, where it keeps its number and lives for ever."""
        if self.dead_letters is None:
            raise NotFound("nothing is dead-lettered from a dead-letter queue")
        self._drop(stored)
        stored.reason, stored.description = reason, description
        stored.state, stored.expires = State.ACTIVE, None
        self._journal.move(self.path, stored.sequence, self.dead_letters.path, stored)
        self.dead_letters.add(stored)

    def move_to(self, other: "Queue", stored: Stored, now: int, expires: int | None) -> None:
        """Append a message, that nobody has locked, to another queue or anew to this one: as if sent now."""
        if stored.lock is not None:
            raise LockLost("somebody has this message")
        before = stored.sequence
        self._drop(stored)
        stored.sequence, stored.enqueued, stored.expires, stored.due = other.number(), now, expires, None
        stored.state, stored.delivery_count, stored.reason, stored.description = State.ACTIVE, 0, None, None
        self._journal.move(self.path, before, other.path, stored)
        self._journal.counted(other.path, other.next_sequence)
        other.add(stored)

    def cancel(self, sequences: list[int]) -> None:
        """Delete these scheduled messages. Raises NotFound, and then none is."""
        chosen = [self.messages.get(each) for each in sequences]
        if not all(each is not None and each.state is State.SCHEDULED for each in chosen):
            raise NotFound("a message with this sequence number is not scheduled here")
        for stored in chosen:
            if stored is not None:
                self._remove(stored)

    # --- for sessions, which keep ready messages apart

    def _make_ready(self, stored: Stored) -> None:
        heapq.heappush(self._ready, stored.sequence)
        self._wake(self)

    def _until(self, stored: Stored, now: int) -> int | None:
        return now + self._lock_milliseconds

    # --- inside

    @property
    def _lock_milliseconds(self) -> int:
        return int(self.settings.lock_duration * 1000)

    def _next_ready(self, ready: list[int], now: int) -> Stored | None:
        while ready:
            stored = self.messages.get(heapq.heappop(ready))
            # What was moved, completed or deferred meanwhile has left its number here.
            if stored is None or stored.lock is not None or stored.state is not State.ACTIVE:
                continue
            if stored.is_expired(now):
                self._expire(stored)
                continue
            return stored
        return None

    def _lock(self, stored: Stored, until: int | None) -> None:
        token = self._new_token()
        stored.lock = Lock(token, until)
        self._locked[token] = stored.sequence
        if until is not None:
            self._alarm(until, stored.sequence, Alarm.LOCK)

    def _unlock(self, stored: Stored) -> None:
        if stored.lock is not None:
            self._locked.pop(stored.lock.token, None)
            stored.lock = None
        if stored.expires is not None:
            # It may have expired while it was locked, and the alarm was passed over then.
            self._alarm(stored.expires, stored.sequence, Alarm.EXPIRY)
        if stored.state is State.ACTIVE:
            self._make_ready(stored)

    def _failed(self, stored: Stored, now: int) -> None:
        """A delivery has ended without success."""
        stored.delivery_count += 1
        most = self.settings.max_delivery_count
        if self.dead_letters is not None and stored.delivery_count >= most and stored.state is State.ACTIVE:
            self.bury(
                stored, MOST_DELIVERIES, f"Message could not be consumed after {most} delivery attempts."
            )
            return
        self._journal.update(self.path, stored)
        self._unlock(stored)

    def _expire(self, stored: Stored) -> None:
        if self.settings.dead_letter_expired and self.dead_letters is not None:
            self.bury(stored, *TTL_EXPIRED)
        else:
            self._remove(stored)

    def _remove(self, stored: Stored) -> None:
        self._drop(stored)
        self._journal.delete(self.path, stored.sequence)

    def _drop(self, stored: Stored) -> None:
        if stored.lock is not None:
            self._locked.pop(stored.lock.token, None)
            stored.lock = None
        del self.messages[stored.sequence]
        self.bytes -= stored.size

    def _alarm(self, moment: int, sequence: int, alarm: Alarm) -> None:
        heapq.heappush(self._alarms, (moment, sequence, alarm))
        if len(self._alarms) > 3 * len(self.messages) + _FEW:
            # Messages that are gone leave theirs behind, some for the fourteen days that they might have lived.
            self._alarms = [each for each in self._alarms if self._is_current(each)]
            heapq.heapify(self._alarms)

    def _is_current(self, each: tuple[int, int, Alarm]) -> bool:
        moment, sequence, alarm = each
        stored = self.messages.get(sequence)
        if stored is None:
            return False
        return alarm is not Alarm.LOCK or (stored.lock is not None and stored.lock.until == moment)
