"""Contents to the server: only blocks that it lacks, small files many in a request.

The scan has read and cut the files already, so what an upload needs to know is their blocks; the bytes are read
again for those blocks only that travel, and each is checked by its hash on its way. A file must have the same
marks before and after, or it isn't committed: what was planned is sent, or nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

import msgspec

from client.api import MOST_HASHES, Api
from client.batch_sending import ENOUGH
from client.batches import MOST_FILES, Commit
from client.crew import Crew
from client.errors import BlocksMissing, CommandFailed, Conflicting, LocalProblem, NotThere
from client.gateway_sending import grouped, send_blocks
from client.reading import Identity, read_again
from client.sync.actions import Upload
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Blocks, Manifests
from client.sync.trees import Fingerprint
from client.wire import Committed
from shared.domain.blocks import BlockRef, Sha256
from shared.domain.cutting import MIN_SIZE

COMMIT_TRIES = 4
"""How often a commit is made whose blocks the server turns out to lack."""


ASKED_FROM = 256
"""Bytes: a smaller block is sent without asking whether the server has it, since the question costs as much."""

QUOTA = "quota_exceeded"
"""A wall for everything that goes up, while what comes down may go on."""

Outcome = Committed | CommandFailed | Outdated
Done = Callable[[Upload, Outcome], None]
"""Told once what became of an upload, from any thread."""


class _Outgoing(msgspec.Struct):
    """One file under way. `open_ends` are its blocks that haven't arrived, and one for the beginning itself."""

    action: Upload
    path: Path
    identity: Identity
    blocks: Blocks
    lock: Lock = msgspec.field(default_factory=Lock)
    open_ends: int = 1
    error: CommandFailed | None = None

    def commit(self) -> Commit:
        action = self.action
        path = "/" + "/".join(action.remote_path)
        return Commit(path, action.base_version, self.blocks, self.identity.modified_at, action.node_id)

    def check(self) -> None:
        """Raise Outdated unless the file is what it was."""
        try:
            same = Identity.of(self.path.lstat()) == self.identity
        except OSError:
            same = False
        if not same:
            raise Outdated(f"{self.path} has changed since it was looked at")


class Uploader:
    """Gets the contents of files to the server with a crew's threads."""

    def __init__(
        self,
        api: Api,
        crew: Crew,
        folder: LocalFolder,
        manifests: Manifests,
        *,
        compressing: bool,
        done: Done,
        on_bytes: Callable[[int], None],
        on_sent: Callable[[int], None],
    ) -> None:
        """`on_bytes` is told how many bytes of files are settled, `on_sent` how many went over the wire for blocks."""
        self._api = api
        self._crew = crew
        self._folder = folder
        self._manifests = manifests
        self._compressing = compressing
        self._done = done
        self._on_bytes = on_bytes
        self._on_sent = on_sent
        self._lock = Lock()
        self._waiting: dict[Sha256, list[_Outgoing]] = {}
        self._wall: CommandFailed | None = None

    def put_all(self, actions: Iterable[Upload]) -> None:
        """Begin all uploads; each is told to `done`. Small ones are gathered into batches."""
        small: list[_Outgoing] = []
        size = 0
        for action in actions:
            try:
                outgoing = self._open(action)
            except (CommandFailed, Outdated) as error:
                self._done(action, error)
                continue
            if action.content.size > MIN_SIZE:
                self._crew.submit(partial(self._begin, outgoing))
                continue
            if size + action.content.size > ENOUGH or len(small) == MOST_FILES:
                self._crew.submit(partial(self._send_batch, small))
                small, size = [], 0
            small.append(outgoing)
            size += action.content.size
        if small:
            self._crew.submit(partial(self._send_batch, small))

    def _open(self, action: Upload) -> _Outgoing:
        path = self._folder.at(action.path)
        try:
            identity = Identity.of(path.lstat())
        except OSError:
            raise Outdated(f"{path} has vanished") from None
        blocks = self._manifests.blocks(action.content)
        if blocks is None or not _is(identity, action.fingerprint):
            raise Outdated(f"{path} has changed since it was looked at")
        return _Outgoing(action, path, identity, blocks)

    # -- many small files ---------------------------------------------------------------------------------------

    def _send_batch(self, files: list[_Outgoing]) -> None:
        if self._wall:
            self._fail(files, self._wall)
            return
        sizes = {ref.sha256: ref.size for file in files for ref in file.blocks}
        asked = [sha256 for sha256, size in sizes.items() if size >= ASKED_FROM]
        try:
            lacking = {sha256 for sha256, size in sizes.items() if size < ASKED_FROM} | self._ask(asked)
        except CommandFailed as error:
            self._fail(files, error)
            return
        contents: dict[Sha256, bytes] = {}
        ready: list[_Outgoing] = []
        for file in files:
            try:
                wanted = [ref for ref in file.blocks if ref.sha256 in lacking and ref.sha256 not in contents]
                for ref, content in _read(file, wanted):
                    contents[ref.sha256] = content
                file.check()
            except (LocalProblem, Outdated) as error:
                self._done(file.action, _outdated(error))
            else:
                ready.append(file)
        if not ready:
            return
        needed = {ref.sha256 for file in ready for ref in file.blocks}
        brought = [content for sha256, content in contents.items() if sha256 in needed]
        try:
            results, sent = self._api.commit_batch(
                [file.commit() for file in ready], brought, compressing=self._compressing
            )
        except CommandFailed as error:
            self._fail(ready, error)
            return
        self._on_sent(sent)
        for file, result in zip(ready, results, strict=True):
            if isinstance(result, BlocksMissing):
                # A file whose block was to come with another one that had changed, or a block got lost: by itself.
                self._crew.submit(partial(self._begin, file))
                continue
            self._on_bytes(file.action.content.size)
            self._done(file.action, _outdated(result) if isinstance(result, CommandFailed) else result)

    def _fail(self, files: Sequence[_Outgoing], error: CommandFailed) -> None:
        if error.fatal and error.code != QUOTA:
            raise error
        if error.code == QUOTA:
            self._wall = error
        for file in files:
            self._done(file.action, _outdated(error))

    # -- large files --------------------------------------------------------------------------------------------

    def _begin(self, file: _Outgoing) -> None:
        """Have the blocks sent that the server lacks, then the commit; raises what ends the run."""
        try:
            if self._wall:
                raise self._wall
            lacking = self._ask(list(dict.fromkeys(ref.sha256 for ref in file.blocks)))
        except CommandFailed as error:
            self._fail([file], error)
            return
        self._on_bytes(sum(ref.size for ref in file.blocks if ref.sha256 not in lacking))
        begun: set[Sha256] = set()
        mine: list[tuple[BlockRef, int]] = []
        for ref, offset in _offsets(file.blocks):
            if ref.sha256 not in lacking or ref.sha256 in begun:
                continue
            begun.add(ref.sha256)
            with file.lock:
                file.open_ends += 1
            with self._lock:
                others = self._waiting.setdefault(ref.sha256, [])
                others.append(file)
                first = len(others) == 1
            if first:  # otherwise it is on its way for another file
                mine.append((ref, offset))
        for group in grouped(mine, lambda one: one[0].size):
            self._crew.submit(partial(self._send_blocks, file, group))
        self._close_end(file, None)

    def _send_blocks(self, file: _Outgoing, group: list[tuple[BlockRef, int]]) -> None:
        error: CommandFailed | None = None
        spots = {ref.sha256: (offset, ref.size) for ref, offset in group}
        refs = {ref.sha256: ref for ref, _ in group}
        try:
            read = [(refs[sha], content) for sha, content in read_again(file.path, file.identity, spots)]
            self._deliver(read)
        except CommandFailed as failure:
            if failure.fatal and failure.code != QUOTA:
                raise
            error = failure
        for ref, _ in group:
            self._on_bytes(ref.size)
            with self._lock:
                waiting = self._waiting.pop(ref.sha256)
            for each in waiting:
                # Another file may have the block still, which this one has lost: it is planned about again.
                self._close_end(each, error)

    def _deliver(self, blocks: Sequence[tuple[BlockRef, bytes]]) -> None:
        self._on_sent(send_blocks(self._api, blocks, compressing=self._compressing))

    def _close_end(self, file: _Outgoing, error: CommandFailed | None) -> None:
        with file.lock:
            file.error = file.error or error
            file.open_ends -= 1
            last = file.open_ends == 0
        if last:
            outcome = self._conclude(file)
            if isinstance(outcome, CommandFailed) and outcome.code == QUOTA:
                self._wall = outcome
            self._done(file.action, outcome)

    def _conclude(self, file: _Outgoing) -> Outcome:
        if file.error is not None:
            return _outdated(file.error)
        action, commit = file.action, file.commit()
        for left in reversed(range(COMMIT_TRIES)):
            try:
                file.check()
                if action.node_id is not None and action.base_version is not None:
                    return self._api.commit_to(
                        action.node_id, action.base_version, file.blocks, commit.modified_at
                    )
                return self._api.commit(commit.path, None, file.blocks, commit.modified_at)
            except BlocksMissing as error:
                if not left:
                    return error
                missing = frozenset(error.missing)
                try:
                    for ref, content in _read(file, [b for b in file.blocks if b.sha256 in missing]):
                        self._deliver([(ref, content)])
                except (LocalProblem, Outdated) as failure:
                    return _outdated(failure)
            except Outdated as error:
                return error
            except CommandFailed as error:
                if error.fatal and error.code != QUOTA:
                    raise
                return _outdated(error)
        raise AssertionError("the last try returns or raises")

    def _ask(self, hashes: Sequence[Sha256]) -> set[Sha256]:
        lacking: set[str] = set()
        for start in range(0, len(hashes), MOST_HASHES):
            lacking |= self._api.check_blocks(hashes[start : start + MOST_HASHES])
        return {sha256 for sha256 in hashes if sha256 in lacking}


def _offsets(blocks: Blocks) -> Iterable[tuple[BlockRef, int]]:
    offset = 0
    for ref in blocks:
        yield ref, offset
        offset += ref.size


def _read(file: _Outgoing, wanted: Sequence[BlockRef]) -> Iterable[tuple[BlockRef, bytes]]:
    """The content of some of a file's blocks; raises LocalProblem when it has changed."""
    hashes = {ref.sha256: ref for ref in wanted}
    spots = {ref.sha256: (offset, ref.size) for ref, offset in _offsets(file.blocks) if ref.sha256 in hashes}
    if spots:
        for sha256, content in read_again(file.path, file.identity, spots):
            yield hashes[sha256], content


def _is(identity: Identity, marks: Fingerprint) -> bool:
    return (identity.size, identity.modified_ns, identity.inode, identity.device) == (
        marks.size,
        marks.mtime_ns,
        marks.inode,
        marks.device,
    )


def _outdated(error: CommandFailed | Outdated) -> CommandFailed | Outdated:
    """What a new look may mend is not a failure: a file that has changed, a head that has moved, a taken name."""
    changed = isinstance(error, LocalProblem) and error.code in ("changed", "unreadable")
    if changed or isinstance(error, (Conflicting, NotThere)):
        return Outdated(str(error))
    return error
