"""What a commit does to a file, decided without touching anything.

A device commits content *based on* the version that it last saw. Only a commit on the head may replace the
head; every other one would silently undo somebody's work, so it is answered with the head and changes
nothing. The same content twice is no conflict, whatever it was based on.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.blocks import Sha256
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


def decide_commit(*, head: Version | None, base: VersionId, root: Sha256, size: int) -> Decision:
    """Decide about content (`root`, `size` in bytes) that is based on `base`, given the file's head."""
    if head is not None and (head.root_hash, head.size) == (root, size):
        return Unchanged(head)
    if base != (head.id if head else NO_VERSION):
        return Stale(head)
    return Replace(base, head.number + 1 if head else 1)
