"""Which local entry is which node of the base.

A file system tells what there is, not what became of it: after `mv a b` there is no `a` and there is a `b`. Taken for a
deletion and a new file, all content would travel again, and what others did to `a` would miss its target. So what has
vanished is looked for among what has appeared, surest sign first:

1. the same path, kind for kind (an editor that saves by replacing a file changes everything but that), unless what is
   there is plainly another node, as after a swap; then the same name in another spelling;
2. the file system's own number, for files with the same size and time;
3. the place that the node has on the server by now: a move that was carried out here but not yet recorded;
4. the same content, if exactly one file has vanished with it and one appeared;
5. for folders, most of what was in them.

A wrong guess loses nothing: it is a move, and what moves keeps its content, or gets new content as a new version.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TypeVar

from client.sync.trees import BaseEntry, Content, Fingerprint, Kind, LocalEntry, LocalTree, Names, RemoteTree
from shared.domain.ids import NodeId
from shared.domain.names import name_key

T = TypeVar("T")


def composed(name: str) -> str:
    """A local name as the server spells it (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Matching:
    """The result: `found` has the local entry of each base node that has one; `unseen` are nodes that can't be
    looked for, since the folder above couldn't be read."""

    def __init__(self, base: Iterable[BaseEntry], local: LocalTree, remote: RemoteTree) -> None:
        self.found: dict[NodeId, LocalEntry] = {}
        self.unseen: set[NodeId] = set()
        self._local = local
        self._remote = remote
        self._taken: set[Names] = set()
        self._below: defaultdict[NodeId, list[BaseEntry]] = defaultdict(list)
        self._claims: dict[tuple[int, int], BaseEntry | None] | None = None
        self._by_key: dict[tuple[Names, str], list[LocalEntry]] | None = None
        for entry in base:
            self._below[entry.parent_id].append(entry)
        self.order = self._top_down()
        self._left = self.order
        self._descend(remote.root_id, ())
        if len(self.found) < len(self.order):
            if len(self._taken) < len(local.entries):
                self._by_number()
                self._by_path()
                self._by_remote_place()
                self._by_content()
                self._by_what_is_inside()
            self._note_unseen()

    def _top_down(self) -> list[BaseEntry]:
        """All base entries, each behind its folder; those whose folder has no row are at the end."""
        order: list[BaseEntry] = list(self._below.get(self._remote.root_id, ()))
        reached = {self._remote.root_id}
        pending = [key for key in self._below if key != self._remote.root_id]
        position = 0
        while True:
            while position < len(order):
                entry = order[position]
                if entry.kind is Kind.FOLDER and entry.node_id not in reached:
                    reached.add(entry.node_id)
                    order += self._below.get(entry.node_id, ())
                position += 1
            lost = self._lost_folder(pending, reached)
            if lost is None:
                return order
            reached.add(lost)
            order += self._below[lost]

    def _lost_folder(self, parents: list[NodeId], reached: set[NodeId]) -> NodeId | None:
        known = {entry.node_id for entries in self._below.values() for entry in entries} if parents else set()
        return next((key for key in parents if key not in reached and key not in known), None)

    def _take(self, node: BaseEntry, entry: LocalEntry) -> None:
        self.found[node.node_id] = entry
        self._taken.add(entry.path)
        if node.kind is Kind.FOLDER:
            self._descend(node.node_id, entry.path)

    def _free(self, path: Names, kind: Kind) -> LocalEntry | None:
        entry = self._local.entries.get(path)
        return entry if entry and entry.kind is kind and path not in self._taken else None

    def _descend(self, folder: NodeId, path: Names) -> None:
        """Match what is in a folder that is matched itself, by names, down to the last level."""
        entries, taken, found = self._local.entries, self._taken, self.found
        waiting = [(folder, path)]
        left: list[tuple[BaseEntry, Names]] = []
        while waiting:
            folder, path = waiting.pop()
            for node in self._below.get(folder, ()):
                if node.node_id in found:
                    continue
                place = (*path, node.name)
                entry = entries.get(place)
                if entry is None or entry.kind is not node.kind or place in taken:
                    left.append((node, path))
                    continue
                mark = node.fingerprint
                if mark is not None and entry.fingerprint.inode != mark.inode and self._is_another(entry):
                    continue
                found[node.node_id] = entry
                taken.add(place)
                if node.kind is Kind.FOLDER:
                    waiting.append((node.node_id, place))
        for node, path in left:
            if node.node_id not in found and (other := self._spelled_otherwise(path, node)):
                self._take(node, other)

    def _is_another(self, entry: LocalEntry) -> bool:
        """Whether the file system's number says that this is some other node of the base."""
        if self._claims is None:
            self._claims = _by_unique_number(
                (node.fingerprint, node) for node in self.order if node.fingerprint is not None
            )
        mark = entry.fingerprint
        node = self._claims.get((mark.device, mark.inode))
        return (
            node is not None
            and node.node_id not in self.found
            and node.kind is entry.kind
            and (node.kind is Kind.FOLDER or node.fingerprint == mark)
        )

    def _by_path(self) -> None:
        """What seemed to be another node, and was not: that one was found elsewhere."""
        for node in self._missing():
            folder = self._path_of(node.parent_id)
            entry = self._free((*folder, node.name), node.kind) if folder is not None else None
            if entry and node.node_id not in self.found:
                self._take(node, entry)

    def _spelled_otherwise(self, folder: Names, node: BaseEntry) -> LocalEntry | None:
        if self._by_key is None:
            self._by_key = defaultdict(list)
            for entry in self._local.entries.values():
                if entry.path not in self._taken:
                    self._by_key[entry.path[:-1], name_key(entry.path[-1])].append(entry)
        alike = [
            entry
            for entry in self._by_key.get((folder, name_key(node.name)), ())
            if entry.kind is node.kind and entry.path not in self._taken
        ]
        alike.sort(key=lambda entry: (composed(entry.path[-1]) != node.name, entry.path))
        return alike[0] if alike else None

    def _missing(self) -> list[BaseEntry]:
        self._left = [node for node in self._left if node.node_id not in self.found]
        return self._left

    def _by_number(self) -> None:
        numbers = _by_unique_number((entry.fingerprint, entry) for entry in self._local.entries.values())
        for node in self._missing():
            mark = node.fingerprint
            if mark is None or node.node_id in self.found:
                continue
            entry = numbers.get((mark.device, mark.inode))
            if entry is None or entry.kind is not node.kind or entry.path in self._taken:
                continue
            if node.kind is Kind.FOLDER or entry.fingerprint == mark:
                self._take(node, entry)

    def _by_remote_place(self) -> None:
        for node in self._missing():
            there = self._remote.entries.get(node.node_id)
            if there is None or node.node_id in self.found:
                continue
            folder = self._path_of(there.parent_id)
            entry = self._free((*folder, there.name), node.kind) if folder is not None else None
            if entry and (node.kind is Kind.FOLDER or entry.content in (there.content, node.content)):
                self._take(node, entry)

    def _path_of(self, folder: NodeId) -> Names | None:
        if folder == self._remote.root_id:
            return ()
        entry = self.found.get(folder)
        return entry.path if entry else None

    def _by_content(self) -> None:
        gone: defaultdict[Content, list[BaseEntry]] = defaultdict(list)
        for node in self._missing():
            if node.content is not None and node.content.size:  # all empty files are alike
                gone[node.content].append(node)
        come: defaultdict[Content, list[LocalEntry]] = defaultdict(list)
        for entry in self._local.entries.values():
            if entry.path not in self._taken and entry.content in gone and entry.content is not None:
                come[entry.content].append(entry)
        for content, nodes in gone.items():
            if len(nodes) == 1 and len(come[content]) == 1:
                self._take(nodes[0], come[content][0])

    def _by_what_is_inside(self) -> None:
        for node in reversed(self._missing()):
            if node.kind is not Kind.FOLDER or node.node_id in self.found:
                continue
            inside = self._below.get(node.node_id, ())
            votes = Counter(
                self.found[child.node_id].path[:-1] for child in inside if child.node_id in self.found
            )
            for path, count in votes.most_common(1):
                entry = self._free(path, Kind.FOLDER)
                if entry and 2 * count > len(inside):
                    self._take(node, entry)

    def _note_unseen(self) -> None:
        for node in self._missing():
            folder = self._path_of(node.parent_id)
            if (
                not self._local.complete
                or node.parent_id in self.unseen
                or (folder is not None and folder in self._local.unlisted)
            ):
                self.unseen.add(node.node_id)


def _by_unique_number(marked: Iterable[tuple[Fingerprint, T]]) -> dict[tuple[int, int], T | None]:
    """What has each number; None where several have it (hard links, or a file system that doesn't tell)."""
    found: dict[tuple[int, int], T | None] = {}
    for mark, thing in marked:
        if mark.inode:
            key = (mark.device, mark.inode)
            found[key] = None if key in found else thing
    return found
