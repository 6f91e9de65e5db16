"""What a tree of files is, in a hundred lines that know nothing of tables: what the product is held to."""

from dataclasses import dataclass, field

from shared.domain.ids import NodeId
from shared.domain.names import name_key


@dataclass
class Item:
    """A file (with the contents of its versions, oldest first) or a folder (without); `trashed` by itself."""

    id: NodeId
    parent: NodeId
    name: str
    contents: list[bytes] = field(default_factory=list)
    trashed: bool = False

    @property
    def is_file(self) -> bool:
        return bool(self.contents)


@dataclass
class Model:
    """A namespace. Purged items are simply not in it."""

    root: NodeId
    items: dict[NodeId, Item] = field(default_factory=dict)

    def is_living(self, node: NodeId) -> bool:
        while node != self.root:
            if node not in self.items or self.items[node].trashed:
                return False
            node = self.items[node].parent
        return True

    def living(self, *, files: bool) -> list[NodeId]:
        return [item.id for item in self.items.values() if item.is_file == files and self.is_living(item.id)]

    def folders(self) -> list[NodeId]:
        """Where something can be put: the root, too."""
        return [self.root, *self.living(files=False)]

    def trash(self) -> list[NodeId]:
        return [item.id for item in self.items.values() if item.trashed]

    def child(self, parent: NodeId, name: str) -> Item | None:
        """The living entry of a living folder."""
        for item in self.items.values():
            if item.parent == parent and not item.trashed and name_key(item.name) == name_key(name):
                return item
        return None

    def is_within(self, node: NodeId, folder: NodeId) -> bool:
        while node != folder:
            if node == self.root:
                return False
            node = self.items[node].parent
        return True

    def path(self, node: NodeId) -> str:
        names: list[str] = []
        while node != self.root:
            names.append(self.items[node].name)
            node = self.items[node].parent
        return "/" + "/".join(reversed(names))

    def path_in(self, folder: NodeId, name: str) -> str:
        return self.path(folder).rstrip("/") + "/" + name

    def purge(self, node: NodeId) -> list[Item]:
        """Let go of the item and all that has its place below; returns them."""
        gone = [self.items.pop(node)]
        for below in [item.id for item in self.items.values() if item.parent == node]:
            gone += self.purge(below)
        return gone

    def used(self) -> int:
        """Bytes: heads of what lives, and of the trash with what is below."""
        return sum(len(item.contents[-1]) for item in self.items.values() if item.is_file)

    def tree(self) -> dict[NodeId, tuple[NodeId, str, bytes | None]]:
        """(parent, name, content) of all that lives."""
        return {
            item.id: (item.parent, item.name, item.contents[-1] if item.is_file else None)
            for item in self.items.values()
            if self.is_living(item.id)
        }
