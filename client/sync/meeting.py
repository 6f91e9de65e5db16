"""Two things in one place: either they are the same, or one gets another name.

Who made two equal folders on two devices made one folder; the same content under one name is one file. All else is
kept apart. Who holds the place on the server keeps it, since the other devices see that one there: so each device
renames only what is its own, and all come to the same names without talking to each other.
"""

from collections import defaultdict

from client.sync.items import Forest, Item
from client.sync.naming import clashing, conflicted
from client.sync.rules import IGNORED, STUCK, Meeting, Rule, Rules, Side
from client.sync.trees import Here, Kind
from shared.domain.names import name_key


class Meetings:
    """Makes the places of the tree-to-be free for one each. `order` is that tree, folders before what is in them."""

    def __init__(self, forest: Forest, rules: Rules, here: Here) -> None:
        self.order: list[Item] = []
        self.reports: list[tuple[Rule, Item]] = []
        self._forest = forest
        self._rules = rules
        self._here = here
        self._inside: defaultdict[Item, list[Item]] = defaultdict(list)
        self._occupied: defaultdict[Item, set[str]] | None = None

    def settle(self) -> None:
        """Join and rename in place."""
        joined = False
        for item in self._forest.items:
            if item.stays and item.parent is not None:
                self._inside[item.parent].append(item)
        waiting = [self._forest.root]
        while waiting:
            folder = waiting.pop()
            for group in self._groups(folder):
                joined |= self._settle_group(folder, group)
            half = folder.frozen and (folder.local is None or folder.remote is None)
            for item in self._inside.get(folder, ()):
                if item.into is None:
                    item.frozen |= half  # there is nothing that it could be made in, or moved to
                    self.order.append(item)
                    if item.kind is Kind.FOLDER:
                        waiting.append(item)
        if joined:
            self._forest.items = [item for item in self._forest.items if item.into is None]
            for item in self._forest.items:
                if item.local_parent is not None:
                    item.local_parent = item.local_parent.settle()
        self._leave_bare_folders()

    def _groups(self, folder: Item) -> list[list[Item]]:
        first: dict[str, Item] = {}
        groups: dict[str, list[Item]] = {}
        for item in self._inside.get(folder, ()):
            key = name_key(item.name)
            other = first.setdefault(key, item)
            if other is not item:
                groups.setdefault(key, [other]).append(item)
        return list(groups.values())

    def _settle_group(self, folder: Item, group: list[Item]) -> bool:
        if any(item.frozen for item in group):
            for item in group:
                if not item.frozen:
                    item.frozen = True
                    self.reports.append((STUCK, item))
            return False
        holder = next((item for item in group if _holds(item, folder)), None)
        joined = bool(holder and not holder.local and self._join_one(holder, group))
        if joined and len(group) == 2:
            return True
        rest = sorted((item for item in group if item.into is None), key=lambda item: _rank(item, holder))
        for loser in rest[1:]:
            self._rename(folder, rest[0], loser)
        return joined

    def _join_one(self, holder: Item, group: list[Item]) -> bool:
        """Find what is here and the same as `holder`, which is only on the server."""
        alike = [
            item
            for item in group
            if item.local and not item.remote and not item.yields and item.kind is holder.kind
        ]
        if len(alike) > 1:
            alike.sort(key=lambda item: _rank(item, holder))
        for item in alike:
            rule = self._rules.meetings[_meeting(holder, item)]
            if rule.content is not Side.BOTH:
                self._join(item, holder, rule)
                return True
        return False

    def _join(self, item: Item, holder: Item, rule: Rule) -> None:
        holder.local, holder.local_parent = item.local, item.local_parent
        holder.rule, holder.take = rule, rule.content
        holder.other_row = item.base.node_id if item.base else None
        item.into = holder
        inside = self._inside.pop(item, [])
        for child in inside:
            child.parent = holder
        if inside:
            self._inside[holder] += inside

    def _rename(self, folder: Item, winner: Item, loser: Item) -> None:
        meeting = _meeting(winner, loser)
        rule = self._rules.meetings[meeting]
        if rule.content is not Side.BOTH and not loser.yields:
            return
        taken = self._taken(folder)
        if loser.yields or meeting is not Meeting.NAME_CLASH:
            name = conflicted(
                loser.name, loser.kind, device=self._here.name, today=self._here.today, taken=taken
            )
        else:
            name = clashing(loser.name, loser.kind, device=self._here.name, taken=taken)
        loser.name = name
        taken.add(name_key(name))
        if not loser.yields:
            loser.rule = rule

    def _taken(self, folder: Item) -> set[str]:
        """The keys of all names in a folder: what is there on either side, and what is to be."""
        if self._occupied is None:
            self._occupied = defaultdict(set)
            for item in self._forest.items:
                if item.local and item.local_parent:
                    self._occupied[item.local_parent.settle()].add(name_key(item.local_name))
                if item.remote and item.remote_parent:
                    self._occupied[item.remote_parent].add(name_key(item.remote.name))
        taken = self._occupied[folder]
        taken.update(name_key(item.name) for item in self._inside.get(folder, ()))
        return taken

    def _leave_bare_folders(self) -> None:
        """A new folder that holds nothing but what isn't synced stays where it is, until it gains something."""
        for folder in reversed(self.order):
            if (
                folder.kind is not Kind.FOLDER
                or folder.base
                or folder.frozen
                or (folder.local and folder.remote)
            ):
                continue
            inside = self._inside.get(folder, ())
            holds = folder.local.holds_unsynced if folder.local else folder.hides_remote
            if all(item.frozen for item in inside) and (inside or holds):
                folder.frozen = True
                self.reports.append((IGNORED, folder))


def _holds(item: Item, folder: Item) -> bool:
    """Whether the item has, on the server, the name in the folder that it is to have."""
    return (
        item.remote is not None
        and item.remote_parent is folder
        and (item.remote.name == item.name or name_key(item.remote.name) == name_key(item.name))
    )


def _rank(item: Item, holder: Item | None) -> tuple[bool, bool, bool, bool, str, tuple[str, ...]]:
    """Who keeps a name: its holder on the server, then what the server knows, then the exact spelling."""
    return (
        item is not holder,
        item.remote is None,
        item.yields,
        holder is not None and item.name != holder.name,
        item.name,
        item.local.path if item.local else (),
    )


def _meeting(winner: Item, loser: Item) -> Meeting:
    if winner.kind is not loser.kind:
        return Meeting.FOLDER_AND_FILE
    joinable = winner.local is None and loser.local is not None and loser.remote is None
    if joinable and winner.kind is Kind.FOLDER:
        return Meeting.FOLDERS
    if joinable and winner.remote and loser.local and winner.remote.content == loser.local.content:
        return Meeting.EQUAL
    spellings = {item.local.path[-1] for item in (winner, loser) if item.local}
    same = winner.name == loser.name and (len(spellings) < 2 or winner.remote is not None)
    return Meeting.DIFFERENT if same else Meeting.NAME_CLASH
