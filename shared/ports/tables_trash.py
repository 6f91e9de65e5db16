"""What was deleted and can still be brought back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.ids import NamespaceId, NodeId
from shared.domain.names import Name
from shared.ports.tables_files import Node


@dataclass(frozen=True, slots=True)
class Trashed:
    """A node that was deleted by itself, not with a folder above it; `deleted_seq` is the change that did it."""

    node: Node
    deleted_seq: int
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge let go: files, and the bytes of their heads that the quota gets back."""

    files: int
    size: int


class Trash(Protocol):
    """Only what was deleted by itself is in the trash; what went with a folder comes back with it."""

    def page(self, namespace: NamespaceId, *, before: int | None, limit: int) -> Sequence[Trashed]:
        """What was deleted, newest first, from deletions below seq `before`."""
        ...

    def get(self, namespace: NamespaceId, node: NodeId) -> Trashed | None: ...

    def restore(self, namespace: NamespaceId, node: NodeId, parent: NodeId, name: Name) -> None:
        """Bring a deleted node back, and with a folder all that was deleted with it; raises NameExists."""
        ...

    def purge(self, namespace: NamespaceId, node: NodeId, *, now: datetime) -> Purged:
        """Let go of a deleted node for good: the versions under it lose their blocks."""
        ...
