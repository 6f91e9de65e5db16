"""Namespaces and their members, and the answers kept for repeated requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.accounts import Role
from shared.domain.ids import NamespaceId, UserId


@dataclass(frozen=True, slots=True)
class Usage:
    """In bytes: what the namespace may hold, and what its heads and its trash hold; `seq` is its last change."""

    quota: int
    used: int
    seq: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a namespace's journal is; another `epoch` means that it began anew."""

    id: NamespaceId
    seq: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of a namespace: its files and folders are decided by (epoch, seq).

    `upkeep` counts what the journal doesn't tell: a block that got another place, content that was purged of a version.
    """

    epoch: int
    seq: int
    upkeep: int


class Namespaces(Protocol):
    def add_personal(self, namespace: NamespaceId, owner: UserId, *, quota: int, now: datetime) -> None:
        """Make the user's own namespace with its root folder; the user becomes its owner."""
        ...

    def personal_of(self, user: UserId) -> NamespaceId | None: ...

    def role(self, namespace: NamespaceId, user: UserId) -> Role | None:
        """The user's role, None when there is no such namespace or the user is no member: one answer for both."""
        ...

    def seen_by(self, user: UserId) -> Sequence[Standing]:
        """The namespaces that the user is a member of, ordered by id."""
        ...

    def revision(self, namespace: NamespaceId) -> Revision:
        """The state of a namespace that exists. Whoever changes what it stands for changes it, in that transaction."""
        ...

    def usage(self, namespace: NamespaceId) -> Usage: ...

    def lock(self, namespace: NamespaceId) -> None:
        """Let no other writer of this namespace go on before this transaction ends."""
        ...

    def advance(self, namespace: NamespaceId, *, delta: int, by: int = 1) -> int:
        """Take the next seq, or the next few, and change the bytes used by `delta`; locks the namespace.

        Returns the last seq that was taken.

        Raises QuotaExceeded when that would pass the quota (never for a delta of 0 or less).
        """
        ...


@dataclass(frozen=True, slots=True)
class Repeatable:
    """One write that its client may send again: the key it chose, what it asked for, until when to remember.

    `body_hash` is 64 hexadecimal digits.
    """

    user_id: UserId
    key: str
    route: str
    body_hash: str
    expires_at: datetime


class Replies(Protocol):
    def recall(self, request: Repeatable) -> str | None:
        """The answer that this request got before; None when it is new.

        Raises KeyReused when the key came with another route or body.
        """
        ...

    def keep(self, request: Repeatable, reply: str) -> None:
        """Remember the answer, in the transaction of its effect; of two at once, the database lets one through."""
        ...
