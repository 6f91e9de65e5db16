"""The trash: what is in it, bringing things back, and letting them go for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.domain.errors import Forbidden, NotFound, Unacceptable
from shared.domain.ids import NamespaceId, NodeId
from shared.domain.names import Name, parse_name
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_trash import Trashed
from shared.usecases.authority import Member, file_writer, reader
from shared.usecases.tree import (
    PURGED,
    RESTORED,
    TreeWriter,
    living_folder,
    origin_of,
    path_of,
    refuse_taken,
    refuse_too_deep,
)


@dataclass(frozen=True)
class UseTrash:
    metadata: Metadata
    tree: TreeWriter

    async def page(
        self, caller: Caller, namespace: NamespaceId | None, *, before: int | None, limit: int
    ) -> Sequence[Trashed]:
        """What was deleted, newest first, from deletions below seq `before`."""

        def work(tx: Transaction) -> Sequence[Trashed]:
            return tx.trash.page(reader(tx, caller, namespace).namespace, before=before, limit=limit)

        return await self.metadata.read(work)

    async def restore(
        self, caller: Caller, node_id: NodeId, *, path: tuple[Name, ...] | None, key: str | None
    ) -> dict[str, Any]:
        """Bring a file, or a folder with all that went with it, back; returns {id, path, seq}.

        To `path`, by default where it was. Raises NotFound when it is not in the trash or its folder is gone,
        NameExists when its name is taken meanwhile: then give another path. Raises Unacceptable for the root's path,
        and where what is below would be too deep.
        """
        if path is not None and not path:
            raise Unacceptable("the root's place can't be taken")

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            ns = member.namespace
            trashed = _in_trash(tx, ns, node_id)
            name = path[-1] if path else parse_name(trashed.node.name)
            parent = living_folder(tx, ns, path[:-1]).id if path else trashed.node.parent
            if parent is None or not tx.files.is_living(ns, parent):
                raise NotFound("the folder that it was in is gone; give a path to restore it to")
            refuse_taken(tx, ns, parent, name, None)
            tx.trash.restore(ns, node_id, parent, name)
            origin = origin_of(trashed.node)
            seq = self.tree.record(tx, member, RESTORED[trashed.node.kind], node_id, origin=origin)
            back = path_of(tx, ns, node_id)
            refuse_too_deep(tx, ns, node_id, back)
            return {"id": node_id, "path": back, "seq": seq}

        shown = "/".join(name.text for name in path) if path else None
        return await self.tree.run(
            lambda tx: file_writer(tx, caller, node_id),
            work,
            user=caller.user_id,
            route="trash/restore",
            asked=[node_id, shown],
            key=key,
        )

    async def purge(self, caller: Caller, node_id: NodeId, *, key: str | None) -> dict[str, Any]:
        """Let go of something in the trash for good; returns {files, bytes, seq}. Raises NotFound, Forbidden.

        Only an owner may: what is purged can't be brought back.
        """

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            role = tx.namespaces.role(member.namespace, member.user_id)
            if role is None or not role.may_purge:
                raise Forbidden("only an owner may empty the trash")
            trashed = _in_trash(tx, member.namespace, node_id)
            purged = tx.trash.purge(member.namespace, node_id, now=self.tree.clock.now())
            seq = self.tree.record(tx, member, PURGED[trashed.node.kind], node_id, delta=-purged.size)
            return {"files": purged.files, "bytes": purged.size, "seq": seq}

        return await self.tree.run(
            lambda tx: file_writer(tx, caller, node_id),
            work,
            user=caller.user_id,
            route="trash/purge",
            asked=[node_id],
            key=key,
        )


def _in_trash(tx: Transaction, namespace: NamespaceId, node_id: NodeId) -> Trashed:
    trashed = tx.trash.get(namespace, node_id)
    if trashed is None:
        raise NotFound("there is no such entry in the trash")
    return trashed
