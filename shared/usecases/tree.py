"""Writing to a namespace's tree: what every change of it has in common.

A change locks the namespace, gives a repeated request its first answer, does its work, and leaves one journal entry
under the next seq. Whatever the size of what is below, it touches one node.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.domain.errors import NameExists, NotFound, PreconditionFailed, Unacceptable
from shared.domain.ids import NamespaceId, NodeId, UserId
from shared.domain.names import MAX_DEPTH, Name
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.ports.tables_files import Node, NodeKind
from shared.ports.tables_journal import Change, ChangeKind, Origin
from shared.ports.tables_namespaces import Repeatable
from shared.usecases.authority import Member
from shared.usecases.repeating import describe_request

DELETED = {NodeKind.FILE: ChangeKind.FILE_DELETED, NodeKind.FOLDER: ChangeKind.FOLDER_DELETED}
MOVED = {NodeKind.FILE: ChangeKind.FILE_MOVED, NodeKind.FOLDER: ChangeKind.FOLDER_MOVED}
PURGED = {NodeKind.FILE: ChangeKind.FILE_PURGED, NodeKind.FOLDER: ChangeKind.FOLDER_PURGED}
RESTORED = {NodeKind.FILE: ChangeKind.FILE_RESTORED, NodeKind.FOLDER: ChangeKind.FOLDER_RESTORED}
"""What the journal calls it when a file or a folder meets this."""


@dataclass(frozen=True)
class TreeWriter:
    """Runs one change; `remember` is how long its answer is kept for a repetition."""

    metadata: Metadata
    clock: Clock
    remember: timedelta

    async def run(
        self,
        authorize: Callable[[Transaction], Member],
        work: Callable[[Transaction, Member], dict[str, Any]],
        *,
        user: UserId,
        route: str,
        asked: list[object],
        key: str | None,
    ) -> dict[str, Any]:
        """What `work` returns (JSON values), or returned when the same request with the same `key` came before."""
        repeatable: Repeatable | None = None
        if key is not None:
            repeatable = describe_request(
                user, key, route, asked, expires_at=self.clock.now() + self.remember
            )

        def once(tx: Transaction) -> dict[str, Any]:
            member = authorize(tx)
            if repeatable is not None and (reply := tx.replies.recall(repeatable)):
                before: dict[str, Any] = json.loads(reply)
                return before
            result = work(tx, member)
            if repeatable is not None:
                tx.replies.keep(repeatable, json.dumps(result))
            return result

        return await self.metadata.write(once)

    def record(
        self,
        tx: Transaction,
        member: Member,
        kind: ChangeKind,
        node: NodeId,
        *,
        delta: int = 0,
        origin: Origin | None = None,
    ) -> int:
        """Append the change to the journal; returns its seq. `delta` is added to the bytes used."""
        seq = tx.namespaces.advance(member.namespace, delta=delta)
        change = Change(kind, node, None, member.device_id, origin)
        tx.journal.record(member.namespace, seq, [change], now=self.clock.now())
        return seq


def living_folder(tx: Transaction, namespace: NamespaceId, path: tuple[Name, ...]) -> Node:
    """The folder at `path`; raises NotFound."""
    node = tx.files.node(namespace, NodeId(namespace))
    for name in path:
        node = tx.files.child(namespace, node.id, name.key) if node else None
    if node is None or node.kind is not NodeKind.FOLDER:
        shown = "/" + "/".join(name.text for name in path)
        raise NotFound(f"there is no folder {shown}")
    return node


def path_of(tx: Transaction, namespace: NamespaceId, node_id: NodeId) -> str:
    """The path of a living node as it is stored, however the caller spelled the folders; raises NotFound."""
    node = tx.files.node(namespace, node_id)
    path = tx.files.paths(namespace, [node]).get(node_id) if node else None
    if path is None:
        raise NotFound("there is no such entry")
    return path


def refuse_too_deep(tx: Transaction, namespace: NamespaceId, node_id: NodeId, path: str) -> None:
    """Raise Unacceptable when something at or below the node, at `path` now, is deeper than a path can name.

    Otherwise branches moved below branches would grow without end, and each way up with them.
    """
    if path.count("/") + tx.files.height(namespace, node_id, most=MAX_DEPTH) > MAX_DEPTH:
        raise Unacceptable(f"there would be a path of more than {MAX_DEPTH} names")


def refuse_taken(
    tx: Transaction, namespace: NamespaceId, parent: NodeId, name: Name, mover: NodeId | None
) -> None:
    """Raise NameExists when an entry other than `mover` has the name in the folder."""
    there = tx.files.child(namespace, parent, name.key)
    if there is not None and there.id != mover:
        raise NameExists(f"{there.name!r} is in this folder already", entry=there.name, kind=there.kind.value)


MOST_TOUCHED = 10_000
"""Changes that a precondition looks through, each a way up the tree; behind more it is taken for broken."""


def refuse_changed(
    tx: Transaction, member: Member, node_id: NodeId, seen: Mapping[NamespaceId, int] | None
) -> None:
    """Raise PreconditionFailed when something at or below the node was changed since `seen`, by whatever device.

    `seen` says how far the caller has read each namespace's journal; None makes no condition. The namespace is locked.
    """
    if seen is None:
        return
    ns = member.namespace
    touched = tx.journal.touched(ns, seq=seen.get(ns, 0), limit=MOST_TOUCHED)
    if len(touched) == MOST_TOUCHED or any(tx.files.is_within(ns, node, node_id) for node in set(touched)):
        raise PreconditionFailed("it was changed since: look at it again")


def living_node(tx: Transaction, namespace: NamespaceId, node_id: NodeId, kind: NodeKind | None) -> Node:
    """The node, if it is of `kind` and in the tree; raises NotFound, for the root too."""
    node = tx.files.node(namespace, node_id)
    if node is None or node.parent is None or (kind is not None and node.kind is not kind):
        raise NotFound("there is no such entry")
    if not tx.files.is_living(namespace, node.parent):
        raise NotFound("there is no such entry")
    return node


def origin_of(node: Node) -> Origin | None:
    """Where a node is, before it gets another place; None for a root, which has none."""
    return Origin(node.parent, node.name) if node.parent is not None else None
