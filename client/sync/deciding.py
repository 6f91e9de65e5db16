"""What is to become of each item: the table's rules, and what follows from them for folders.

The result is one tree that both sides are to become. It must *be* a tree: a folder that something was kept in stays,
and two folders that were moved into each other on two sides are pulled apart.
"""

from client.sync.items import Forest, Item
from client.sync.naming import is_making_way
from client.sync.rules import (
    AGREED,
    BECAME_EMPTY,
    CYCLE,
    FOLDER_STILL_NEEDED,
    NOT_SEEN,
    STUCK,
    UNREADABLE,
    WITH_ITS_FOLDER,
    Change,
    Rule,
    Rules,
    Side,
)
from client.sync.trees import Kind, LocalTree


class Decisions:
    """Decides about all items of a forest, in place. `reports` is what to tell about those left alone."""

    def __init__(self, forest: Forest, local: LocalTree, rules: Rules, device: str) -> None:
        self.reports: list[tuple[Rule, Item]] = []
        self._forest = forest
        self._unlisted = local.unlisted
        self._rules = rules
        self._device = device

    def make(self) -> None:
        """Set `stays`, `rule`, `take`, `parent` and `name` of each item."""
        copies: list[Item] = []
        for item in self._forest.items:
            if _is_in_step(item):
                item.in_step, item.parent, item.name = True, item.base_parent, item.local_name
                continue
            if item.base is None:
                self._place(item, Side.LOCAL if item.local else Side.REMOTE)
            elif not item.frozen:
                self._decide(item, copies)
            if item.local and item.local.content is None and item.kind is Kind.FILE:
                self._leave_unread(item)
            if item.frozen:
                self._hold_still(item, NOT_SEEN if item.unseen else STUCK)
        self._forest.items += copies
        self._make_a_tree()
        if any(item.frozen or item.unseen for item in self._forest.items) or self._unlisted:
            self._spread_stillness()

    def _decide(self, item: Item, copies: list[Item]) -> None:
        here, there = self._local_change(item), self._remote_change(item)
        rule = self._rules.known[here, there]
        local, remote = item.local, item.remote
        side, take = rule.place, rule.content
        if local and remote:
            if here is there is not Change.SAME and self._is_agreed(item, here):
                rule, take = AGREED, Side.REMOTE
            if take is Side.BOTH and local.content == remote.content:
                take = Side.REMOTE
            # A name given for a moment is nobody's wish.
            if side is Side.LOCAL and is_making_way(item.local_name, device=self._device):
                side = Side.REMOTE
            elif side is Side.REMOTE and is_making_way(remote.name, device=self._device):
                side = Side.LOCAL
        elif rule.stays:
            side = take = Side.LOCAL if local else Side.REMOTE
        elif self._is_kept_with_its_folder(item):
            rule, side = WITH_ITS_FOLDER, Side.LOCAL if local else Side.REMOTE
            take = side
        item.rule, item.stays, item.take = rule, rule.stays, take
        item.kept_whole = rule is WITH_ITS_FOLDER or (
            rule.stays and Change.ABSENT in (here, there) and Change.MOVED in (here, there)
        )
        if item.stays:
            self._place(item, side)
            if take is Side.BOTH:
                copies.append(_copy_of(item))

    def _local_change(self, item: Item) -> Change:
        base, local = item.base, item.local
        if local is None or base is None:
            return Change.ABSENT
        edited = local.content is not None and local.content != base.content
        if edited and self._rules.doubt_empty and _became_empty(item):
            self.reports.append((BECAME_EMPTY, item))
            edited = False
        name = item.local_name
        moved = item.local_parent is not item.base_parent or name != base.name
        return _change(edited, moved and not is_making_way(name, device=self._device))

    def _remote_change(self, item: Item) -> Change:
        base, remote = item.base, item.remote
        if remote is None or base is None:
            return Change.ABSENT
        moved = item.remote_parent is not item.base_parent or remote.name != base.name
        moved = moved and not is_making_way(remote.name, device=self._device)
        return _change(remote.content != base.content, moved)

    @staticmethod
    def _is_agreed(item: Item, change: Change) -> bool:
        assert item.local is not None and item.remote is not None
        same_content = item.local.content == item.remote.content
        same_place = item.local_parent is item.remote_parent and item.local_name == item.remote.name
        if change is Change.EDITED:
            return same_content
        return same_place and (change is Change.MOVED or same_content)

    def _is_kept_with_its_folder(self, item: Item) -> bool:
        folder = item.base_parent
        if folder is None or not folder.kept_whole or not self._rules.keep_with_moved_folder:
            return False
        return (item.local is None) is (folder.local is None) and (item.local or item.remote) is not None

    def _place(self, item: Item, side: Side) -> None:
        if side is Side.LOCAL:
            item.parent, item.name = item.local_parent, item.local_name
        elif item.remote:
            item.parent, item.name = item.remote_parent, item.remote.name

    def _leave_unread(self, item: Item) -> None:
        """A file that can't be read may have been edited: nothing replaces it, and it replaces nothing."""
        self.reports.append((UNREADABLE, item))
        known = item.base and item.remote and item.remote.content == item.base.content
        item.frozen = item.frozen or not known

    def _hold_still(self, item: Item, reason: Rule) -> None:
        item.frozen = item.stays = True
        if item.remote:
            self._place(item, Side.REMOTE)
        elif item.local:
            self._place(item, Side.LOCAL)
        else:
            item.parent = item.base_parent
        if all(known is not item for _, known in self.reports):
            self.reports.append((reason, item))

    def _make_a_tree(self) -> None:
        moved = [
            item
            for item in self._forest.items
            if item.kind is Kind.FOLDER and item.stays and item.local and item.remote and item.base
            and item.local_parent is item.parent is not item.remote_parent
        ]  # fmt: skip
        while True:
            if self._rules.keep_needed_folders:
                self._keep_needed_folders()
            cycle = next((way for item in moved if (way := _way_back_to(item))), None)
            if cycle is None:
                return
            # The server's tree has no cycle, so one of these is not at the server's place.
            item = next(one for one in cycle if one.remote and one.parent is not one.remote_parent)
            item.rule = CYCLE
            self._place(item, Side.REMOTE)

    def _keep_needed_folders(self) -> None:
        for item in self._forest.items:
            folder = None if item.frozen else item.parent
            while item.stays and folder is not None and not folder.stays:
                folder.stays = True
                folder.rule = FOLDER_STILL_NEEDED
                self._place(folder, Side.LOCAL if folder.local else Side.REMOTE)
                folder = folder.parent

    def _spread_stillness(self) -> None:
        """What would have to come to, or leave, the place of something frozen is frozen, too."""
        changed = True
        while changed:
            changed = False
            here = {(i.local_parent, i.local_name) for i in self._forest.items if i.frozen and i.local}
            there = {(i.remote_parent, i.remote.name) for i in self._forest.items if i.frozen and i.remote}
            for item in self._forest.items:
                if not item.frozen and self._is_held(item, here, there):
                    self._hold_still(item, STUCK)
                    changed = True
                if item.frozen:
                    changed |= self._hold_folders(item)
                    for other in _caught_below(item):
                        self._hold_still(other, STUCK)
                        changed = True

    def _is_held(
        self, item: Item, here: set[tuple[Item | None, str]], there: set[tuple[Item | None, str]]
    ) -> bool:
        if not item.stays:
            return False
        place, folder = (item.parent, item.name), item.parent
        if (place in here and not item.is_placed_locally()) or (
            place in there and not item.is_placed_remotely()
        ):
            return True
        if folder is None or item.local is not None:
            return folder is not None and folder.frozen and folder.remote is None
        unlisted = folder.local is not None and folder.local.path in self._unlisted
        return unlisted or (not folder.local and folder.frozen) or (
            () in self._unlisted and folder is self._forest.root
        )  # fmt: skip

    def _hold_folders(self, item: Item) -> bool:
        changed = False
        for folder in (item.local_parent, item.remote_parent, item.base_parent):
            if folder is not None and not folder.stays:
                self._hold_still(folder, STUCK)
                changed = True
        return changed


def _is_in_step(item: Item) -> bool:
    """Most items of most plans: nothing has changed, so nothing needs to be decided."""
    base, local, remote = item.base, item.local, item.remote
    return (
        base is not None
        and local is not None
        and remote is not None
        and item.local_parent is item.base_parent is item.remote_parent
        and local.path[-1] == base.name == remote.name
        and local.fingerprint == base.fingerprint
        and remote.version_id == base.version_id
        and remote.node_id == base.node_id
        and local.content == base.content == remote.content
        and not item.frozen
        and not item.recalled
    )


def _change(edited: bool, moved: bool) -> Change:
    if edited:
        return Change.MOVED_EDITED if moved else Change.EDITED
    return Change.MOVED if moved else Change.SAME


def _became_empty(item: Item) -> bool:
    assert item.base is not None and item.local is not None and item.local.content is not None
    before = item.base.fingerprint
    return (
        item.local.content.size == 0
        and item.base.content is not None
        and item.base.content.size > 0
        and before is not None
        and before.mtime_ns == item.local.fingerprint.mtime_ns
    )


def _copy_of(item: Item) -> Item:
    """The local state as something new, which yields the place; what is left of `item` is the server's."""
    copy = Item(item.kind)
    copy.base, copy.local, copy.local_parent, copy.yields = item.base, item.local, item.local_parent, True
    copy.rule, copy.take = item.rule, Side.LOCAL
    copy.parent, copy.name = item.parent, item.name
    item.base = item.local = item.base_parent = item.local_parent = None
    item.take = Side.REMOTE
    return copy


def _way_back_to(item: Item) -> list[Item]:
    """The items on the way from `item` up to itself; none when the way ends at the root, or in another circle."""
    way: list[Item] = []
    seen: set[int] = set()
    step: Item | None = item
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        way.append(step)
        step = step.parent
    return way if step is item else []


def _caught_below(item: Item) -> list[Item]:
    """What can't come to its place because a frozen folder stays here where it is: below that very place."""
    if item.kind is not Kind.FOLDER or item.local is None or item.local_parent is item.parent:
        return []
    way: list[Item] = []
    step = item.local_parent
    while step is not None and step is not item and step not in way:
        way.append(step)
        step = step.local_parent if step.frozen else step.parent
    return [one for one in way if not one.frozen] if step is item else []
