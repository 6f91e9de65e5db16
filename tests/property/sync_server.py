"""A server as small as it can be: nodes with ids, heads that only their base may replace, a trash, names that clash.

It is the planner's other side in the tests of sync. What it refuses, it refuses like the real one: by raising Refused,
and then nothing has changed.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from client.sync.trees import Content, Kind, Names, RemoteEntry, RemoteTree
from shared.domain.ids import NodeId, VersionId
from shared.domain.names import name_key

ROOT = NodeId("root")


class Refused(Exception):
    """A conflict, a name that is taken, or something that is not there."""


@dataclass(frozen=True)
class Node:
    entry: RemoteEntry
    deleted: bool = False


class ModelServer:
    """`nodes` holds all that ever were; `heads` every content that ever was somebody's head."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.heads: set[Content] = set()
        self._count = 0

    def tree(self) -> RemoteTree:
        """What the journal tells: what was deleted itself is gone, what hangs below it is still told."""
        entries = {key: node.entry for key, node in self.nodes.items() if not node.deleted}
        return RemoteTree(ROOT, entries)

    def paths(self) -> dict[Names, Content | None]:
        """The living tree."""
        return {
            path: self.nodes[key].entry.content for key in self.nodes if (path := self.path(key)) is not None
        }

    def path(self, key: NodeId) -> Names | None:
        names: list[str] = []
        while key != ROOT:
            node = self.nodes.get(key)
            if node is None or node.deleted:
                return None
            names.append(node.entry.name)
            key = node.entry.parent_id
        return tuple(reversed(names))

    def find(self, path: Names) -> NodeId | None:
        at = ROOT
        for name in path:
            child = self._child(at, name)
            if child is None:
                return None
            at = child
        return at

    def make_folder(self, path: Names) -> NodeId:
        return self._add(self._folder(path[:-1]), path[-1], Kind.FOLDER, None)

    def create(self, path: Names, content: Content) -> RemoteEntry:
        """Commit a new file; folders that are missing are made."""
        for depth in range(1, len(path)):
            if self.find(path[:depth]) is None:
                self.make_folder(path[:depth])
        there = self.find(path)
        if there is not None and self.nodes[there].entry.content == content:
            return self.nodes[there].entry  # unchanged
        return self.nodes[self._add(self._folder(path[:-1]), path[-1], Kind.FILE, content)].entry

    def commit(self, key: NodeId, base: VersionId | None, content: Content) -> RemoteEntry:
        entry = self._living(key)
        if entry.content == content:
            return entry
        if entry.version_id != base:
            raise Refused("version_conflict")
        self.heads.add(content)
        return self._put(replace(entry, content=content, version_id=VersionId(self._next("v"))))

    def move(self, key: NodeId, path: Names) -> None:
        entry, parent = self._living(key), self._folder(path[:-1])
        taken = self._child(parent, path[-1])
        if taken not in (None, key):
            raise Refused("name_exists")
        step = parent
        while step != ROOT:
            if step == key:
                raise Refused("cycle")
            step = self.nodes[step].entry.parent_id
        self._put(replace(entry, parent_id=parent, name=path[-1]))

    def delete(self, key: NodeId, covers: dict[NodeId, VersionId | None]) -> None:
        """Delete a node if what hangs below it is exactly `covers`, itself included, in these versions."""
        self._living(key)
        below = {
            one: node.entry.version_id
            for one, node in self.nodes.items()
            if self.path(one) is not None and self._is_within(one, key)
        }
        if below != covers:
            raise Refused("changed")
        self.nodes[key] = Node(self.nodes[key].entry, deleted=True)

    def _is_within(self, key: NodeId, folder: NodeId) -> bool:
        while key not in (folder, ROOT):
            key = self.nodes[key].entry.parent_id
        return key == folder

    def _living(self, key: NodeId) -> RemoteEntry:
        if self.path(key) is None:
            raise Refused("not_found")
        return self.nodes[key].entry

    def _folder(self, path: Names) -> NodeId:
        key = self.find(path)
        if key is None or (key != ROOT and self.nodes[key].entry.kind is not Kind.FOLDER):
            raise Refused("no such folder")
        return key

    def _child(self, parent: NodeId, name: str) -> NodeId | None:
        return next(
            (
                key
                for key, node in self.nodes.items()
                if not node.deleted
                and node.entry.parent_id == parent
                and name_key(node.entry.name) == name_key(name)
            ),
            None,
        )

    def _add(self, parent: NodeId, name: str, kind: Kind, content: Content | None) -> NodeId:
        if self._child(parent, name) is not None:
            raise Refused("name_exists")
        key = NodeId(self._next("n"))
        version = VersionId(self._next("v")) if content else None
        if content:
            self.heads.add(content)
        self._put(RemoteEntry(key, parent, name, kind, content, version))
        return key

    def _put(self, entry: RemoteEntry) -> RemoteEntry:
        self.nodes[entry.node_id] = Node(entry)
        return entry

    def _next(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"
