"""A queue with sessions: messages of one session id go to one receiver at a time, in order.

The receiver locks the session, not the messages: their locks end with the session's. How the session ends decides
what is counted. When its lock expires, the deliveries have failed; when the receiver lets go of it, they have not
happened. Source: Microsoft's "Message sessions", on the delivery count.
"""

import heapq
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tools.local.servicebus.entities import QueueSettings
from tools.local.servicebus.journal import Journal
from tools.local.servicebus.messages import State, Stored
from tools.local.servicebus.queues import LockLost, NotFound, Queue

_FEW = 1_000
# Offers of the past that a list may have, before it is worth throwing them out.


class SessionBusy(Exception):
    """Somebody else has this session."""


@dataclass(eq=False, slots=True)
class Owner:
    """Who has accepted a session; one object for each acceptance."""

    session: str


@dataclass(slots=True)
class _Session:
    ready: list[int] = field(default_factory=list)
    owner: Owner | None = None
    until: int = 0
    held: set[int] = field(default_factory=set)
    state: bytes | None = None
    updated: int = 0


class SessionQueue(Queue):
    """Messages are taken by the owner of their session; `take` and `take_away` are not for these queues."""

    def __init__(
        self,
        path: str,
        settings: QueueSettings,
        journal: Journal,
        *,
        dead_letters: Queue | None = None,
        wake: Callable[[Queue], None] = lambda queue: None,
        new_token: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        super().__init__(path, settings, journal, dead_letters=dead_letters, wake=wake, new_token=new_token)
        self._sessions: dict[str, _Session] = {}
        self._offers: list[tuple[int, str]] = []
        self._ends: list[tuple[int, str]] = []
        self.lost: list[Owner] = []
        """Owners whose lock has expired since somebody last emptied this list."""

    # --- owning a session

    def accept(self, session: str, now: int) -> Owner:
        """Lock this session, whether or not it has messages. Raises SessionBusy."""
        record = self._sessions.setdefault(session, _Session())
        if record.owner is not None:
            if record.until > now:
                raise SessionBusy(f"the session {session!r} is locked by another receiver")
            self._expire_session(session, record, now)
            record = self._sessions.setdefault(session, _Session())
        record.owner = Owner(session)
        self._hold(session, record, now)
        return record.owner

    def accept_next(self, now: int) -> Owner | None:
        """Lock the session of the first message that nobody has, or return None."""
        while self._offers:
            sequence, session = heapq.heappop(self._offers)
            stored, record = self.messages.get(sequence), self._sessions.get(session)
            if stored is None or record is None or record.owner is not None:
                continue
            if stored.lock is None and stored.state is State.ACTIVE and not stored.is_expired(now):
                return self.accept(session, now)
        return None

    def release_session(self, owner: Owner) -> None:
        """Let go of it: what its owner had is ready again, and nothing is counted."""
        record = self._sessions.get(owner.session)
        if record is None or record.owner is not owner:
            return
        record.owner = None
        for sequence in sorted(record.held):
            stored = self.messages.get(sequence)
            if stored is not None:
                self._unlock(stored)
        record.held.clear()
        self._let_go(owner.session, record)

    def renew_session(self, owner: Owner, now: int) -> int:
        """Returns until when its lock now holds. Raises LockLost."""
        record = self._owned(owner, now)
        self._hold(owner.session, record, now)
        return record.until

    def held_until(self, owner: Owner, now: int) -> int:
        """Raises LockLost."""
        return self._owned(owner, now).until

    def locked_until(self, session: str) -> int:
        """When its lock ends, or has ended; 0 for a session that nobody has had."""
        record = self._sessions.get(session)
        return 0 if record is None else record.until

    # --- its messages and its state

    def take_of(self, owner: Owner, now: int) -> Stored | None:
        """Lock the next message of the session for its owner. Raises LockLost."""
        record = self._owned(owner, now)
        stored = self._next_ready(record.ready, now)
        if stored is not None:
            self._lock(stored, None)
        return stored

    def take_away_of(self, owner: Owner, now: int) -> Stored | None:
        """Remove the next message of the session for its owner. Raises LockLost."""
        stored = self._next_ready(self._owned(owner, now).ready, now)
        if stored is not None:
            self._remove(stored)
        return stored

    def state_of(self, session: str) -> bytes | None:
        record = self._sessions.get(session)
        return None if record is None else record.state

    def set_state(self, owner: Owner, state: bytes | None, now: int) -> None:
        """Raises LockLost."""
        record = self._owned(owner, now)
        record.state, record.updated = state, now
        self._journal.session(self.path, owner.session, state, now)

    def restore_state(self, session: str, state: bytes, updated: int) -> None:
        """What was read at start."""
        record = self._sessions.setdefault(session, _Session())
        record.state, record.updated = state, updated

    def sessions(self, updated_after: int | None) -> list[str]:
        """Those with active messages or a state; or those whose state was set after that moment."""
        if updated_after is not None:
            return sorted(
                each
                for each, record in self._sessions.items()
                if record.state and record.updated > updated_after
            )
        active = {each.session for each in self.messages.values() if each.state is State.ACTIVE}
        stateful = {each for each, record in self._sessions.items() if record.state is not None}
        return sorted(stateful | {each for each in active if each is not None})

    # --- time

    @property
    def next_alarm(self) -> int | None:
        moments = [each for each in (super().next_alarm, self._ends[0][0] if self._ends else None) if each]
        return min(moments, default=None)

    def sweep(self, now: int) -> Iterator[Stored]:
        while self._ends and self._ends[0][0] <= now:
            moment, session = heapq.heappop(self._ends)
            record = self._sessions.get(session)
            if record is not None and record.owner is not None and record.until == moment:
                self._expire_session(session, record, now)
        yield from super().sweep(now)

    def locked(self, token: uuid.UUID, now: int) -> Stored:
        stored = super().locked(token, now)
        record = self._sessions.get(stored.session or "")
        if stored.lock is not None and stored.lock.until is None and (record is None or record.until <= now):
            if record is not None and record.owner is not None:
                self._expire_session(record.owner.session, record, now)
            raise LockLost("the lock of the session has expired")
        return stored

    # --- inside

    def _make_ready(self, stored: Stored) -> None:
        session = stored.session
        if session is None:
            raise NotFound("a message without a session id is not for a queue with sessions")
        record = self._sessions.setdefault(session, _Session())
        record.held.discard(stored.sequence)
        heapq.heappush(record.ready, stored.sequence)
        heapq.heappush(self._offers, (stored.sequence, session))
        if len(self._offers) > 3 * len(self.messages) + _FEW:
            # Sessions that are accepted by their ids leave their offers behind.
            self._offers = [(each.ready[0], name) for name, each in self._sessions.items() if each.ready]
            heapq.heapify(self._offers)
        self._wake(self)

    def _until(self, stored: Stored, now: int) -> int | None:
        return None

    def _lock(self, stored: Stored, until: int | None) -> None:
        super()._lock(stored, until)
        self._sessions[stored.session or ""].held.add(stored.sequence)

    def _drop(self, stored: Stored) -> None:
        super()._drop(stored)
        record = self._sessions.get(stored.session or "")
        if record is not None:
            record.held.discard(stored.sequence)

    def _owned(self, owner: Owner, now: int) -> _Session:
        record = self._sessions.get(owner.session)
        if record is None or record.owner is not owner:
            raise LockLost(f"the lock of the session {owner.session!r} is lost")
        if record.until <= now:
            self._expire_session(owner.session, record, now)
            raise LockLost(f"the lock of the session {owner.session!r} has expired")
        return record

    def _hold(self, session: str, record: _Session, now: int) -> None:
        record.until = now + self._lock_milliseconds
        heapq.heappush(self._ends, (record.until, session))

    def _expire_session(self, session: str, record: _Session, now: int) -> None:
        if record.owner is not None:
            self.lost.append(record.owner)
        record.owner = None
        held, record.held = sorted(record.held), set()
        for sequence in held:
            stored = self.messages.get(sequence)
            if stored is not None:
                self._failed(stored, now)
        self._let_go(session, record)

    def _let_go(self, session: str, record: _Session) -> None:
        if record.ready:
            heapq.heappush(self._offers, (record.ready[0], session))
            self._wake(self)
        elif record.state is None and not record.held:
            # Nothing is left to remember; session ids are as many as devices.
            del self._sessions[session]
