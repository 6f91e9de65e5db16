"""Moving a file to the trash: its versions and their blocks stay until retention lets them go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.domain.errors import FileNotFound
from shared.domain.ids import NamespaceId, NodeId
from shared.ports.metadata import Transaction
from shared.ports.tables_files import NodeKind
from shared.ports.tables_journal import ChangeKind
from shared.usecases.authority import Member, file_writer
from shared.usecases.tree import TreeWriter, refuse_changed


@dataclass(frozen=True)
class DeleteFile:
    tree: TreeWriter

    async def __call__(
        self,
        caller: Caller,
        file_id: NodeId,
        *,
        seen: Mapping[NamespaceId, int] | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Delete the file and return the seq of the change.

        Raises FileNotFound, also when it is deleted already, PreconditionFailed as `refuse_changed`.
        """

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            node = tx.files.node(member.namespace, file_id)
            if node is None or node.kind is not NodeKind.FILE or not tx.files.paths(member.namespace, [node]):
                raise FileNotFound("there is no such file")
            refuse_changed(tx, member, file_id, seen)
            # The trash counts against the quota until it is emptied, so nothing is given back here.
            seq = self.tree.record(tx, member, ChangeKind.FILE_DELETED, file_id)
            if not tx.files.delete_node(member.namespace, file_id, seq=seq):
                raise FileNotFound("there is no such file")
            return {"seq": seq}

        done = await self.tree.run(
            lambda tx: file_writer(tx, caller, file_id),
            work,
            user=caller.user_id,
            route="files/delete",
            asked=[file_id],
            key=idempotency_key,
        )
        return int(done["seq"])
