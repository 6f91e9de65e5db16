"""The three trees laid over each other: one item for each thing, with its place on each side.

A place is (the item of the folder, the name), never a path: so moving a folder changes nothing about what is in it.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from client.sync.ignoring import PART_PREFIX, Ignoring
from client.sync.matching import Matching, composed
from client.sync.rules import IN_STEP, NEW_HERE, NEW_THERE, Meeting, Rule, Rules, Side
from client.sync.trees import (
    BaseEntry,
    BaseTree,
    Here,
    Kind,
    LocalEntry,
    LocalTree,
    Names,
    RemoteEntry,
    RemoteTree,
)
from shared.domain.ids import NodeId


class Item(msgspec.Struct, eq=False):
    """A file or folder. First what is on each side; then, from `stays` on, what is to become of it.

    `frozen` items stay where they are on both sides, `unseen` ones because nobody knows what they are here.
    What is `in_step` needs nothing; what is `recalled` has a `base` that an upload left and that isn't written yet.
    `kept_whole` folders survive a deletion with all that was deleted along with them.
    `yields` marks the losing side of a conflict: something new, though its `base` row has to go before it is renamed.
    `into` is the item that this one turned out to be, and `other_row` the base row that such a one left behind.
    """

    kind: Kind
    base: BaseEntry | None = None
    local: LocalEntry | None = None
    remote: RemoteEntry | None = None
    base_parent: "Item | None" = None
    local_parent: "Item | None" = None
    remote_parent: "Item | None" = None
    in_step: bool = False
    recalled: bool = False
    unseen: bool = False
    hides_remote: bool = False
    stays: bool = True
    frozen: bool = False
    rule: Rule = IN_STEP
    parent: "Item | None" = None
    name: str = ""
    take: Side = Side.REMOTE
    kept_whole: bool = False
    yields: bool = False
    into: "Item | None" = None
    other_row: NodeId | None = None

    @property
    def local_name(self) -> str:
        """The local name as the server spells it."""
        return composed(self.local.path[-1]) if self.local else ""

    @property
    def row_id(self) -> NodeId | None:
        """The node's id, if it has a base row under that id."""
        if self.base and (self.remote is None or self.remote.node_id == self.base.node_id):
            return self.base.node_id
        return None

    @property
    def replaces(self) -> NodeId | None:
        """A node of the base that is gone on the server, and whose place this item takes."""
        if self.base and (self.remote is None or self.remote.node_id != self.base.node_id):
            return self.base.node_id
        return self.other_row

    def is_placed_locally(self) -> bool:
        """Whether it is here where it is to be."""
        return self.local is not None and self.local_parent is self.parent and self.local_name == self.name

    def is_placed_remotely(self) -> bool:
        """Whether it is on the server where it is to be."""
        return self.remote is not None and self.remote_parent is self.parent and self.remote.name == self.name

    def settle(self) -> "Item":
        """This item, or the one that it turned out to be."""
        item = self
        while item.into is not None:
            item = item.into
        return item


class Forest(msgspec.Struct):
    """All items, folders before what is in them on one of the sides.

    Base nodes to be forgotten: those that are `ignored`, and those that were `deleted` by a run that was stopped.
    """

    root: Item
    items: list[Item] = msgspec.field(default_factory=list)
    ignored: list[NodeId] = msgspec.field(default_factory=list)
    deleted: list[NodeId] = msgspec.field(default_factory=list)


def lay_over(
    base: BaseTree, local: LocalTree, remote: RemoteTree, ignoring: Ignoring, here: Here, rules: Rules
) -> Forest:
    """One item for each thing in any of the trees that isn't ignored."""
    root = Item(Kind.FOLDER)
    forest = Forest(root)
    kept: Iterable[BaseEntry] = base.values()
    if not ignoring.is_trivial:
        kept = _without_ignored(base, remote.root_id, ignoring, forest)
    if None in here.under_way.values():
        kept = _without_deleted(kept, remote, here, forest)
    matching = Matching(kept, local, remote)
    nodes = _known_items(forest, matching, remote, here)
    _attach_remote(forest, nodes, remote, ignoring, here)
    _attach_local(forest, nodes, matching, local, here, rules)
    return forest


def _without_ignored(
    base: BaseTree, root_id: NodeId, ignoring: Ignoring, forest: Forest
) -> Iterable[BaseEntry]:
    paths: dict[NodeId, Names] = {root_id: ()}
    kept: list[BaseEntry] = []
    for entry in base.values():
        path = _base_path(entry, base, paths)
        if path is not None and ignoring.covers(path, is_folder=entry.kind is Kind.FOLDER):
            forest.ignored.append(entry.node_id)
        else:
            kept.append(entry)
    return kept


def _without_deleted(
    base: Iterable[BaseEntry], remote: RemoteTree, here: Here, forest: Forest
) -> list[BaseEntry]:
    """Without nodes that an earlier run deleted on the server: what is here in their place came later."""
    living = _living(_by_parent(remote), remote.root_id)
    kept: list[BaseEntry] = []
    for entry in base:
        node = remote.entries.get(entry.node_id)
        gone = node is None or node.parent_id not in living
        if gone and here.under_way.get(entry.node_id, entry) is None:
            forest.deleted.append(entry.node_id)
        else:
            kept.append(entry)
    return kept


def _by_parent(remote: RemoteTree) -> dict[NodeId, list[RemoteEntry]]:
    below: defaultdict[NodeId, list[RemoteEntry]] = defaultdict(list)
    for entry in remote.entries.values():
        below[entry.parent_id].append(entry)
    return below


def _base_path(entry: BaseEntry, base: BaseTree, paths: dict[NodeId, Names]) -> Names | None:
    """None where a row above is gone."""
    above = paths.get(entry.parent_id)
    if above is None:
        way: list[BaseEntry] = []
        step = base.get(entry.parent_id)
        while step is not None and step.node_id not in paths and len(way) <= len(base):
            way.append(step)
            step = base.get(step.parent_id) if step.parent_id not in paths else None
        if not way or way[-1].parent_id not in paths:
            return None
        for folder in reversed(way):
            paths[folder.node_id] = (*paths[folder.parent_id], folder.name)
        above = paths[entry.parent_id]
    return (*above, entry.name)


def _known_items(forest: Forest, matching: Matching, remote: RemoteTree, here: Here) -> dict[NodeId, Item]:
    nodes: dict[NodeId, Item] = {remote.root_id: forest.root}
    for entry in matching.order:
        item = Item(entry.kind)
        item.base, item.base_parent = entry, nodes.get(entry.parent_id)
        item.local = matching.found.get(entry.node_id)
        if entry.node_id in matching.unseen:
            item.unseen = item.frozen = True
        elif entry.node_id in here.stuck:
            item.frozen = True
        nodes[entry.node_id] = item
        forest.items.append(item)
    return nodes


def _attach_remote(
    forest: Forest, nodes: dict[NodeId, Item], remote: RemoteTree, ignoring: Ignoring, here: Here
) -> None:
    below = _by_parent(remote)
    lost = _folders_without_node(forest, _living(below, remote.root_id))
    waiting: list[tuple[NodeId, Item, Names, bool]] = [(remote.root_id, forest.root, (), False)]
    while waiting:
        folder_id, folder, path, hidden = waiting.pop()
        for entry in below.get(folder_id, ()):
            is_folder = entry.kind is Kind.FOLDER
            covered = hidden
            if not ignoring.is_trivial or entry.name.startswith(PART_PREFIX):
                covered = hidden or ignoring.covers((*path, entry.name), is_folder=is_folder)
            item = nodes.get(entry.node_id)
            if item is None and not covered:
                # A folder that was deleted and made again is the same folder to whoever still has it.
                item = lost.pop((id(folder), entry.name), None) if is_folder else None
                if item is None:
                    item = Item(entry.kind)
                    item.rule, item.frozen = NEW_THERE, entry.node_id in here.stuck
                    forest.items.append(item)
                nodes[entry.node_id] = item
            if item is None:
                folder.hides_remote = True
            else:
                item.remote, item.remote_parent = entry, folder
                sent = here.under_way.get(entry.node_id) if here.under_way else None
                if item.base and sent and sent == entry.content != item.base.content:
                    item.base = msgspec.structs.replace(
                        item.base, content=entry.content, version_id=entry.version_id
                    )
                    item.recalled = True
                if covered:
                    item.frozen = True
            if is_folder:
                waiting.append((entry.node_id, item or folder, (*path, entry.name), covered))


def _living(below: dict[NodeId, list[RemoteEntry]], root_id: NodeId) -> set[NodeId]:
    """The folders that can be reached from the root."""
    living = {root_id}
    waiting = [root_id]
    while waiting:
        folders = [entry.node_id for entry in below.get(waiting.pop(), ()) if entry.kind is Kind.FOLDER]
        living.update(folders)
        waiting += folders
    return living


def _folders_without_node(forest: Forest, living: set[NodeId]) -> dict[tuple[int, str], Item]:
    return {
        (id(item.base_parent), item.base.name): item
        for item in forest.items
        if item.kind is Kind.FOLDER and item.base and item.local and item.base.node_id not in living
    }


def _attach_local(
    forest: Forest,
    nodes: dict[NodeId, Item],
    matching: Matching,
    local: LocalTree,
    here: Here,
    rules: Rules,
) -> None:
    paths: dict[Names, Item] = {(): forest.root}
    for node_id, entry in matching.found.items():
        paths[entry.path] = nodes[node_id]
    appeared = [entry for entry in local.entries.values() if entry.path not in paths]
    twins: dict[tuple[Item | None, str], Item] = {}
    if appeared:
        twins = {
            (item.remote_parent, item.remote.name): item
            for item in forest.items
            if item.remote and not item.base and not item.frozen
        }
    for entry in sorted(appeared, key=lambda entry: (len(entry.path), entry.path)):
        twin = twins.get((paths[entry.path[:-1]], composed(entry.path[-1])))
        if twin and twin.remote and here.under_way:
            _recall_upload(twin, twin.remote, entry, here)
        meeting = _meeting_of(entry, twin.remote) if twin and twin.remote and not twin.local else None
        if (
            twin
            and meeting
            and rules.meetings[meeting].content is not Side.BOTH
            and entry.path not in here.stuck
        ):
            item = twin
            item.rule = rules.meetings[meeting]
        else:
            item = Item(entry.kind)
            item.rule, item.frozen = NEW_HERE, entry.path in here.stuck
            forest.items.append(item)
        item.local = entry
        paths[entry.path] = item
    for path, item in paths.items():
        if path:
            item.local_parent = paths[path[:-1]]


def _recall_upload(item: Item, remote: RemoteEntry, entry: LocalEntry, here: Here) -> None:
    """Give the item the base row that a kill kept from being written, if its version came from this local file."""
    if entry.kind is not remote.kind or remote.content is None:
        return
    path: list[str] = []
    step: Item | None = item
    while step is not None and step.remote is not None:
        path.append(step.remote.name)
        step = step.remote_parent
    if here.under_way.get(tuple(reversed(path))) == remote.content:
        item.base_parent, item.recalled = item.remote_parent, True
        item.base = BaseEntry(
            remote.node_id, remote.parent_id, remote.name, Kind.FILE, remote.content, remote.version_id
        )


def _meeting_of(entry: LocalEntry, other: RemoteEntry) -> Meeting | None:
    """How two of the same name meet, if they are surely the same."""
    if entry.kind is not other.kind:
        return None
    if entry.kind is Kind.FOLDER:
        return Meeting.FOLDERS
    return Meeting.EQUAL if entry.content == other.content else None
