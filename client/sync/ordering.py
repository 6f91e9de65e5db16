"""In which order things move, when each needs a name that another one still has.

Folders are placed from the root down, so that what a thing moves into is where it is to be; it can't be below the thing
itself then. Before something gets a name, what has the name is placed first. When that comes round in a circle (two
names swapped), one of them makes way under a name that says so.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from client.sync.items import Item
from client.sync.naming import making_way
from client.sync.trees import Kind, Names
from shared.domain.names import name_key

_DEEPEST = 100
"""How long a chain of names that wait for each other is followed, before one of them makes way."""


class Place(NamedTuple):
    """Where an item is on one side, `name` in that side's spelling; None for the folder of the root."""

    folder: Item | None
    name: str


def here(item: Item) -> Place | None:
    """Where an item is in the local tree, None if it isn't."""
    return Place(item.local_parent, item.local.path[-1]) if item.local else None


def there(item: Item) -> Place | None:
    """Where an item is on the server, None if it isn't."""
    return Place(item.remote_parent, item.remote.name) if item.remote else None


class Step(NamedTuple):
    """One rearrangement: `item` comes from `source` (None: it is made) to `target`; `makes_way` for a moment only."""

    item: Item
    source: Names | None
    target: Names
    makes_way: bool = False


class Rearrangement:
    """One side, changed step by step towards the tree-to-be; `paths` are always those behind the latest step."""

    def __init__(self, items: Iterable[Item], where: Callable[[Item], Place | None], device: str) -> None:
        """`items` are all that are on this side now."""
        self.steps: list[Step] = []
        self._where = where
        self._device = device
        self._items = list(items)
        self._unmoved: defaultdict[Item | None, set[str]] | None = None
        self._now: dict[Item, Place] = {}
        self._pending: dict[Item, None] = {}
        self._active: set[Item] = set()
        self._slots: defaultdict[tuple[Item | None, str], list[Item]] = defaultdict(list)
        self._folders: dict[Item, Names] = {}

    def arrange(self, wanted: list[Item]) -> None:
        """Make the folders, and move the items, that are not in their places. Each has `parent` and `name`."""
        if not wanted:
            return
        self._pending = dict.fromkeys(wanted)
        folders = {item.parent for item in wanted}
        for item in self._items:
            # What is in step keeps its name, so nothing else is to get that.
            place = self._where(item) if not item.in_step else None
            if place is not None and place.folder in folders:
                self._slots[place.folder, name_key(place.name)].append(item)
        for item in wanted:
            self._place(item, 0)

    def path(self, item: Item) -> Names:
        """Where `item` is now, or where it is to come if it isn't on this side yet."""
        place = self._at(item) or Place(item.parent, item.name)
        return (*self.folder_path(place.folder), place.name)

    def folder_path(self, folder: Item | None) -> Names:
        """The path of a folder; the root's is empty."""
        known = self._folders.get(folder) if folder is not None else ()
        if known is None:
            assert folder is not None
            place = self._at(folder)
            if place is None:
                place = Place(folder.parent, folder.name)
            known = () if place.folder is None else (*self.folder_path(place.folder), place.name)
            self._folders[folder] = known
        return known

    def _at(self, item: Item) -> Place | None:
        return self._now.get(item) or self._where(item)

    def _place(self, item: Item, depth: int) -> None:
        way = _way_up(item)
        if item not in self._pending or not self._active.isdisjoint((item, *way)):
            return  # it, or a folder above it, waits for this very name
        for folder in reversed(way):
            if folder in self._pending:
                self._place(folder, depth + 1)
        if item not in self._pending:
            return
        self._active.add(item)
        # A file system may hold two names there that the server can't.
        for other in list(self._slots[item.parent, name_key(item.name)]):
            if other is not item:
                self._clear(other, depth)
        self._move(item, Place(item.parent, item.name), makes_way=False)
        del self._pending[item]
        self._active.discard(item)

    def _clear(self, other: Item, depth: int) -> None:
        before = self._at(other)
        if depth < _DEEPEST:
            self._place(other, depth + 1)
        if before is not None and self._at(other) == before and not other.frozen:
            taken = {key for (folder, key), held in self._slots.items() if held and folder is before.folder}
            taken |= self._names_in_step(before.folder)
            name = making_way(before.name, other.kind, device=self._device, taken=taken)
            self._move(other, Place(before.folder, name), makes_way=True)

    def _names_in_step(self, folder: Item | None) -> set[str]:
        if self._unmoved is None:
            self._unmoved = defaultdict(set)
            for item in self._items:
                place = self._where(item) if item.in_step else None
                if place is not None:
                    self._unmoved[place.folder].add(name_key(place.name))
        return self._unmoved[folder]

    def _move(self, item: Item, to: Place, *, makes_way: bool) -> None:
        at = self._at(item)
        source = self.path(item) if at is not None else None
        if at is not None:
            left = self._slots[at.folder, name_key(at.name)]
            if item in left:  # a folder that is only left, never come to, has no slots
                left.remove(item)
        self._slots[to.folder, name_key(to.name)].append(item)
        self._now[item] = to
        if item.kind is Kind.FOLDER:
            self._folders.clear()
        self.steps.append(Step(item, source, (*self.folder_path(to.folder), to.name), makes_way))


def _way_up(item: Item) -> list[Item]:
    way: list[Item] = []
    folder = item.parent
    while folder is not None:
        way.append(folder)
        folder = folder.parent
    return way
