"""Many small files in one request: their blocks share blobs, their commits a transaction.

What is wrong with one file is its own result and hurts no other. A block that no file lists is left out: either it was
damaged on its way, and then the file that it belongs to misses it, or nobody wants it.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.domain.accounts import Caller
from shared.domain.blocks import Sha256
from shared.domain.codecs import Codec
from shared.domain.errors import StrataError, Unavailable
from shared.domain.ids import NamespaceId
from shared.ports.metadata import Transaction
from shared.ports.tables_namespaces import Repeatable
from shared.usecases.admit_block import AdmitBlock, Examined, examine
from shared.usecases.authority import writer
from shared.usecases.commit_file import CommitFile, asked_of
from shared.usecases.drafting import CommitRequest, Committed, Content, Draft
from shared.usecases.repeating import describe_request

ROUTE = "files/batch"


@dataclass(frozen=True, slots=True)
class Batch:
    """Commits in one namespace, and plain contents of blocks that they list.

    In the place of a commit that can't even be asked for stands what is wrong with it.
    """

    commits: Sequence[CommitRequest | StrataError]
    contents: Sequence[bytes]
    namespace: NamespaceId | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one file was not committed, as its error would say it: `code`, `title`, the message, the members."""

    code: str
    title: str
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: StrataError) -> "Refusal":
        return cls(error.code, error.title, str(error), dict(error.members()))


Result = Committed | Refusal


@dataclass(frozen=True)
class CommitBatch:
    admit_block: AdmitBlock
    commit_file: CommitFile

    async def __call__(self, caller: Caller, batch: Batch) -> Sequence[Result]:
        """A result for each commit, in order.

        Raises TooLarge or Unacceptable for a block that can't be one, QuotaExceeded when the new blocks don't fit,
        KeyReused, Unavailable, and what `writer` raises; then nothing is committed.
        """
        results: list[Result | None] = []
        wanted: list[tuple[int, CommitRequest, Content]] = []
        for index, request in enumerate(batch.commits):
            try:
                if isinstance(request, StrataError):
                    raise request
                wanted.append((index, request, self.commit_file.content_of(request)))
                results.append(None)
            except StrataError as error:
                results.append(Refusal.of(error))
        listed = {block.sha256 for _, request, _ in wanted for block in request.blocks}
        blocks = await asyncio.to_thread(_examine_all, batch.contents, listed)
        written = await self.admit_block.write(
            lambda tx: writer(tx, caller, batch.namespace), blocks, reserved=False
        )
        now = self.commit_file.clock.now()
        repeatable = self._repeatable(caller, batch, wanted)

        def work(tx: Transaction) -> list[Result]:
            member = writer(tx, caller, batch.namespace)
            if repeatable is not None and (reply := tx.replies.recall(repeatable)):
                return [_recalled(one) for one in json.loads(reply)]
            placed = self.admit_block.place(tx, member.namespace, written)
            draft = Draft(tx, member, now=now, ids=self.commit_file.ids)
            draft.admitted(placed)
            draft.foresee((request, content) for _, request, content in wanted)
            done = list(results)
            for index, request, content in wanted:
                done[index] = _attempt(draft, request, content)
            referred = draft.write()
            # A file that was refused may be sent again, and should find its blocks.
            left = {sha256: block for sha256, block in placed.items() if sha256 not in referred}
            self.admit_block.hold(tx, member, left)
            answer = [one for one in done if one is not None]
            if repeatable is not None:
                tx.replies.keep(repeatable, msgspec.json.encode(answer).decode())
            return answer

        return await self.commit_file.metadata.write(work)

    def _repeatable(
        self, caller: Caller, batch: Batch, wanted: Sequence[tuple[int, CommitRequest, Content]]
    ) -> Repeatable | None:
        if batch.idempotency_key is None:
            return None
        until = self.commit_file.clock.now() + self.commit_file.remember
        asked = [
            batch.namespace,
            len(batch.commits),
            *([index, *asked_of(request, content.root)] for index, request, content in wanted),
        ]
        return describe_request(caller.user_id, batch.idempotency_key, ROUTE, asked, expires_at=until)


def _attempt(draft: Draft, request: CommitRequest, content: Content) -> Result:
    try:
        return draft.add(request, content)
    except Unavailable:
        raise
    except StrataError as error:
        return Refusal.of(error)


def _examine_all(contents: Sequence[bytes], listed: set[Sha256]) -> list[Examined]:
    found: dict[Sha256, Examined] = {}
    for content in contents:
        block = examine(content, Codec.NONE, None)
        if block.ref.sha256 in listed:
            found.setdefault(block.ref.sha256, block)
    return list(found.values())


def _recalled(kept: dict[str, Any]) -> Result:
    return Committed(**kept) if "version_id" in kept else Refusal(**kept)
