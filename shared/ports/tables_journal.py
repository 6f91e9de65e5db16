"""The journal: every change of a namespace, in order, without gaps."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.ids import DeviceId, NamespaceId, NodeId, VersionId
from shared.ports.tables_files import Node


class ChangeKind(StrEnum):
    """What a journal entry tells."""

    FOLDER_CREATED = "folder_created"
    FILE_CREATED = "file_created"
    FILE_CHANGED = "file_changed"
    FILE_MOVED = "file_moved"
    FILE_DELETED = "file_deleted"
    FILE_RESTORED = "file_restored"
    FILE_PURGED = "file_purged"
    FOLDER_MOVED = "folder_moved"
    FOLDER_DELETED = "folder_deleted"
    FOLDER_RESTORED = "folder_restored"
    FOLDER_PURGED = "folder_purged"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node was before it was moved or restored."""

    parent: NodeId
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """A journal entry; (namespace, seq, position) is its place."""

    kind: ChangeKind
    node: NodeId
    version: VersionId | None
    device: DeviceId
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A journal entry with its place, and its node as it is now: None when it was deleted itself, or purged.

    A node below a deleted folder is there: deleting the folder changed nothing of it.
    """

    seq: int
    position: int
    change: Change
    node: Node | None


class Journal(Protocol):
    def record(self, namespace: NamespaceId, seq: int, changes: Iterable[Change], *, now: datetime) -> None:
        """Append to the journal, at positions from 0, and put one event for the seq into the outbox."""
        ...

    def after(self, namespace: NamespaceId, *, seq: int, limit: int) -> Sequence[Recorded]:
        """The journal behind `seq`: about `limit` entries, always whole seqs, at least one if there is one."""
        ...

    def changed_by(
        self, namespace: NamespaceId, device: DeviceId, *, since: datetime, until: datetime
    ) -> Sequence[tuple[int, NodeId]]:
        """What a device changed from `since` to `until`, both included: (seq, node), in order."""
        ...

    def history(
        self, namespace: NamespaceId, nodes: Set[NodeId], *, since_seq: int
    ) -> Sequence[tuple[int, datetime, Change]]:
        """All changes of these nodes from `since_seq` on, whoever made them, in order, with seq and time."""
        ...

    def touched(self, namespace: NamespaceId, *, seq: int, limit: int) -> Sequence[NodeId]:
        """The nodes of at most `limit` changes behind `seq`, in order."""
        ...
