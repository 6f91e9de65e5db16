"""Old versions of a file: listing them, and making one current again without moving a byte."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.accounts import Caller
from shared.domain.blocks import BlockRef
from shared.domain.ids import NodeId, VersionId
from shared.domain.versions import OnHead, Version
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_namespaces import Repeatable
from shared.usecases.commit_file import CommitFile
from shared.usecases.drafting import CommitRequest, Committed, Content
from shared.usecases.get_file import find_file
from shared.usecases.repeating import describe_request


@dataclass(frozen=True)
class UseVersions:
    metadata: Metadata
    commit_file: CommitFile

    async def page(
        self, caller: Caller, file_id: NodeId, *, before: int | None, limit: int
    ) -> Sequence[Version]:
        """The file's versions that still have their content, newest first, from numbers below `before`.

        Raises FileNotFound.
        """

        def work(tx: Transaction) -> Sequence[Version]:
            file = find_file(tx, caller, file_id, None)
            return tx.files.versions(file.namespace, file_id, before=before, limit=limit)

        return await self.metadata.read(work)

    async def restore(
        self, caller: Caller, file_id: NodeId, version: VersionId, *, idempotency_key: str | None
    ) -> Committed:
        """Make a new version with the content of `version`; raises FileNotFound, and what a commit raises."""

        def content(tx: Transaction) -> Content:
            file = find_file(tx, caller, file_id, version)
            blocks = [BlockRef(b.sha256, b.size) for b in tx.blocks.of_version(file.namespace, version)]
            return Content(blocks, file.version.size, file.version.root_hash)

        repeatable: Repeatable | None = None
        if idempotency_key is not None:
            until = self.commit_file.clock.now() + self.commit_file.remember
            repeatable = describe_request(
                caller.user_id, idempotency_key, "versions/restore", [file_id, version], expires_at=until
            )
        request = CommitRequest(basis=OnHead(), blocks=[], file_id=file_id)
        return await self.commit_file.run(caller, request, content, repeatable)
