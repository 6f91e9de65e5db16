"""Making content the current version of a file: one transaction, all or nothing.

The order matters. The namespace's row is locked first, so everything behind it sees one state; an answer
given before is given again; the decision is taken on the head; every block must exist and be the caller's to use;
and only then are seq, version, edges and journal entry written.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller
from shared.domain.blocks import BlockRef, Sha256, check_manifest, root_hash
from shared.domain.errors import (
    FileNotFound,
    MissingBlocks,
    NameExists,
    NotFound,
    Unacceptable,
    VersionConflict,
)
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId, UserId, VersionId
from shared.domain.names import Name
from shared.domain.versions import Basis, OnVersion, Replace, Stale, Unchanged, Version, decide_commit
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_files import NewVersion, Node, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.ports.tables_namespaces import Repeatable
from shared.usecases.authority import Member, file_writer, writer
from shared.usecases.repeating import describe_request

ROUTE = "files/commit"


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


@dataclass(frozen=True)
class CommitFile:
    metadata: Metadata
    clock: Clock
    ids: Ids
    max_file_size: int
    remember: timedelta

    async def __call__(self, caller: Caller, request: CommitRequest) -> Committed:
        """Raises MissingBlocks, VersionConflict, PreconditionFailed, NameExists, QuotaExceeded, KeyReused, NotFound
        for a file or a base version that is not there, and what `check_manifest` and `writer` raise.
        """
        size = check_manifest(request.blocks, max_file_size=self.max_file_size)
        content = Content(request.blocks, size, root_hash(request.blocks))
        repeatable = self._repeatable(caller.user_id, request, content.root)
        return await self.run(caller, request, lambda _: content, repeatable)

    async def run(
        self,
        caller: Caller,
        request: CommitRequest,
        content: Callable[[Transaction], Content],
        repeatable: Repeatable | None,
    ) -> Committed:
        """Commit what `content` finds in the transaction, in place of the request's blocks.

        It is asked only when the request is new: a repeated one gets its first answer, whatever has become of the file.
        """
        now = self.clock.now()

        def work(tx: Transaction) -> Committed:
            if request.file_id is not None:
                member = file_writer(tx, caller, request.file_id)
            else:
                member = writer(tx, caller, request.namespace)
            if repeatable is not None and (reply := tx.replies.recall(repeatable)):
                return Committed(**json.loads(reply))
            committed = _Commit(request, content(tx), now, self.ids).run(tx, member)
            if repeatable is not None:
                tx.replies.keep(repeatable, json.dumps(asdict(committed)))
            return committed

        return await self.metadata.write(work)

    def _repeatable(self, user: UserId, request: CommitRequest, root: Sha256) -> Repeatable | None:
        if request.idempotency_key is None:
            return None
        path = "/".join(name.text for name in request.path) if request.named else ""
        target = request.file_id or path
        basis = request.basis.base if isinstance(request.basis, OnVersion) else "head"
        asked = [request.namespace, target, basis, root, [block.size for block in request.blocks]]
        return describe_request(
            user, request.idempotency_key, ROUTE, asked, expires_at=self.clock.now() + self.remember
        )


@dataclass(frozen=True)
class _Commit:
    """One commit in its transaction."""

    request: CommitRequest
    content: Content
    now: datetime
    ids: Ids

    def run(self, tx: Transaction, member: Member) -> Committed:
        place = self._find(tx, member.namespace)
        head = place.node.head if place.node else None
        self._check_base(tx, place.node)
        decision = decide_commit(
            head=head, basis=self.request.basis, root=self.content.root, size=self.content.size
        )
        match decision:
            case Unchanged(head=current):
                assert place.node is not None
                return self._answer(place.node.id, place.path, current, unchanged=True)
            case Stale():
                raise VersionConflict(
                    "the file was changed since the version that this is based on", head=_shown(head)
                )
            case Replace():
                return self._write(
                    tx, member, place, decision, self.content.size - (head.size if head else 0)
                )

    def _find(self, tx: Transaction, namespace: NamespaceId) -> "_Spot":
        if self.request.file_id is None:
            return _walk(tx, namespace, self.request.path)
        node = tx.files.node(namespace, self.request.file_id)
        path = tx.files.paths(namespace, [node]).get(node.id) if node else None
        if node is None or path is None or node.kind is not NodeKind.FILE:
            raise FileNotFound("there is no such file")
        return _Spot(path, node, NodeId(namespace), ())

    def _check_base(self, tx: Transaction, node: Node | None) -> None:
        basis = self.request.basis
        if not isinstance(basis, OnVersion) or basis.base == NO_VERSION or node is None:
            return
        if not tx.files.knows_version(node.id, basis.base):
            raise NotFound("base_version is not a version of this file")

    def _write(
        self, tx: Transaction, member: Member, spot: "_Spot", decision: Replace, delta: int
    ) -> Committed:
        usable = tx.blocks.usable(
            member.namespace, sorted({block.sha256 for block in self.content.blocks}), member.user_id
        )
        missing = [b.sha256 for b in self.content.blocks if b.sha256 not in usable]
        if missing:
            raise MissingBlocks(list(dict.fromkeys(missing)))
        for block in self.content.blocks:
            if usable[block.sha256].size != block.size:
                raise Unacceptable(
                    f"block {block.sha256} has {usable[block.sha256].size} bytes, not {block.size}"
                )

        seq = tx.namespaces.advance(member.namespace, delta=delta)
        keys = sorted({found.key for found in usable.values()})
        tx.blocks.keep(keys)
        changes: list[Change] = []
        node_id = spot.node.id if spot.node else self._add_nodes(tx, member, spot, seq, changes)
        version = Version(
            id=VersionId(self.ids.new()),
            number=decision.number,
            size=self.content.size,
            root_hash=self.content.root,
            created_at=self.now,
            modified_at=self.request.modified_at or self.now,
            seq=seq,
        )
        edges = [usable[block.sha256].key for block in self.content.blocks]
        new = NewVersion(version, decision.base, member.user_id, member.device_id, edges)
        if not tx.files.add_version(member.namespace, node_id, new):
            raise VersionConflict("the file was changed meanwhile", head=None)
        kind = ChangeKind.FILE_CHANGED if spot.node else ChangeKind.FILE_CREATED
        changes.append(Change(kind, node_id, version.id, member.device_id))
        tx.journal.record(member.namespace, seq, changes, now=self.now)
        tx.blocks.end_leases(keys, member.user_id)
        return self._answer(node_id, spot.path, version)

    def _add_nodes(
        self, tx: Transaction, member: Member, spot: "_Spot", seq: int, changes: list[Change]
    ) -> NodeId:
        """Make the folders that are missing, then the file; returns the file's id."""
        parent = spot.parent
        for position, name in enumerate(spot.missing):
            last = position == len(spot.missing) - 1
            kind = NodeKind.FILE if last else NodeKind.FOLDER
            node = NodeId(self.ids.new())
            tx.files.add_node(member.namespace, node, parent, kind, name, Place(seq, position))
            if not last:
                changes.append(Change(ChangeKind.FOLDER_CREATED, node, None, member.device_id))
            parent = node
        return parent

    def _answer(self, node: NodeId, path: str, version: Version, *, unchanged: bool = False) -> Committed:
        return Committed(
            node, path, version.id, version.number, version.seq, version.size, version.root_hash, unchanged
        )


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a commit lands: at `node`, or, where that is None, at `missing` names under `parent`."""

    path: str
    node: Node | None
    parent: NodeId
    missing: tuple[Name, ...]


def _walk(tx: Transaction, namespace: NamespaceId, names: tuple[Name, ...]) -> _Spot:
    """Follow `names` from the root; raises NameExists where a file or another spelling stands in the way."""
    path = "/" + "/".join(name.text for name in names)
    parent = NodeId(namespace)
    for depth, name in enumerate(names):
        node = tx.files.child(namespace, parent, name.key)
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
