"""A device with a file system in memory, a user who works in it, and an executor that may be killed at any step.

The executor keeps to what client/sync/actions.py says that one owes to a plan, and to no more than that. `steps` counts
what it may still do: before an action's effect and before its base row is written it may stop, as by `kill -9`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

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
    Upload,
)
from client.sync.ignoring import Ignoring
from client.sync.matching import composed
from client.sync.planning import plan
from client.sync.rules import Rules
from client.sync.trees import BaseEntry, Content, Fingerprint, Here, Kind, LocalEntry, LocalTree, Names
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId
from tests.property.sync_server import ModelServer, Refused

STRUCTURAL = (MakeFolderLocal, MakeFolderRemote, MoveLocal, MoveRemote, KeepBoth)


class Stale(Exception):
    """Something here is not what the plan was made from."""


class Killed(Exception):
    """The process is gone."""


@dataclass(frozen=True)
class Thing:
    """A file or folder here; None as `content` for a folder."""

    kind: Kind
    content: Content | None
    inode: int
    mtime: int


def content_of(token: str) -> Content:
    return Content(Sha256(token), 10)


def reliable(inode: int) -> int:
    """A file system that gives each file a number of its own."""
    return inode


def missing(inode: int) -> int:
    """One that gives none."""
    return 0


def colliding(inode: int) -> int:
    """One that gives the same number again and again."""
    return inode % 3 + 1


@dataclass(eq=False)
class ModelDevice:
    """`let_go` collects the contents that its user has overwritten or deleted knowingly.

    `unreadable` is a file whose content, or a folder whose names, a scan can't read.
    """

    name: str
    server: ModelServer
    rules: Rules = field(default_factory=Rules)
    ignoring: Ignoring = field(default_factory=Ignoring)
    things: dict[Names, Thing] = field(default_factory=dict)
    base: dict[NodeId, BaseEntry] = field(default_factory=dict)
    let_go: set[Content] = field(default_factory=set)
    numbers: Callable[[int], int] = reliable
    unreadable: Names | None = None
    under_way: list[Action] = field(default_factory=list)
    made: dict[Names, NodeId] = field(default_factory=dict)
    sent: dict[NodeId | Names, Content | None] = field(default_factory=dict)
    clock: int = 0

    # What its user does.

    def write(self, path: Names, token: str, *, in_place: bool = True) -> None:
        """Make or save a file, and the folders above it."""
        for depth in range(1, len(path)):
            if path[:depth] not in self.things:
                self.make_folder(path[:depth])
        before = self.things.get(path)
        assert before is None or before.kind is Kind.FILE
        if before and before.content:
            self.let_go.add(before.content)
        inode = before.inode if before and in_place else self._tick()
        self.things[path] = Thing(Kind.FILE, content_of(token), inode, self._tick())

    def make_folder(self, path: Names) -> None:
        self.things[path] = Thing(Kind.FOLDER, None, self._tick(), 0)

    def move(self, source: Names, target: Names) -> None:
        assert target not in self.things and target[: len(source)] != source
        assert not target[:-1] or self.things[target[:-1]].kind is Kind.FOLDER
        self._rename(source, target)

    def delete(self, path: Names) -> None:
        for below in self._within(path):
            if content := self.things.pop(below).content:
                self.let_go.add(content)

    # What the sync does.

    def scan(self) -> LocalTree:
        entries = {}
        held = set()
        for path, thing in sorted(self.things.items()):
            if self.ignoring.covers(path, is_folder=thing.kind is Kind.FOLDER):
                held.add(path[:-1])
                continue
            blind = self.unreadable
            if blind is not None and path != blind and path[: len(blind)] == blind:
                continue
            content = thing.content if path != blind else None
            entries[path] = LocalEntry(path, thing.kind, content, self._fingerprint(thing))
        for path in held:
            if path in entries:
                entries[path] = replace(entries[path], holds_unsynced=True)
        return LocalTree(entries, frozenset() if self.unreadable is None else frozenset({self.unreadable}))

    def plan(self) -> Plan:
        here = Here(self.name, "2026-11-22", under_way=self.sent)
        return plan(
            self.base, self.scan(), self.server.tree(), device=here, ignoring=self.ignoring, rules=self.rules
        )

    def look(self) -> None:
        """Begin a round: what is planned now is carried out later, when things may have changed."""
        self.under_way = list(self.plan().actions)
        self.made = {}

    def act(self, steps: int) -> None:
        """Go on with the round for so many steps, then be killed."""
        left = steps

        def step() -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        try:
            self.go_on(step)
        except Killed:
            self.under_way = []

    def go_on(self, step: Callable[[], None] = lambda: None) -> None:
        """Carry out what is under way."""
        noted = False
        while self.under_way:
            action = self.under_way.pop(0)
            step()
            if not noted and not isinstance(action, (Record, Forget)):
                noted = True
                self.sent = {}
                for one in (action, *self.under_way):
                    if isinstance(one, Upload):
                        self.sent[one.node_id or one.remote_path] = one.content
                    elif isinstance(one, DeleteRemote):
                        self.sent |= dict.fromkeys((one.node_id, *(node for node, _ in one.covers)))
            try:
                self._carry_out(action, step)
            except (Stale, Refused):
                if isinstance(action, STRUCTURAL):
                    self.under_way = []

    def sync(self, rounds: int = 4) -> int:
        """Rounds until there is nothing to do; fails after `rounds`."""
        for done in range(rounds):
            self.look()
            if not self.under_way:
                return done
            self.go_on()
        raise AssertionError(f"{self.name} still has to do after {rounds} rounds: {self.plan().actions}")

    def shown(self) -> dict[Names, Content | None]:
        """The tree, in the server's spelling."""
        return {tuple(composed(name) for name in path): thing.content for path, thing in self.things.items()}

    def _carry_out(self, action: Action, step: Callable[[], None]) -> None:
        match action:
            case Record(entry=entry, instead_of=old):
                self._put(entry, old)
            case Forget(node_id=node):
                self.base.pop(node, None)
            case KeepBoth():
                self._check(action.path, action.kind, action.fingerprint)
                self._check_free(action.copy)
                if action.node_id:
                    self.base.pop(action.node_id, None)
                step()
                self._rename(action.path, action.copy)
            case MakeFolderLocal():
                self._check_free(action.path)
                self.make_folder(action.path)
                step()
                mark = self._fingerprint(self.things[action.path])
                parent = self._folder_id(action.parent_id, action.path)
                self._put(BaseEntry(action.node_id, parent, action.name, Kind.FOLDER, fingerprint=mark), None)
            case MakeFolderRemote():
                node = self.server.make_folder(action.path)
                self.made[action.path] = node
                step()
                parent = self._folder_id(action.parent_id, action.path)
                row = BaseEntry(node, parent, action.path[-1], Kind.FOLDER, fingerprint=action.fingerprint)
                self._put(row, action.instead_of)
            case MoveLocal():
                self._check(action.source, action.kind, action.fingerprint)
                self._check_free(action.target)
                self._rename(action.source, action.target)
                step()
                if action.settles and action.node_id:
                    parent = self._folder_id(action.parent_id, action.target)
                    self.base[action.node_id] = replace(
                        self.base[action.node_id], parent_id=parent, name=action.name
                    )
            case MoveRemote():
                self.server.move(action.node_id, action.target)
                step()
                if action.settles:
                    parent = self._folder_id(action.parent_id, action.target)
                    self.base[action.node_id] = replace(
                        self.base[action.node_id], parent_id=parent, name=action.target[-1]
                    )
            case Upload():
                self._upload(action, step)
            case Download():
                self._download(action, step)
            case DeleteLocal():
                self._check(action.path, action.kind, action.fingerprint)
                if len(self._within(action.path)) > 1:
                    raise Stale("not empty")
                del self.things[action.path]
                step()
                self.base.pop(action.node_id, None)
            case DeleteRemote():
                self.server.delete(action.node_id, {action.node_id: action.version_id, **dict(action.covers)})
                step()
                for node in (action.node_id, *(node for node, _ in action.covers)):
                    self.base.pop(node, None)

    def _upload(self, action: Upload, step: Callable[[], None]) -> None:
        self._check(action.path, Kind.FILE, action.fingerprint)
        content = self.things[action.path].content
        assert content == action.content
        if action.node_id:
            done = self.server.commit(action.node_id, action.base_version, content)
        else:
            done = self.server.create(action.remote_path, content)
        step()
        mark = action.fingerprint
        if action.node_id and action.node_id in self.base:
            row = replace(
                self.base[action.node_id], content=content, version_id=done.version_id, fingerprint=mark
            )
        else:
            parent = self._folder_id(action.parent_id, action.remote_path)
            row = BaseEntry(
                done.node_id, parent, action.remote_path[-1], Kind.FILE, content, done.version_id, mark
            )
        self._put(row, action.instead_of)

    def _download(self, action: Download, step: Callable[[], None]) -> None:
        if action.replaces:
            self._check(action.path, Kind.FILE, action.replaces)
        else:
            self._check_free(action.path)
        self.things[action.path] = Thing(Kind.FILE, action.content, self._tick(), self._tick())
        step()
        mark = self._fingerprint(self.things[action.path])
        known = self.base.get(action.node_id)
        parent, name = (
            (known.parent_id, known.name)
            if known
            else (self._folder_id(action.parent_id, action.path), action.name)
        )
        version = VersionId(action.version_id)
        self._put(BaseEntry(action.node_id, parent, name, Kind.FILE, action.content, version, mark), None)

    def _folder_id(self, stated: NodeId | None, path: Names) -> NodeId:
        return stated or self.made[path[:-1]]

    def _put(self, row: BaseEntry, old: NodeId | None) -> None:
        if old:
            self.base.pop(old, None)
            for key, other in self.base.items():
                if other.parent_id == old:
                    self.base[key] = replace(other, parent_id=row.node_id)
        self.base[row.node_id] = row

    def _check(self, path: Names, kind: Kind, mark: Fingerprint) -> None:
        thing = self.things.get(path)
        if thing is None or thing.kind is not kind or self._fingerprint(thing) != mark:
            raise Stale(path)

    def _check_free(self, path: Names) -> None:
        above = self.things.get(path[:-1])
        if path in self.things or (path[:-1] and (above is None or above.kind is not Kind.FOLDER)):
            raise Stale(path)

    def _fingerprint(self, thing: Thing) -> Fingerprint:
        size = thing.content.size if thing.content else 0
        return Fingerprint(size, thing.mtime, self.numbers(thing.inode), 1)

    def _within(self, path: Names) -> list[Names]:
        return [other for other in self.things if other[: len(path)] == path]

    def _rename(self, source: Names, target: Names) -> None:
        moved = {(*target, *path[len(source) :]): self.things.pop(path) for path in self._within(source)}
        self.things |= moved

    def _tick(self) -> int:
        self.clock += 1
        return self.clock


def settle(devices: list[ModelDevice], rounds: int = 12) -> None:
    """Let all devices sync until none has anything to do, then check that all hold the same tree."""
    for _ in range(rounds):
        if sum(device.sync() for device in devices) == 0:
            break
    else:
        raise AssertionError("the devices don't come to rest")
    there = devices[0].server.paths()
    for device in devices:
        assert device.shown() == there, f"{device.name} differs from the server"


def check_nothing_lost(devices: list[ModelDevice], written: set[Content]) -> None:
    """Whatever was written, and not knowingly overwritten or deleted, is still in the tree."""
    gone = {content for device in devices for content in device.let_go}
    lost = written - gone - set(devices[0].server.paths().values())
    assert not lost, f"lost: {lost}"
