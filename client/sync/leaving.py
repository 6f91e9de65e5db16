"""What goes on one side: as much as possible at once and before anything moves, the rest when what stays has left.

A folder of ten thousand files goes to the server's trash as one change, if nothing in it stays. A folder that holds
something which isn't synced (ignored, unreadable, a symbolic link) stays by itself, and so do those above it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from client.sync.items import Item
from client.sync.trees import Kind


class Leaving:
    """`pure` are the uppermost things to go that hold nothing else, `late` folders that something leaves before
    (deepest first), and `alone` those that have to stay."""

    def __init__(
        self,
        items: Iterable[Item],
        parent_of: Callable[[Item], Item | None],
        holds_unsynced: Callable[[Item], bool],
    ) -> None:
        """`items` are all on this side; those that go have `stays` False."""
        self.pure: list[Item] = []
        self.late: list[Item] = []
        self.alone: list[Item] = []
        self.inside: defaultdict[Item, list[Item]] = defaultdict(list)
        going: list[Item] = []
        for item in items:
            folder = parent_of(item)
            if folder is not None and not folder.stays:
                self.inside[folder].append(item)
            if not item.stays:
                going.append(item)
        pure: dict[Item, bool] = {}
        alone: set[Item] = set()
        tops = [item for item in going if (folder := parent_of(item)) is None or folder.stays]
        for item in reversed(self._downwards(tops)):
            inside = self.inside.get(item, ())
            if item.kind is Kind.FOLDER and (holds_unsynced(item) or any(one in alone for one in inside)):
                alone.add(item)
            pure[item] = item not in alone and all(not one.stays and pure[one] for one in inside)
            if not pure[item]:
                (self.alone if item in alone else self.late).append(item)
        for item in going:
            folder = parent_of(item)
            if pure[item] and (folder is None or folder.stays or not pure[folder]):
                self.pure.append(item)

    def below(self, item: Item) -> list[Item]:
        """What goes with a pure item, itself not included, folders before what is in them."""
        return self._downwards([item])[1:]

    def _downwards(self, tops: list[Item]) -> list[Item]:
        order = [item for item in tops if not item.stays]
        for item in order:
            order += [one for one in self.inside.get(item, ()) if not one.stays]
        return order
