"""Nodes, versions, and the edges from versions to blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.ids import BlobId, BlockKey, DeviceId, NamespaceId, NodeId, UserId, VersionId
from shared.domain.names import Name
from shared.domain.versions import Version


class NodeKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Node:
    """A living file or folder. The root folder has the namespace's id and no parent; a folder has no head."""

    id: NodeId
    parent: NodeId | None
    kind: NodeKind
    name: str
    head: Version | None


@dataclass(frozen=True, slots=True)
class Place:
    """When a node came into being: position `position` of change `seq`. Listings are ordered by it."""

    seq: int
    position: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node, whatever became of it: `deleted` by itself, or `purged`, by itself or with a folder above it."""

    node: Node
    deleted: bool
    purged: bool


@dataclass(frozen=True, slots=True)
class NewNode:
    """An entry to be made; a file comes with the id of its first version, which follows in the same transaction."""

    id: NodeId
    parent: NodeId
    kind: NodeKind
    name: Name
    place: Place
    head: VersionId | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    node: NodeId
    version: Version
    base: VersionId
    author: UserId
    device: DeviceId
    blocks: Sequence[BlockKey]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A version's bytes in one blob, kept for downloads until `expires_at`."""

    blob: BlobId
    expires_at: datetime


class Files(Protocol):
    """Nodes that are deleted are not found by any call here but the ones that say so."""

    def child(self, namespace: NamespaceId, parent: NodeId, key: str) -> Node | None:
        """The entry of a folder by its name's key."""
        ...

    def node(self, namespace: NamespaceId, node: NodeId) -> Node | None: ...

    def namespace_of(self, node: NodeId) -> NamespaceId | None:
        """The namespace of a node, living or deleted."""
        ...

    def children_named(
        self, namespace: NamespaceId, parent: NodeId, keys: Sequence[str]
    ) -> Mapping[str, Node]:
        """Those entries of a folder whose names have one of these keys, by key."""
        ...

    def add_nodes(self, namespace: NamespaceId, new: Sequence[NewNode]) -> None:
        """Make entries, folders before what is in them.

        Raises NameExists when a living entry of a folder has a name's key; of many, the first is named.
        """
        ...

    def swap_head(self, namespace: NamespaceId, node: NodeId, base: VersionId, head: VersionId) -> bool:
        """Make `head` a living file's current version where that is `base`; False when it is not."""
        ...

    def add_versions(self, namespace: NamespaceId, new: Sequence[NewVersion]) -> None:
        """Make versions with their edges. Whose head they are is the business of the other calls."""
        ...

    def knows_version(self, node: NodeId, version: VersionId) -> bool:
        """Whether `version` is, or was, a version of this node."""
        ...

    def version(self, namespace: NamespaceId, node: NodeId, version: VersionId) -> Version | None:
        """A version of a node, living or deleted, whose content was not purged."""
        ...

    def versions(
        self, namespace: NamespaceId, node: NodeId, *, before: int | None, limit: int
    ) -> Sequence[Version]:
        """Versions of a node whose content was not purged, newest first, from numbers below `before`."""
        ...

    def versions_by_id(
        self, namespace: NamespaceId, versions: Sequence[VersionId]
    ) -> Mapping[VersionId, tuple[NodeId, Version]]:
        """Those of the versions whose content was not purged, with the nodes that they are of, living or deleted."""
        ...

    def bases(self, namespace: NamespaceId, versions: Sequence[VersionId]) -> Mapping[VersionId, VersionId]:
        """What each of the versions was based on, purged ones too; NO_VERSION for first ones."""
        ...

    def states(self, namespace: NamespaceId, nodes: Sequence[NodeId]) -> Mapping[NodeId, NodeState]:
        """Those of the nodes that are or were in the namespace."""
        ...

    def is_living(self, namespace: NamespaceId, node: NodeId) -> bool:
        """Whether the node and every folder above it are in the tree."""
        ...

    def is_within(self, namespace: NamespaceId, node: NodeId, folder: NodeId) -> bool:
        """Whether `folder` is the node itself or somewhere above it."""
        ...

    def height(self, namespace: NamespaceId, node: NodeId, *, most: int) -> int:
        """Levels of entries that come along with a node, living or deleted: 0 for a file; counted up to `most`."""
        ...

    def move_node(self, namespace: NamespaceId, node: NodeId, parent: NodeId, name: Name) -> None:
        """Give a living node another place; raises NameExists when another entry has it. The namespace is locked."""
        ...

    def delete_node(self, namespace: NamespaceId, node: NodeId, *, seq: int) -> bool:
        """Move a living node, and with a folder all that is under it, to the trash; False when it is there already."""
        ...

    def search(
        self, namespace: NamespaceId, text: str, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        """Nodes whose name's key contains `text`, a key itself, in the order of creation."""
        ...

    def page(
        self, namespace: NamespaceId, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        """Files of the whole namespace, oldest first, from behind `after`."""
        ...

    def everything(
        self, namespace: NamespaceId, *, after: Place | None, limit: int
    ) -> Sequence[tuple[Place, Node]]:
        """Files and folders of the whole namespace, oldest first, from behind `after`.

        With those below deleted folders, which come back with them: `paths` tells them apart. The root is left out.
        """
        ...

    def children(
        self, namespace: NamespaceId, parent: NodeId, kind: NodeKind, *, after: str | None, limit: int
    ) -> Sequence[tuple[str, Node]]:
        """Entries of one folder with their keys, ordered by key, from behind `after`."""
        ...

    def paths(self, namespace: NamespaceId, nodes: Sequence[Node]) -> Mapping[NodeId, str]:
        """The path of each node, with a leading slash; nodes in a deleted folder are left out."""
        ...

    def assembly(self, version: VersionId) -> Assembly | None:
        """The version's assembled blob, unless it is known to be bad."""
        ...

    def set_assembly(self, version: VersionId, assembly: Assembly) -> None:
        """Keep it in place of the one that the version may have."""
        ...
