"""The planner: three trees in, a list of actions out. It looks at nothing else, so the same trees give the same plan.

The actions stand in an order in which each finds what it needs: first what is only written down, then deletions of
what nothing leaves, then folders and names, here and on the server, each followed by what is left to delete there, and
last contents. So a name is free before something comes to it, what gives way here has its new name before the server
hears of it, and a stop at any point leaves two trees from which the next plan goes on.
"""

from collections.abc import Iterable

from client.sync.actions import (
    Action,
    DeleteLocal,
    DeleteRemote,
    Download,
    Forget,
    KeepBoth,
    MakeFolderLocal,
    MakeFolderRemote,
    MoveLocal,
    MoveRemote,
    Plan,
    Record,
    Report,
    Upload,
)
from client.sync.deciding import Decisions
from client.sync.ignoring import Ignoring
from client.sync.items import Forest, Item, lay_over
from client.sync.leaving import Leaving
from client.sync.meeting import Meetings
from client.sync.ordering import Rearrangement, here, there
from client.sync.rules import IGNORED, MAKING_WAY, RECALLED, UNSYNCED_INSIDE, Rules, Side
from client.sync.trees import BaseEntry, BaseTree, Here, Kind, LocalTree, Names, RemoteTree
from shared.domain.ids import NodeId

_IGNORE_NOTHING = Ignoring()
_RULES = Rules()


def plan(
    base: BaseTree,
    local: LocalTree,
    remote: RemoteTree,
    *,
    device: Here,
    ignoring: Ignoring = _IGNORE_NOTHING,
    rules: Rules = _RULES,
) -> Plan:
    """What to do so that the local and the remote tree become one. Raises nothing for any three trees."""
    forest = lay_over(base, local, remote, ignoring, device, rules)
    decisions = Decisions(forest, local, rules, device.name)
    decisions.make()
    meetings = Meetings(forest, rules, device)
    meetings.settle()
    writer = _Writer(forest, meetings.order, remote.root_id, device)
    writer.write()
    told = [Report(rule, _shown(item)) for rule, item in (*decisions.reports, *meetings.reports)]
    files = sum(entry.kind is Kind.FILE for entry in base.values())
    return Plan(tuple(writer.actions), (*told, *writer.reports), files)


class _Writer:
    """Writes the actions that turn both sides into the tree-to-be, `order`."""

    def __init__(self, forest: Forest, order: list[Item], root_id: NodeId, device: Here) -> None:
        self.actions: list[Action] = []
        self.reports: list[Report] = []
        self._forest = forest
        self._order = [item for item in order if not item.frozen and not item.in_step]
        self._root_id = root_id
        self._here = Leaving(
            (item for item in forest.items if item.local),
            lambda item: item.local_parent,
            lambda item: item.local is not None and item.local.holds_unsynced,
        )
        self._there = Leaving(
            (item for item in forest.items if item.remote),
            lambda item: item.remote_parent,
            lambda item: item.hides_remote,
        )
        gone_here = {one for item in self._here.pure for one in (item, *self._here.below(item))}
        gone_there = {one for item in self._there.pure for one in (item, *self._there.below(item))}
        self._local = Rearrangement(
            (item for item in forest.items if item.local and item not in gone_here), here, device.name
        )
        self._remote = Rearrangement(
            (item for item in forest.items if item.remote and item not in gone_there), there, device.name
        )

    def write(self) -> None:
        self._write_down()
        for item in self._here.pure:
            for one in reversed((item, *self._here.below(item))):
                self._delete_local(one)
        for item in self._there.pure:
            self._delete_remote(item, self._there.below(item))
        self._rearrange_local()
        for item in self._here.late:
            self._delete_local(item)
        self._rearrange_remote()
        for item in self._there.late:
            self._delete_remote(item, [])
        for item in self._order:
            if item.kind is Kind.FILE:
                self._transfer(item)
        self._let_alone()

    def _write_down(self) -> None:
        for node_id in self._forest.ignored:
            self.actions.append(Forget(IGNORED, node_id))
        for node_id in self._forest.deleted:
            self.actions.append(Forget(RECALLED, node_id))
        for item in self._forest.items:
            if item.base and not item.stays and not item.local and not item.remote:
                self.actions.append(Forget(item.rule, item.base.node_id))
        for item in self._forest.items:
            if item.recalled and item.base:
                self.actions.append(Record(RECALLED, item.base))
        for item in self._order:
            if item.is_placed_locally() and item.is_placed_remotely():
                self._record(item)

    def _record(self, item: Item) -> None:
        local, remote, base = item.local, item.remote, item.base
        folder_id = self._folder_id(item)
        if local is None or remote is None or folder_id is None or local.content != remote.content:
            return
        row = BaseEntry(
            remote.node_id, folder_id, remote.name, item.kind, remote.content, remote.version_id, local.fingerprint
        )  # fmt: skip
        if base != row:
            self.actions.append(Record(item.rule, row, item.replaces))

    def _folder_id(self, item: Item) -> NodeId | None:
        """The id of the folder that the item is to be in; None while there is none on the server."""
        if item.parent is self._forest.root:
            return self._root_id
        return item.parent.remote.node_id if item.parent and item.parent.remote else None

    def _delete_local(self, item: Item) -> None:
        if item.base and item.local:
            path = self._local.path(item)
            self.actions.append(
                DeleteLocal(item.rule, path, item.base.node_id, item.kind, item.local.fingerprint)
            )

    def _delete_remote(self, item: Item, below: Iterable[Item]) -> None:
        if item.remote:
            covers = tuple((one.remote.node_id, one.remote.version_id) for one in below if one.remote)
            remote = item.remote
            self.actions.append(
                DeleteRemote(
                    item.rule, self._remote.path(item), remote.node_id, item.kind, remote.version_id, covers
                )
            )

    def _rearrange_remote(self) -> None:
        self._remote.arrange(
            [
                item
                for item in self._order
                if not item.is_placed_remotely() and (item.remote or item.kind is Kind.FOLDER)
            ]
        )
        for step in self._remote.steps:
            item = step.item
            if item.remote is None or step.source is None:
                self._make_remote(item, step.target)
                continue
            settles = not step.makes_way and item.local is not None and item.row_id is not None
            self.actions.append(
                MoveRemote(
                    MAKING_WAY if step.makes_way else item.rule,
                    item.remote.node_id,
                    step.source,
                    step.target,
                    item.kind,
                    self._folder_id(item),
                    settles,
                )
            )

    def _make_remote(self, item: Item, target: Names) -> None:
        if item.local:
            self.actions.append(
                MakeFolderRemote(
                    item.rule,
                    target,
                    self._local.path(item),
                    self._folder_id(item),
                    item.local.fingerprint,
                    item.replaces,
                )
            )

    def _rearrange_local(self) -> None:
        self._local.arrange(
            [
                item
                for item in self._order
                if not item.is_placed_locally() and (item.local or item.kind is Kind.FOLDER)
            ]
        )
        for step in self._local.steps:
            item, source = step.item, step.source
            rule = MAKING_WAY if step.makes_way else item.rule
            folder_id = self._folder_id(item)
            if item.local is None or source is None:
                if item.remote:
                    self.actions.append(
                        MakeFolderLocal(rule, step.target, item.remote.node_id, folder_id, item.name)
                    )
            elif item.remote is None and item.stays and not step.makes_way:
                row = item.base.node_id if item.base else None
                self.actions.append(
                    KeepBoth(rule, source, step.target, item.kind, item.local.fingerprint, row)
                )
            else:
                settles = item.row_id is not None and item.is_placed_remotely() and not step.makes_way
                self.actions.append(
                    MoveLocal(
                        rule,
                        source,
                        step.target,
                        item.kind,
                        item.local.fingerprint,
                        item.row_id,
                        folder_id,
                        item.name,
                        settles,
                    )
                )

    def _transfer(self, item: Item) -> None:
        local, remote = item.local, item.remote
        if local is not None and local.content is not None and (remote is None or _goes_up(item)):
            self.actions.append(
                Upload(
                    item.rule,
                    self._local.path(item),
                    self._remote.path(item),
                    local.content,
                    local.fingerprint,
                    self._folder_id(item),
                    remote.node_id if remote else None,
                    remote.version_id if remote else None,
                    None if item.yields else item.replaces,
                )
            )
        elif remote is not None and remote.content and remote.version_id and _comes_down(item):
            self.actions.append(
                Download(
                    item.rule,
                    self._local.path(item),
                    remote.node_id,
                    remote.version_id,
                    remote.content,
                    remote.modified_at,
                    self._folder_id(item),
                    item.name,
                    local.fingerprint if local else None,
                )
            )

    def _let_alone(self) -> None:
        for item in (*self._here.alone, *self._there.alone):
            if item.base:
                self.actions.append(Forget(UNSYNCED_INSIDE, item.base.node_id))
                self.reports.append(Report(UNSYNCED_INSIDE, _shown(item)))


def _goes_up(item: Item) -> bool:
    assert item.local is not None and item.remote is not None
    return item.take is Side.LOCAL and item.local.content != item.remote.content


def _comes_down(item: Item) -> bool:
    """Whether the server has what is not here. What differs although nobody edited it there, is in doubt here."""
    assert item.remote is not None
    if item.local is None:
        return True
    edited = item.base is None or item.remote.content != item.base.content
    return item.take is Side.REMOTE and edited and item.local.content != item.remote.content


def _shown(item: Item) -> Names:
    """A path to tell of: where the item is here, else its names as far as they are known."""
    if item.local:
        return item.local.path
    names: list[str] = []
    step: Item | None = item
    while step is not None and step.parent is not None and len(names) < 1_000:
        names.append(step.name)
        step = step.parent
    return tuple(reversed(names))
