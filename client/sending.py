"""`strata up`: local files become the content of remote paths.

The caller's thread walks, reads, cuts and hashes, each file once; the crew asks, sends and commits behind it.
A file is committed when all its blocks have arrived and it still is what it was when reading began. Many small
files are under way at once, so that none waits for the answers about another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from client.api import Api
from client.batch_sending import BatchSender, SmallFile
from client.block_claims import Claim, Claims
from client.block_putting import BlockPutter
from client.block_sending import BlockSender, Route
from client.crew import Crew
from client.direct_sending import DirectRoute
from client.errors import BlocksMissing, CommandFailed, Conflicting, HeadMoved, LocalProblem
from client.gateway_sending import GatewayRoute
from client.heads import Heads
from client.reading import Identity, Reading, read_again, read_block
from client.remote_paths import RemotePath
from client.report import Done, Report, Status
from client.sources import Found, LocalFile, PassedOver
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from shared.domain.cutting import MIN_SIZE, cut_stream

READ_TRIES = 3
"""How often a file that changes while it is read is read in all."""

COMMIT_TRIES = 4
"""How often a commit is made whose blocks the server turns out to lack."""

FILE_COST = 16 * 1024
"""Bytes of room that a file takes from its first byte to its commit, so that the readers' lead is bounded."""


@dataclass(slots=True)
class _Attempt:
    """One reading of a file. `open_ends` are its blocks that haven't settled, and one for the reading itself."""

    source: Path | None
    target: RemotePath
    siblings: int
    modified_at: datetime
    identity: Identity | None = None
    blocks: list[BlockRef] = field(default_factory=list)
    size: int = 0
    open_ends: int = 1
    bytes_counted: int = 0
    error: CommandFailed | None = None
    abandoned: bool = False


class Sender:
    """Sends files one after the other with a crew; what became of each goes to `report`."""

    def __init__(
        self,
        api: Api,
        crew: Crew,
        report: Report,
        *,
        compressing: bool,
        force: bool,
        direct: BlockPutter | None = None,
    ) -> None:
        """Blocks go straight into storage with `direct`, and through the gateway without."""
        self._api = api
        self._crew = crew
        self._report = report
        self._force = force
        claims = Claims(crew)
        self._gateway = GatewayRoute(api, crew, claims, compressing=compressing, on_sent=report.sent)
        route: Route = self._gateway
        if direct:
            route = DirectRoute(
                api, crew, claims, self._gateway, direct, on_sent=report.sent, remark=report.remark
            )
        self._blocks = BlockSender(api, crew, claims, route)
        self._heads = Heads(api)
        # With --direct no content is to pass the gateway, and a batch does.
        self._batches = (
            None
            if direct
            else BatchSender(api, crew, self._heads, compressing=compressing, on_sent=report.sent)
        )
        self._lock = Lock()

    def send_all(self, found: Iterable[Found], *, tree: RemotePath | None = None) -> None:
        """Begin to send what was found, which goes below the folder `tree` if there is one; raises the failure
        that ended the run. Files are under way until `finish` returns."""
        if tree:
            self._heads.look_at(tree)
        for one in found:
            if isinstance(one, PassedOver):
                self._report.pass_over(str(one.path), one.reason, one.error)
            else:
                self._send_file(one)

    def finish(self) -> None:
        """Return when everything is committed; raises the failure that ended the run."""
        if self._batches:
            self._batches.flush()
        self._blocks.flush()
        self._crew.drain()

    def send_stream(self, stream: BinaryIO, target: RemotePath) -> None:
        """Send what `stream` holds. It can't be read twice: a block that gets lost on the server is an error."""
        self._hold(FILE_COST)
        attempt = _Attempt(None, target, 1, datetime.now(UTC))
        try:
            for content in cut_stream(stream):
                self._offer(attempt, BlockRef(hash_of(content), len(content)), content)
        except OSError as error:
            raise LocalProblem(f"standard input: {error.strerror}", code="unreadable") from None
        self._close_end(attempt)

    def _send_file(self, file: LocalFile) -> None:
        self._hold(FILE_COST)
        for _ in range(READ_TRIES):
            try:
                if self._read(file):
                    return
            except LocalProblem as error:
                self._finish(Done("failed", str(file.path), str(file.target), error=error))
                return
        torn = LocalProblem(f"{file.path}: it changed while it was read, {READ_TRIES} times", code="changed")
        self._finish(Done("failed", str(file.path), str(file.target), error=torn))

    def _read(self, file: LocalFile) -> bool:
        """Read a file once and have it sent; False when it has changed meanwhile and nothing will come of it."""
        with Reading(file.path, self._crew.stop) as reading:
            identity = reading.identity
            attempt = _Attempt(file.path, file.target, file.siblings, identity.modified_at, identity)
            if self._batches and identity.size <= MIN_SIZE:
                return self._read_small(self._batches, reading, attempt)
            try:
                for ref, content in reading.blocks():
                    self._offer(attempt, ref, content)
            except LocalProblem:
                self._abandon(attempt)
                raise
            if reading.unchanged() and attempt.size == identity.size:
                self._close_end(attempt)
                return True
        self._abandon(attempt)
        return False

    def _read_small(self, batches: BatchSender, reading: Reading, attempt: _Attempt) -> bool:
        """As `_read`, for a file that is one block at most, and goes in a batch."""
        cut = list(reading.blocks())
        content = b"".join(piece for _, piece in cut)
        if len(content) != reading.identity.size or not reading.unchanged():
            return False
        attempt.blocks = [ref for ref, _ in cut]
        attempt.size = len(content)
        # A file of that size costs no more than what is held for it anyway.
        more = max(0, attempt.size - FILE_COST)
        self._hold(more)

        def done(outcome: Done) -> None:
            self._crew.release(more)
            self._count(attempt, attempt.size)
            self._finish(outcome)

        def again() -> None:
            self._crew.release(more)
            self._count(attempt, attempt.size)
            self._crew.submit(partial(self._conclude, attempt))

        batches.offer(
            SmallFile(
                str(attempt.source),
                attempt.target,
                attempt.siblings,
                attempt.modified_at,
                attempt.blocks,
                content,
                done,
                again,
            )
        )
        return True

    def _hold(self, units: int) -> None:
        """Take room of the crew's; what waits here for more company is sent off first, or it would wait forever."""
        if not self._crew.try_hold(units):
            if self._batches:
                self._batches.flush()
            self._blocks.hold(units)

    def _offer(self, attempt: _Attempt, ref: BlockRef, content: bytes) -> None:
        offset = attempt.size
        attempt.blocks.append(ref)
        attempt.size += ref.size
        with self._lock:
            attempt.open_ends += 1
        claim = Claim(
            settled=partial(self._block_settled, attempt),
            gone=partial(self._count, attempt, ref.size),
            again=partial(read_block, attempt.source, attempt.identity, ref, offset)
            if attempt.source and attempt.identity
            else None,
        )
        self._blocks.offer(ref, content, claim)

    def _count(self, attempt: _Attempt, size: int) -> None:
        with self._lock:
            if not attempt.abandoned:
                attempt.bytes_counted += size
                self._report.advance(size)

    def _block_settled(self, attempt: _Attempt, error: CommandFailed | None) -> None:
        with self._lock:
            attempt.error = attempt.error or error
        self._close_end(attempt)

    def _close_end(self, attempt: _Attempt) -> None:
        with self._lock:
            attempt.open_ends -= 1
            ready = attempt.open_ends == 0 and not attempt.abandoned
        if ready:
            self._crew.submit(partial(self._conclude, attempt), urgent=True)

    def _abandon(self, attempt: _Attempt) -> None:
        with self._lock:
            attempt.abandoned = True
            self._report.advance(-attempt.bytes_counted)

    def _conclude(self, attempt: _Attempt) -> None:
        source, target = str(attempt.source or "-"), str(attempt.target)
        try:
            if attempt.error:
                raise attempt.error
            done = self._commit(attempt)
        except CommandFailed as error:
            if error.fatal:
                raise
            done = Done("failed", source, target, size=attempt.size, error=error)
        self._finish(done)

    def _commit(self, attempt: _Attempt) -> Done:
        source, path = str(attempt.source or "-"), str(attempt.target)
        head = self._heads.at(attempt.target, siblings=attempt.siblings)
        if head and (head.root_hash, head.size_bytes) == (root_hash(attempt.blocks), attempt.size):
            return Done("unchanged", source, path, attempt.size, head.file_id, head.version_id, head.version)
        base = head.version_id if head else None
        may_rebase = self._force
        for left in reversed(range(COMMIT_TRIES)):
            try:
                answer = self._api.commit(path, base, attempt.blocks, attempt.modified_at)
            except BlocksMissing as error:
                if not left:
                    raise
                self._send_again(attempt, frozenset(error.missing))
            except HeadMoved as error:
                if not may_rebase or not left:
                    raise Conflicting(
                        f"{path} has changed on the server meanwhile: look at it with `strata ls`, then use "
                        "--force to put your content on top (the other one stays as an older version)",
                        code=error.code,
                    ) from None
                base, may_rebase = error.head, False
            else:
                status: Status = "unchanged" if answer.unchanged else "committed"
                return Done(
                    status, source, path, attempt.size, answer.file_id, answer.version_id, answer.version
                )
        raise AssertionError("the last try returns or raises")

    def _send_again(self, attempt: _Attempt, missing: frozenset[str]) -> None:
        if attempt.source is None or attempt.identity is None:
            raise Conflicting(
                "the server lacks blocks that it had, and standard input can't be read twice: run it again",
                code="missing_blocks",
            )
        wanted: dict[Sha256, tuple[int, int]] = {}
        offset = 0
        for block in attempt.blocks:
            if block.sha256 in missing:
                wanted.setdefault(block.sha256, (offset, block.size))
            offset += block.size
        for sha256, content in read_again(attempt.source, attempt.identity, wanted):
            self._gateway.send(BlockRef(sha256, len(content)), content)

    def _finish(self, done: Done) -> None:
        self._crew.release(FILE_COST)
        self._report.file(done)
