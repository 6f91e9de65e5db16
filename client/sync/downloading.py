"""Contents from the server, block by block, each verified; what is here already isn't fetched.

Three places are looked at before a block is asked for: the part that an earlier run has left, the file that is going
to be replaced, and any other file of the folder that holds the same content. So an edit in the middle of a large file
costs a block, and a copy made on another device costs nothing but a question. Small files come together, in a few
reads of what lies side by side in the storage; a single one with one request through the gateway.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

import msgspec

from client.api import Api
from client.block_fetching import BlockReader, VersionReader
from client.block_runs import Spot, side_by_side, spots_of
from client.crew import Crew
from client.errors import CommandFailed, Corrupt, LocalProblem, NotThere, Stopped
from client.pack_fetching import read_versions
from client.sync.actions import Download
from client.sync.contents import Contents
from client.sync.landing import Landing
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Manifests
from client.sync.small_landings import Arrived, Done, Landed, SmallLandings
from client.targets import check_space
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from shared.domain.cutting import MIN_SIZE

DISK_FULL = "disk_full"
"""A wall for everything that comes down, while what goes up may go on."""


class _Incoming:
    """One file on its way. `open_ends` are its blocks that are not here yet, and one for the beginning itself."""

    def __init__(self, action: Download, landing: Landing, version: VersionReader, done: Done) -> None:
        self.action = action
        self.landing = landing
        self.version = version
        self.done = done
        self.lock = Lock()
        self.open_ends = 1
        self.fetched = 0
        self.error: CommandFailed | None = None


class Downloader:
    """Brings contents into the folder with a crew's threads."""

    def __init__(
        self,
        api: Api,
        reader: Callable[[], BlockReader],
        crew: Crew,
        folder: LocalFolder,
        contents: Contents,
        manifests: Manifests,
        *,
        on_bytes: Callable[[int], None],
    ) -> None:
        """`reader` is asked for when something is to come from the storage, `on_bytes` told how many bytes of files
        have come to be settled, from any thread."""
        self._api = api
        self._reader = reader
        self._crew = crew
        self._folder = folder
        self._contents = contents
        self._manifests = manifests
        self._on_bytes = on_bytes
        self._lock = Lock()
        self._open: set[Landing] = set()
        self._full: LocalProblem | None = None
        self._small = SmallLandings(folder, self._attempt, on_bytes)

    def leave_all(self) -> None:
        """Close what is still on its way, when the run has ended before it; the parts stay for the next one."""
        with self._lock:
            left, self._open = self._open, set()
        for landing in left:
            landing.leave()

    def begin(self, action: Download, done: Done) -> None:
        """Have one content brought; to be called by the crew. Raises only what ends the run."""
        self._attempt(done, partial(self._begin, action, done))

    def begin_group(self, group: Sequence[tuple[Download, Done]]) -> None:
        """Bring small contents together, one after the other; as `begin`, and all are here at the end."""
        wanted: list[tuple[Download, Done]] = []
        for action, done in group:
            content = self._same_here(action)
            if content is None:
                wanted.append((action, done))
            else:
                arrived = Arrived(action, content, _one_block(content), 0, done)
                self._attempt(done, partial(self._small.land, arrived))
        found = self._versions([action for action, _ in wanted])
        self._small.land_all(
            (done, partial(_arrived, action, version, done))
            for (action, done), version in zip(wanted, found, strict=True)
        )

    def _versions(self, wanted: Sequence[Download]) -> Sequence[VersionReader | CommandFailed]:
        """What can be read of each, or why it can't be; raises only what ends the run."""
        if self._full:
            return [self._full] * len(wanted)
        if not wanted:
            return []
        asked = [(action.node_id, action.version_id) for action in wanted]
        try:
            return read_versions(self._api, self._reader(), asked)
        except CommandFailed as error:
            if error.fatal:
                raise
            return [error] * len(wanted)

    def _attempt(self, done: Done, work: Callable[[], None]) -> None:
        """Do `work`, and tell `done` if it fails; raises only what ends the run."""
        if self._crew.stop.is_set():
            raise Stopped
        try:
            if self._full:
                raise self._full
            work()
        except NotThere:
            done(Outdated("it is gone on the server"))
        except (CommandFailed, Outdated) as error:
            if isinstance(error, CommandFailed) and error.fatal and error.code != DISK_FULL:
                raise
            self._note_full(error)
            done(error)

    def _begin(self, action: Download, done: Done) -> None:
        place = self._small.place(action)
        if action.content.size <= MIN_SIZE:
            content, fetched = self._same_here(action), 0
            if content is None:
                content = self._api.content(action.node_id, action.version_id)
                fetched = len(content)
            blocks = _one_block(content)
            if root_hash(blocks) == action.content.root_hash:
                self._small.land(Arrived(action, content, blocks, fetched, done))
                return
            # It is cut otherwise, and needs its manifest.
        version = VersionReader.of(self._api, self._reader(), action.node_id, action.version_id)
        _check(action, version)
        check_space(place.parent, action.content.size)
        landing = Landing(self._folder, place, action.version_id, action.content.size)
        with self._lock:
            self._open.add(landing)
        try:
            self._fill(_Incoming(action, landing, version, done))
        except (CommandFailed, Outdated):
            self._leave(landing)
            raise

    def _same_here(self, action: Download) -> bytes | None:
        """A small file's content from another file of the folder."""
        for path in self._contents.paths_of(action.content)[:1]:
            blocks = self._manifests.blocks(action.content) or ()
            if len(blocks) == 1:
                return _read_block(_OnDisk(self._folder.root.joinpath(*path), 0), blocks[0])
        return None

    def _fill(self, incoming: _Incoming) -> None:
        blocks = incoming.version.manifest.blocks
        landing = incoming.landing
        here = self._blocks_here(incoming.action)
        wanted: list[Spot] = []
        for spot in spots_of(blocks):
            size, sha256 = blocks[spot.block].size, Sha256(blocks[spot.block].sha256)
            if landing.resumes and all(landing.holds(at, size, sha256) for at in spot.offsets):
                self._on_bytes(size * len(spot.offsets))
                continue
            if sha256 in here:
                content = _read_block(here[sha256], BlockRef(sha256, size))
                if content is not None:
                    landing.write(content, spot.offsets)
                    self._on_bytes(size * len(spot.offsets))
                    continue
            wanted.append(spot)
        incoming.fetched = sum(blocks[spot.block].size for spot in wanted)
        runs = side_by_side(blocks, wanted)
        with incoming.lock:
            incoming.open_ends += len(runs)
        for run in runs:
            if len(runs) == 1:  # a small file: this thread does it all
                self._fetch(incoming, run)
            else:
                self._crew.submit(partial(self._fetch, incoming, run), urgent=True)
        self._close_end(incoming)

    def _blocks_here(self, action: Download) -> Mapping[Sha256, "_OnDisk"]:
        """Where blocks lie on this disk that the content may have, by hash."""
        spots: dict[Sha256, _OnDisk] = {}
        for path in (*self._contents.paths_of(action.content)[:1], action.path):
            content = self._contents.last_seen(path)
            offset = 0
            for block in (self._manifests.blocks(content) if content else None) or ():
                spots.setdefault(block.sha256, _OnDisk(self._folder.root.joinpath(*path), offset))
                offset += block.size
        return spots

    def _fetch(self, incoming: _Incoming, run: Sequence[Spot]) -> None:
        error: CommandFailed | None = None
        if incoming.error is None:
            try:
                incoming.version.write_run(run, incoming.landing.write, self._on_bytes)
            except CommandFailed as failure:
                if failure.fatal and failure.code != DISK_FULL:
                    raise
                self._note_full(failure)
                error = failure
        with incoming.lock:
            incoming.error = incoming.error or error
        self._close_end(incoming)

    def _close_end(self, incoming: _Incoming) -> None:
        with incoming.lock:
            incoming.open_ends -= 1
            last = incoming.open_ends == 0
        if not last:
            return
        action, result = incoming.action, incoming.error
        if result is not None:
            self._leave(incoming.landing)
            incoming.done(result)
            return
        try:
            identity = incoming.landing.keep(action.modified_at, action.replaces)
        except (CommandFailed, Outdated) as error:
            self._leave(incoming.landing)
            incoming.done(error)
        else:
            self._leave(incoming.landing)
            incoming.done(Landed(action.path, identity, _refs(incoming.version), incoming.fetched))

    def _note_full(self, error: CommandFailed | Outdated) -> None:
        if isinstance(error, LocalProblem) and error.code == DISK_FULL:
            self._full = error

    def _leave(self, landing: Landing) -> None:
        with self._lock:
            self._open.discard(landing)
        landing.leave()


class _OnDisk(msgspec.Struct, frozen=True):
    path: Path
    offset: int


def _check(action: Download, version: VersionReader) -> None:
    if version.manifest.root_hash != action.content.root_hash:
        raise Corrupt("a manifest has another content than the journal told")


def _arrived(action: Download, version: VersionReader | CommandFailed, done: Done) -> Arrived:
    """A small file's content, all of whose blocks have been read; raises CommandFailed."""
    if isinstance(version, CommandFailed):
        raise version
    _check(action, version)
    blocks = _refs(version)
    parts = [version.block(index) for index in range(len(blocks))]
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    return Arrived(action, content, blocks, len(content), done)


def _one_block(content: bytes) -> list[BlockRef]:
    return [BlockRef(hash_of(content), len(content))] if content else []


def _refs(version: VersionReader) -> list[BlockRef]:
    return [BlockRef(Sha256(block.sha256), block.size) for block in version.manifest.blocks]


def _read_block(spot: _OnDisk, block: BlockRef) -> bytes | None:
    """The block from a file of this disk, None when that isn't what it was any more."""
    try:
        with spot.path.open("rb") as file:
            file.seek(spot.offset)
            content = file.read(block.size)
    except OSError:
        return None
    return content if hash_of(content) == block.sha256 else None
