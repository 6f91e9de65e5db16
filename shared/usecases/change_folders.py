"""Folders made, entries moved and renamed, folders deleted: each one small change, whatever is below."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.domain.errors import FolderCycle, Unacceptable
from shared.domain.ids import NamespaceId, NodeId
from shared.domain.names import Name
from shared.ports.metadata import Transaction
from shared.ports.system import Ids
from shared.ports.tables_files import NewNode, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.usecases.authority import Member, file_writer, writer
from shared.usecases.tree import (
    MOVED,
    TreeWriter,
    living_folder,
    living_node,
    origin_of,
    path_of,
    refuse_changed,
    refuse_taken,
    refuse_too_deep,
)


@dataclass(frozen=True)
class ChangeFolders:
    tree: TreeWriter
    ids: Ids

    async def make(
        self, caller: Caller, namespace: NamespaceId | None, path: tuple[Name, ...], *, key: str | None
    ) -> dict[str, Any]:
        """Make a folder in one that is there; returns {folder_id, path, seq}. Raises NotFound, NameExists."""
        if not path:
            raise Unacceptable("a folder needs a name: the root is there already")

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            parent = living_folder(tx, member.namespace, path[:-1])
            refuse_taken(tx, member.namespace, parent.id, path[-1], None)
            seq = tx.namespaces.advance(member.namespace, delta=0)
            folder = NodeId(self.ids.new())
            new = NewNode(folder, parent.id, NodeKind.FOLDER, path[-1], Place(seq, 0))
            tx.files.add_nodes(member.namespace, [new])
            made = Change(ChangeKind.FOLDER_CREATED, folder, None, member.device_id)
            tx.journal.record(member.namespace, seq, [made], now=self.tree.clock.now())
            return {"folder_id": folder, "path": path_of(tx, member.namespace, folder), "seq": seq}

        return await self.tree.run(
            lambda tx: writer(tx, caller, namespace),
            work,
            user=caller.user_id,
            route="folders/make",
            asked=[namespace, _shown(path)],
            key=key,
        )

    async def move(
        self, caller: Caller, node_id: NodeId, kind: NodeKind, path: tuple[Name, ...], *, key: str | None
    ) -> dict[str, Any]:
        """Give a file or folder another path in its namespace; returns {id, path, seq}.

        The folder that it moves into must be there. Raises NotFound, NameExists, FolderCycle; Unacceptable for the
        root's place, and where what is below would be too deep.
        """
        if not path:
            raise Unacceptable("the root's place can't be taken")

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            ns = member.namespace
            node = living_node(tx, ns, node_id, kind)
            parent = living_folder(tx, ns, path[:-1])
            if tx.files.is_within(ns, parent.id, node.id):
                raise FolderCycle("a folder can't be moved into itself or below itself")
            refuse_taken(tx, ns, parent.id, path[-1], node.id)
            tx.files.move_node(ns, node.id, parent.id, path[-1])
            seq = self.tree.record(tx, member, MOVED[node.kind], node.id, origin=origin_of(node))
            shown = path_of(tx, ns, node.id)
            refuse_too_deep(tx, ns, node.id, shown)
            return {"id": node.id, "path": shown, "seq": seq}

        return await self.tree.run(
            lambda tx: file_writer(tx, caller, node_id),
            work,
            user=caller.user_id,
            route="nodes/move",
            asked=[node_id, kind.value, _shown(path)],
            key=key,
        )

    async def delete(
        self,
        caller: Caller,
        folder_id: NodeId,
        *,
        seen: Mapping[NamespaceId, int] | None = None,
        key: str | None,
    ) -> dict[str, Any]:
        """Move a folder and all that is under it to the trash; returns {id, seq}.

        Raises NotFound, PreconditionFailed as `refuse_changed`.
        """

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            node = living_node(tx, member.namespace, folder_id, NodeKind.FOLDER)
            refuse_changed(tx, member, folder_id, seen)
            seq = self.tree.record(tx, member, ChangeKind.FOLDER_DELETED, node.id)
            tx.files.delete_node(member.namespace, node.id, seq=seq)
            return {"id": node.id, "seq": seq}

        return await self.tree.run(
            lambda tx: file_writer(tx, caller, folder_id),
            work,
            user=caller.user_id,
            route="folders/delete",
            asked=[folder_id],
            key=key,
        )


def _shown(path: tuple[Name, ...]) -> str:
    return "/" + "/".join(name.text for name in path)
