"""What one transaction commits: decided file by file, written together.

The order matters. The namespace's row is locked before the first look, so everything sees one state. Each file is
decided on its head, every block must exist and be the caller's to use, and whatever is wrong with a file is
known before anything is noted about it. Only then are seq, entries, versions, edges and journal written, for all
files at once: a thousand small ones cost about as many statements as one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.blocks import BlockRef, Sha256, root_hash
from shared.domain.errors import (
    FileNotFound,
    MissingBlocks,
    NameExists,
    NotFound,
    QuotaExceeded,
    Unacceptable,
    VersionConflict,
)
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId, VersionId
from shared.domain.names import Name
from shared.domain.versions import Basis, OnVersion, Replace, Stale, Unchanged, Version, decide_commit
from shared.ports.metadata import Transaction
from shared.ports.system import Ids
from shared.ports.tables_blocks import Usable
from shared.ports.tables_files import NewNode, NewVersion, Node, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.usecases.authority import Member


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """Content for one file: at `path` (missing folders are made), or for the file `file_id`; one is given.

    `named` is False when the path was made up for the client: sent again, the same request has another one.
    `modified_at` is the client's word on when the content was made; None stands for now.
    """

    basis: Basis
    blocks: Sequence[BlockRef]
    path: tuple[Name, ...] = ()
    file_id: NodeId | None = None
    namespace: NamespaceId | None = None
    modified_at: datetime | None = None
    idempotency_key: str | None = None
    named: bool = True

    def __post_init__(self) -> None:
        """Raises Unacceptable for the path of the root; here, so that it comes before anything is stored."""
        if self.file_id is None and not self.path:
            raise Unacceptable("a file needs a name: the root itself is a folder")


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did; `unchanged` when the head had this content already, and then nothing was written."""

    file_id: NodeId
    path: str
    version_id: VersionId
    version: int
    seq: int
    size: int
    root_hash: Sha256
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A file's blocks in order, and what follows from them: `size` in bytes, and the root hash."""

    blocks: Sequence[BlockRef]
    size: int
    root: Sha256

    @classmethod
    def of(cls, blocks: Sequence[BlockRef], size: int) -> "Content":
        return cls(blocks, size, root_hash(blocks))


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a commit lands: at `node`, or, where that is None, at `missing` names under `parent`."""

    path: str
    node: Node | None
    parent: NodeId
    missing: tuple[Name, ...]


class Draft:
    """Commits of one writer to one namespace, whose row is locked. Nothing is written before `write`."""

    def __init__(self, tx: Transaction, member: Member, *, now: datetime, ids: Ids) -> None:
        self._tx, self._member, self._now, self._ids = tx, member, now, ids
        self._usage = tx.namespaces.usage(member.namespace)
        self._seq = self._usage.seq + 1
        self._delta = 0
        self._usable: dict[Sha256, Usable | None] = {}
        self._nodes: list[NewNode] = []
        self._versions: list[NewVersion] = []
        self._swaps: list[tuple[NodeId, VersionId, VersionId]] = []
        self._changes: list[Change] = []
        # What folders hold, as far as it was asked for, with what this draft adds.
        self._entries: dict[tuple[NodeId, str], Node | None] = {}
        self._added_folders: set[NodeId] = set()
        self._heads: dict[NodeId, Version] = {}

    def admitted(self, blocks: Mapping[Sha256, Usable]) -> None:
        """Note blocks that the caller has just brought: they are the caller's to use."""
        self._usable.update(blocks)

    def foresee(self, requests: Iterable[tuple[CommitRequest, Content]]) -> None:
        """Look up together what many files will ask for one by one."""
        hashes: dict[Sha256, None] = {}
        names: dict[NodeId, dict[str, None]] = defaultdict(dict)
        for request, content in requests:
            hashes.update(dict.fromkeys(block.sha256 for block in content.blocks))
            folder = self._known_folder(request.path[:-1]) if request.path else None
            if folder is not None:
                names[folder][request.path[-1].key] = None
        self._look_up_blocks(hashes)
        for parent, keys in names.items():
            wanted = [key for key in keys if (parent, key) not in self._entries]
            found = self._tx.files.children_named(self._member.namespace, parent, wanted)
            self._entries.update({(parent, key): found.get(key) for key in wanted})

    def add(self, request: CommitRequest, content: Content) -> Committed:
        """Decide one commit and note it.

        Raises MissingBlocks, VersionConflict, PreconditionFailed, NameExists, QuotaExceeded, Unacceptable, NotFound
        for a base version that is not there, FileNotFound; then nothing of it was noted.
        """
        spot = self._find(request)
        head = spot.node.head if spot.node else None
        self._check_base(request.basis, spot.node, head)
        decision = decide_commit(head=head, basis=request.basis, root=content.root, size=content.size)
        match decision:
            case Unchanged(head=current):
                assert spot.node is not None
                return _committed(spot.node.id, spot.path, current, unchanged=True)
            case Stale():
                raise VersionConflict(
                    "the file was changed since the version that this is based on", head=_shown(head)
                )
            case Replace():
                return self._note(request, content, spot, decision, head)

    def write(self) -> frozenset[Sha256]:
        """Carry out what was noted; returns the hashes that versions refer to now.

        Raises QuotaExceeded, VersionConflict or NameExists where the database has the last word; nothing of
        the transaction may stay then.
        """
        if not self._versions:
            return frozenset()
        tx, member = self._tx, self._member
        seq = tx.namespaces.advance(member.namespace, delta=self._delta)
        assert seq == self._seq, "the namespace was not locked"
        used = {key for new in self._versions for key in new.blocks}
        tx.blocks.keep(sorted(used))
        if self._nodes:
            tx.files.add_nodes(member.namespace, self._nodes)
        for node, base, head in self._swaps:
            if not tx.files.swap_head(member.namespace, node, base, head):
                raise VersionConflict("the file was changed meanwhile", head=None)
        tx.files.add_versions(member.namespace, self._versions)
        tx.journal.record(member.namespace, seq, self._changes, now=self._now)
        tx.blocks.end_leases(sorted(used), member.user_id)
        return frozenset(sha256 for sha256, block in self._usable.items() if block and block.key in used)

    def _note(
        self, request: CommitRequest, content: Content, spot: _Spot, decision: Replace, head: Version | None
    ) -> Committed:
        blocks = self._blocks_of(content)
        delta = content.size - (head.size if head else 0)
        self._check_quota(delta)
        # Nothing is refused from here on.
        self._delta += delta
        version = Version(
            id=VersionId(self._ids.new()),
            number=decision.number,
            size=content.size,
            root_hash=content.root,
            created_at=self._now,
            modified_at=request.modified_at or self._now,
            seq=self._seq,
        )
        if spot.node is not None:
            node, kind = spot.node.id, ChangeKind.FILE_CHANGED
            self._swaps.append((node, decision.base, version.id))
        else:
            node, kind = self._note_nodes(spot, version), ChangeKind.FILE_CREATED
        self._heads[node] = version
        device = self._member.device_id
        self._changes.append(Change(kind, node, version.id, device))
        edges = [block.key for block in blocks]
        self._versions.append(NewVersion(node, version, decision.base, self._member.user_id, device, edges))
        return _committed(node, spot.path, version)

    def _note_nodes(self, spot: _Spot, version: Version) -> NodeId:
        """Note the folders that are missing, then the file; returns the file's id."""
        parent = spot.parent
        for name in spot.missing[:-1]:
            folder = self._note_node(parent, NodeKind.FOLDER, name, None)
            self._added_folders.add(folder)
            self._changes.append(Change(ChangeKind.FOLDER_CREATED, folder, None, self._member.device_id))
            parent = folder
        return self._note_node(parent, NodeKind.FILE, spot.missing[-1], version)

    def _note_node(self, parent: NodeId, kind: NodeKind, name: Name, version: Version | None) -> NodeId:
        node = NodeId(self._ids.new())
        # Each entry has a change of its own, and stands at its position.
        place = Place(self._seq, len(self._changes))
        self._nodes.append(NewNode(node, parent, kind, name, place, version.id if version else None))
        self._entries[parent, name.key] = Node(node, parent, kind, name.text, version)
        return node

    def _blocks_of(self, content: Content) -> list[Usable]:
        self._look_up_blocks(dict.fromkeys(block.sha256 for block in content.blocks))
        found: list[Usable] = []
        missing: dict[Sha256, None] = {}
        for block in content.blocks:
            usable = self._usable[block.sha256]
            if usable is None:
                missing[block.sha256] = None
            elif usable.size != block.size:
                raise Unacceptable(f"block {block.sha256} has {usable.size} bytes, not {block.size}")
            else:
                found.append(usable)
        if missing:
            raise MissingBlocks(list(missing))
        return found

    def _look_up_blocks(self, hashes: Iterable[Sha256]) -> None:
        wanted = sorted(sha256 for sha256 in hashes if sha256 not in self._usable)
        if wanted:
            found = self._tx.blocks.usable(self._member.namespace, wanted, self._member.user_id)
            self._usable.update({sha256: found.get(sha256) for sha256 in wanted})

    def _check_quota(self, delta: int) -> None:
        usage = self._usage
        used = usage.used + self._delta
        if delta > 0 and used + delta > usage.quota:
            raise QuotaExceeded(
                f"{delta} more bytes don't fit: {used} of {usage.quota} bytes are used",
                quota=usage.quota,
                used=used,
            )

    def _check_base(self, basis: Basis, node: Node | None, head: Version | None) -> None:
        if not isinstance(basis, OnVersion) or basis.base == NO_VERSION or node is None:
            return
        if (head is None or basis.base != head.id) and not self._tx.files.knows_version(node.id, basis.base):
            raise NotFound("base_version is not a version of this file")

    def _find(self, request: CommitRequest) -> _Spot:
        spot = self._walk(request.path) if request.file_id is None else self._by_id(request.file_id)
        if spot.node is None or spot.node.id not in self._heads:
            return spot
        return replace(spot, node=replace(spot.node, head=self._heads[spot.node.id]))

    def _by_id(self, file: NodeId) -> _Spot:
        namespace = self._member.namespace
        node = self._tx.files.node(namespace, file)
        path = self._tx.files.paths(namespace, [node]).get(node.id) if node else None
        if node is None or path is None or node.kind is not NodeKind.FILE:
            raise FileNotFound("there is no such file")
        return _Spot(path, node, NodeId(namespace), ())

    def _walk(self, names: tuple[Name, ...]) -> _Spot:
        """Follow `names` from the root; raises NameExists where a file or another spelling stands in the way."""
        path = "/" + "/".join(name.text for name in names)
        parent = NodeId(self._member.namespace)
        for depth, name in enumerate(names):
            node = self._child(parent, name.key)
            if node is None:
                return _Spot(path, None, parent, names[depth:])
            last = depth == len(names) - 1
            if node.name != name.text:
                raise NameExists(
                    f"{name.text!r} differs from {node.name!r} in its folder only by case or form",
                    entry=node.name,
                    kind=node.kind.value,
                )
            if last != (node.kind is NodeKind.FILE):
                raise NameExists(
                    f"{node.name!r} is a {node.kind.value} already", entry=node.name, kind=node.kind.value
                )
            if last:
                return _Spot(path, node, parent, ())
            parent = node.id
        raise AssertionError("a path has at least one name")

    def _known_folder(self, names: tuple[Name, ...]) -> NodeId | None:
        """The folder that `names` lead to, if there is one and each name is spelled in some way."""
        here = NodeId(self._member.namespace)
        for name in names:
            node = self._child(here, name.key)
            if node is None or node.kind is not NodeKind.FOLDER:
                return None
            here = node.id
        return here

    def _child(self, parent: NodeId, key: str) -> Node | None:
        place = (parent, key)
        if place not in self._entries:
            added = parent in self._added_folders
            self._entries[place] = (
                None if added else self._tx.files.child(self._member.namespace, parent, key)
            )
        return self._entries[place]


def _committed(node: NodeId, path: str, version: Version, *, unchanged: bool = False) -> Committed:
    return Committed(
        node, path, version.id, version.number, version.seq, version.size, version.root_hash, unchanged
    )


def _shown(head: Version | None) -> dict[str, object] | None:
    if head is None:
        return None
    return {
        "version_id": head.id,
        "version": head.number,
        "size": head.size,
        "root_hash": head.root_hash,
        "modified_at": head.modified_at.isoformat(),
    }
