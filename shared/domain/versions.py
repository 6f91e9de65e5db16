"""What a commit does to a file, decided without touching anything.

A device commits content *based on* the version that it last saw. Only a commit on the head may replace the
head; every other one would silently undo somebody's work, so it is answered with the head and changes
nothing. The same content twice is no conflict, whatever it was based on.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.blocks import Sha256
from shared.domain.errors import PreconditionFailed
from shared.domain.ids import NO_VERSION, VersionId


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable state of a file; `size` in bytes, `number` counts from 1 in the file, times in UTC."""

    id: VersionId
    number: int
    size: int
    root_hash: Sha256
    created_at: datetime
    modified_at: datetime
    seq: int


@dataclass(frozen=True, slots=True)
class OnVersion:
    """The content was made from this version (NO_VERSION: from none, the file is new)."""

    base: VersionId


@dataclass(frozen=True, slots=True)
class OnHead:
    """The content is to follow whatever is current, if HTTP's conditions hold (RFC 9110, 13.1).

    Each is the root hashes that were named, "*" among them for any; None when the condition was not made.
    """

    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None


Basis = OnVersion | OnHead


@dataclass(frozen=True, slots=True)
class Replace:
    """The content becomes the new head, based on `base` (NO_VERSION for a file's first version)."""

    base: VersionId
    number: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The head has this content already."""

    head: Version


@dataclass(frozen=True, slots=True)
class Stale:
    """The commit is based on something that is not the head; `head` is None when there is no file."""

    head: Version | None


Decision = Replace | Unchanged | Stale


def decide_commit(*, head: Version | None, basis: Basis, root: Sha256, size: int) -> Decision:
    """Decide about content (`root`, `size` in bytes) on its basis, given the file's head (None: no such file).

    Raises PreconditionFailed when a condition of OnHead does not hold.
    """
    if isinstance(basis, OnHead):
        _check_conditions(head, basis)
        base = head.id if head else NO_VERSION
    else:
        base = basis.base
    if head is not None and (head.root_hash, head.size) == (root, size):
        return Unchanged(head)
    if base != (head.id if head else NO_VERSION):
        return Stale(head)
    return Replace(base, head.number + 1 if head else 1)


def _check_conditions(head: Version | None, basis: OnHead) -> None:
    tags = {"*", head.root_hash} if head else set()
    if basis.if_match is not None and not basis.if_match & tags:
        raise PreconditionFailed("If-Match: the file is not at the version that was named")
    if basis.if_none_match is not None and basis.if_none_match & tags:
        raise PreconditionFailed("If-None-Match: the file is there already")
