"""Small files to the server, many in one request.

A request a file would cost more than the file. So small ones are gathered, and a job of the crew's takes a whole
batch: it finds out what is current at each path, asks which blocks the server lacks, and sends commits and blocks
together. A file that needs more than that (its blocks got lost, its head has moved) is given back, to go the way
of the others.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import msgspec

from client.api import Api
from client.batches import MOST_CONTENT, MOST_FILES, Commit
from client.crew import Crew
from client.errors import BlocksMissing, CommandFailed, HeadMoved
from client.heads import Heads
from client.remote_paths import RemotePath
from client.report import Done, Status
from client.wire import Committed, RemoteFile
from shared.domain.blocks import BlockRef, root_hash

ENOUGH = MOST_CONTENT // 2
"""Bytes of a batch: what fills one blob. Two would be allowed, but reading, sending and storing overlap less then."""

FIRST_CONTENT = ENOUGH // 2
"""Bytes of the first batch: smaller, so that the server has something to do while the next files are read."""


class SmallFile(msgspec.Struct, frozen=True):
    """A file that was read whole: its one block, or none when it is empty.

    `done` is told what became of it, `again` that it has to go the other way; one of them, once, from any thread.
    """

    source: str
    target: RemotePath
    siblings: int
    modified_at: datetime
    blocks: Sequence[BlockRef]
    content: bytes
    done: Callable[[Done], None]
    again: Callable[[], None]


class BatchSender:
    """Takes small files from one thread, and sends them with the crew's."""

    def __init__(
        self, api: Api, crew: Crew, heads: Heads, *, compressing: bool, on_sent: Callable[[int], None]
    ) -> None:
        """`on_sent` is told how many bytes of batches went over the wire, as they went."""
        self._api = api
        self._crew = crew
        self._heads = heads
        self._compressing = compressing
        self._on_sent = on_sent
        self._waiting: list[SmallFile] = []
        self._bytes = 0
        self._enough = FIRST_CONTENT

    def offer(self, file: SmallFile) -> None:
        """Have a file sent, for which the caller holds room."""
        if self._bytes + len(file.content) > self._enough or len(self._waiting) == MOST_FILES:
            self.flush()
            self._enough = ENOUGH
        self._waiting.append(file)
        self._bytes += len(file.content)

    def flush(self) -> None:
        """Send what has been gathered, however little it is."""
        if self._waiting:
            batch, self._waiting, self._bytes = self._waiting, [], 0
            self._crew.submit(partial(self._send, batch))

    def _send(self, batch: list[SmallFile]) -> None:
        wanted: list[tuple[SmallFile, Commit]] = []
        for file in batch:
            try:
                head = self._heads.at(file.target, siblings=file.siblings)
            except CommandFailed as error:
                if error.fatal:
                    raise
                file.done(_failed(file, error))
                continue
            if head and (head.root_hash, head.size_bytes) == (root_hash(file.blocks), len(file.content)):
                file.done(_done(file, "unchanged", head))
            else:
                base = head.version_id if head else None
                wanted.append((file, Commit(str(file.target), base, file.blocks, file.modified_at)))
        if not wanted:
            return
        try:
            results = self._commit([file for file, _ in wanted], [commit for _, commit in wanted])
        except CommandFailed as error:
            if error.fatal:
                raise
            results = [error] * len(wanted)
        for (file, _), result in zip(wanted, results, strict=True):
            match result:
                case BlocksMissing() | HeadMoved():
                    file.again()
                case CommandFailed():
                    if result.fatal:
                        raise result
                    file.done(_failed(file, result))
                case Committed():
                    file.done(_done(file, "unchanged" if result.unchanged else "committed", result))

    def _commit(
        self, files: Sequence[SmallFile], commits: Sequence[Commit]
    ) -> Sequence[Committed | CommandFailed]:
        contents = {block.sha256: file.content for file in files for block in file.blocks}
        if contents:
            missing = self._api.check_blocks(list(contents))
            contents = {sha256: content for sha256, content in contents.items() if sha256 in missing}
        brought = list(contents.values())
        results, sent = self._api.commit_batch(commits, brought, compressing=self._compressing)
        self._on_sent(sent)
        return results


def _done(file: SmallFile, status: Status, at: Committed | RemoteFile) -> Done:
    size = len(file.content)
    return Done(status, file.source, str(file.target), size, at.file_id, at.version_id, at.version)


def _failed(file: SmallFile, error: CommandFailed) -> Done:
    return Done("failed", file.source, str(file.target), size=len(file.content), error=error)
