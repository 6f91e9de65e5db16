"""Making content the current version of a file: one transaction, all or nothing."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

from shared.domain.accounts import Caller
from shared.domain.blocks import Sha256, check_manifest
from shared.domain.ids import UserId
from shared.domain.versions import OnVersion
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_namespaces import Repeatable
from shared.usecases.authority import file_writer, writer
from shared.usecases.drafting import CommitRequest, Committed, Content, Draft
from shared.usecases.repeating import describe_request

ROUTE = "files/commit"


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
        content = self.content_of(request)
        repeatable = self._repeatable(caller.user_id, request, content.root)
        return await self.run(caller, request, lambda _: content, repeatable)

    def content_of(self, request: CommitRequest) -> Content:
        """The content that a request states; raises what `check_manifest` raises."""
        size = check_manifest(request.blocks, max_file_size=self.max_file_size)
        return Content.of(request.blocks, size)

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
            found = content(tx)
            draft = Draft(tx, member, now=now, ids=self.ids)
            committed = draft.add(request, found)
            draft.write()
            if repeatable is not None:
                tx.replies.keep(repeatable, json.dumps(asdict(committed)))
            return committed

        return await self.metadata.write(work)

    def _repeatable(self, user: UserId, request: CommitRequest, root: Sha256) -> Repeatable | None:
        if request.idempotency_key is None:
            return None
        until = self.clock.now() + self.remember
        return describe_request(
            user, request.idempotency_key, ROUTE, asked_of(request, root), expires_at=until
        )


def asked_of(request: CommitRequest, root: Sha256) -> list[object]:
    """What makes two commits the same request, as JSON values."""
    path = "/".join(name.text for name in request.path) if request.named else ""
    target = request.file_id or path
    basis = request.basis.base if isinstance(request.basis, OnVersion) else "head"
    return [request.namespace, target, basis, root, [block.size for block in request.blocks]]
