"""Moving a file to the trash: its versions and their blocks stay until retention lets them go."""

import json
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.accounts import Caller
from shared.domain.errors import FileNotFound
from shared.domain.ids import NodeId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.ports.tables_files import NodeKind
from shared.ports.tables_journal import Change, ChangeKind
from shared.usecases.authority import file_writer
from shared.usecases.repeating import describe_request

ROUTE = "files/delete"


@dataclass(frozen=True)
class DeleteFile:
    metadata: Metadata
    clock: Clock
    remember: timedelta

    async def __call__(self, caller: Caller, file_id: NodeId, *, idempotency_key: str | None = None) -> int:
        """Delete the file and return the seq of the change; raises FileNotFound, also when it is deleted already."""
        now = self.clock.now()
        repeatable = idempotency_key and describe_request(
            caller.user_id, idempotency_key, ROUTE, [file_id], expires_at=now + self.remember
        )

        def work(tx: Transaction) -> int:
            member = file_writer(tx, caller, file_id)
            if repeatable and (reply := tx.replies.recall(repeatable)):
                return int(json.loads(reply))
            node = tx.files.node(member.namespace, file_id)
            if node is None or node.kind is not NodeKind.FILE:
                raise FileNotFound("there is no such file")
            # The trash counts against the quota until it is emptied, so nothing is given back here.
            seq = tx.namespaces.advance(member.namespace, delta=0)
            if not tx.files.delete_node(member.namespace, file_id, seq=seq):
                raise FileNotFound("there is no such file")
            change = Change(ChangeKind.FILE_DELETED, file_id, None, member.device_id)
            tx.journal.record(member.namespace, seq, [change], now=now)
            if repeatable:
                tx.replies.keep(repeatable, json.dumps(seq))
            return seq

        return await self.metadata.write(work)
