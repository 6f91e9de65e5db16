"""A whole file in one request: cut into blocks, the missing ones admitted side by side, then committed.

Nothing here is a second way in: the blocks go through `AdmitBlock` and the version through `CommitFile`.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from shared.domain.accounts import Caller
from shared.domain.blocks import BlockRef, Sha256, hash_of
from shared.domain.cutting import cut_buffer
from shared.domain.errors import MissingBlocks
from shared.domain.ids import NamespaceId
from shared.domain.names import Name
from shared.domain.versions import OnHead
from shared.usecases.admit_block import AdmitBlock, CheckBlocks, check_room
from shared.usecases.authority import writer
from shared.usecases.commit_file import CommitFile
from shared.usecases.drafting import CommitRequest, Committed
from shared.usecases.side_by_side import gathered

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Upload:
    """A file's bytes and where they go; `on_head` holds the conditions that the client made.

    `named` is False when the path was made up for the client.
    """

    content: bytes
    path: tuple[Name, ...]
    on_head: OnHead
    namespace: NamespaceId | None = None
    modified_at: datetime | None = None
    idempotency_key: str | None = None
    named: bool = True


@dataclass(frozen=True)
class UploadFile:
    admit_block: AdmitBlock
    check_blocks: CheckBlocks
    commit_file: CommitFile

    async def __call__(self, caller: Caller, upload: Upload) -> Committed:
        """Raises what `AdmitBlock` and `CommitFile` raise; a path that is taken gets a new version."""
        cut = await asyncio.to_thread(_cut, upload.content)
        refs = [ref for ref, _ in cut]
        by_hash = {ref.sha256: view for ref, view in cut}
        commit = CommitRequest(
            basis=upload.on_head,
            blocks=refs,
            path=upload.path,
            namespace=upload.namespace,
            modified_at=upload.modified_at,
            idempotency_key=upload.idempotency_key,
            named=upload.named,
        )
        missing = await self.check_blocks(caller, upload.namespace, list(by_hash))
        if len(missing) > 1:
            await self._check_room(caller, upload.namespace, sum(len(by_hash[sha256]) for sha256 in missing))
        for attempt in range(1, _TRIES + 1):
            await self._admit(caller, upload.namespace, [by_hash[sha256] for sha256 in missing])
            try:
                return await self.commit_file(caller, commit)
            except MissingBlocks as error:
                # The last version that had a block was purged between the check and the commit.
                if attempt == _TRIES:
                    raise
                missing = [Sha256(sha256) for sha256 in error.missing]
        raise AssertionError("the last try returns or raises")

    async def _check_room(self, caller: Caller, namespace: NamespaceId | None, size: int) -> None:
        """Raise QuotaExceeded before the first block: those that fit would take up room until their leases end."""
        now = self.admit_block.clock.now()
        await self.admit_block.metadata.write(
            lambda tx: check_room(tx, writer(tx, caller, namespace), size, now=now)
        )

    async def _admit(self, caller: Caller, namespace: NamespaceId | None, views: list[memoryview]) -> None:
        async def admit(view: memoryview) -> None:
            await self.admit_block(caller, namespace, bytes(view))

        await gathered(partial(admit, view) for view in views)


def _cut(content: bytes) -> list[tuple[BlockRef, memoryview]]:
    return [(BlockRef(hash_of(view), len(view)), view) for view in cut_buffer(content)]
