"""What local files hold: read once, remembered while size, times and inode stay.

Three kinds of file are read: new ones, changed ones, and those that were stamped so shortly before they were last
read that a change could have left no trace. A file whose blocks are known, because it came from the server or only
its time was touched, is first compared with those blocks at *their* cuts: other programs may cut otherwise than
this one does, and the same bytes under another root hash would look like an edit.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from threading import Event, Lock
from time import time_ns

import msgspec

from client.crew import Crew
from client.errors import LocalProblem
from client.reading import Identity, Reading
from client.sync.database import Database
from client.sync.manifests import Blocks, Manifests
from client.sync.scanning import Found, is_racy_at
from client.sync.trees import Content, Fingerprint, Kind, LocalEntry, Names
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash

READ_TRIES = 3
"""How often a file that changes while it is read is read, before it is left for the next run."""

READERS = 4
"""Files that are read at once: hashing lets go of the interpreter, and disks like some questions in advance."""


class Known(msgspec.Struct, frozen=True):
    """A row of the memory: at these marks, a file held the content with this root hash.

    It is believed only if it is `clean`: not stamped too shortly before it was read.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    root_hash: Sha256
    clean: bool

    def holds_for(self, found: Found) -> bool:
        marks = found.fingerprint
        return self.clean and (self.inode, self.size, self.mtime_ns, self.ctime_ns) == (
            marks.inode,
            marks.size,
            marks.mtime_ns,
            found.ctime_ns,
        )

    @property
    def content(self) -> Content:
        return Content(self.root_hash, self.size)


class Read(msgspec.Struct, frozen=True):
    """What a file turned out to hold; `identity` is what it was before and after it was read."""

    path: Names
    identity: Identity
    blocks: Blocks
    clean: bool


class Contents:
    """Knows what is in files, or reads them; the reading is done by a crew's threads."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root
        self._manifests = Manifests(database)
        self.doubtful = False
        """Whether something in the last look could be something else by now and have the same marks."""

    def entries(
        self,
        found: Mapping[Names, Found],
        crew: Crew,
        *,
        on_read: Callable[[int], None] | None = None,
        on_trouble: Callable[[Names, LocalProblem], None] | None = None,
    ) -> dict[Names, LocalEntry]:
        """What was found, with contents: None for a file that can't be read now, or doesn't keep still.

        `on_read` is told the size of each file that had to be read, `on_trouble` what couldn't be, from any thread.
        Raises the failure that ended the run.
        """
        known = self._load()
        entries: dict[Names, LocalEntry] = {}
        unknown: list[tuple[Found, Known | None]] = []
        for path, each in found.items():
            row = known.pop(path, None)
            if each.kind is Kind.FOLDER:
                entries[path] = LocalEntry(path, each.kind, None, each.fingerprint)
            elif row and row.holds_for(each):
                entries[path] = LocalEntry(path, each.kind, row.content, each.fingerprint)
            else:
                unknown.append((each, row))
        self.doubtful = any(each.racy for each, _ in unknown)
        # What has gone from one path may have been moved to another, and is not read again for that.
        moved = {row.inode: row for row in known.values()}
        self._let_go(known)
        reading = _Reading(self, crew.stop, on_read, on_trouble)
        for each, row in unknown:
            row = row or moved.get(each.fingerprint.inode)
            if row and row.holds_for(each):
                entries[each.path] = LocalEntry(each.path, each.kind, row.content, each.fingerprint)
                reading.keep(each.path, row)
            else:
                crew.submit(partial(reading.read, each, row))
        crew.drain()
        reading.flush()
        for each, _ in unknown:
            if each.path not in entries:
                entries[each.path] = reading.entries.get(each.path) or LocalEntry(
                    each.path, each.kind, None, each.fingerprint
                )
        return entries

    def read(self, path: Names, stop: Event, expected: Content | None = None) -> Read | None:
        """Read a file, preferring the cuts of the `expected` content; None when it changed meanwhile each time.

        Raises LocalProblem when it can't be read.
        """
        blocks = self._manifests.blocks(expected) if expected else None
        for _ in range(READ_TRIES):
            with Reading(self._root.joinpath(*path), stop) as reading:
                identity, began = reading.identity, time_ns()
                read = _compared(reading, blocks) if blocks is not None else None
                if read is None:
                    read = [ref for ref, _ in reading.blocks()]
                if reading.unchanged() and sum(ref.size for ref in read) == identity.size:
                    racy = is_racy_at(identity.modified_ns, identity.changed_ns, began, time_ns())
                    return Read(path, identity, read, clean=not racy)
        return None

    def remember(self, results: Iterable[Read], kept: Iterable[tuple[Names, Known]] = ()) -> None:
        """Note what was read, and at which marks."""
        results = list(results)
        rows = [
            (
                _key(each.path),
                _signed(each.identity.inode),
                each.identity.size,
                each.identity.modified_ns,
                each.identity.changed_ns,
                root_hash(each.blocks),
                each.clean,
            )
            for each in results
        ]
        rows += [
            (_key(path), _signed(row.inode), row.size, row.mtime_ns, row.ctime_ns, row.root_hash, row.clean)
            for path, row in kept
        ]
        with self._database.transaction() as connection:
            self._manifests.keep(each.blocks for each in results)
            connection.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def paths_of(self, content: Content) -> list[Names]:
        """Where the content was last seen in this folder."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT path FROM hashes WHERE root_hash = ? AND size = ?", (content.root_hash, content.size)
            ).fetchall()
        return [_names(row[0]) for row in rows]

    def last_seen(self, path: Names) -> Content | None:
        """What the file at `path` held when it was last read or written here."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT root_hash, size FROM hashes WHERE path = ?", (_key(path),)
            ).fetchone()
        return Content(Sha256(row[0]), row[1]) if row else None

    def _load(self) -> dict[Names, Known]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT path, inode, size, mtime_ns, ctime_ns, root_hash, clean FROM hashes"
            ).fetchall()
        return {
            _names(path): Known(inode % 2**64, size, mtime, ctime, Sha256(root), bool(clean))
            for path, inode, size, mtime, ctime, root, clean in rows
        }

    def _let_go(self, gone: Iterable[Names]) -> None:
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM hashes WHERE path = ?", [(_key(path),) for path in gone])


class _Reading:
    """The files that have to be read in one look. What was read is noted from time to time: it survives a kill."""

    def __init__(
        self,
        contents: Contents,
        stop: Event,
        on_read: Callable[[int], None] | None,
        on_trouble: Callable[[Names, LocalProblem], None] | None,
    ) -> None:
        self._contents = contents
        self._stop = stop
        self._on_read = on_read
        self._on_trouble = on_trouble
        self._lock = Lock()
        self._new: list[Read] = []
        self._new_bytes = 0
        self._kept: list[tuple[Names, Known]] = []
        self.entries: dict[Names, LocalEntry] = {}

    def keep(self, path: Names, row: Known) -> None:
        """The row belongs to another path now."""
        self._kept.append((path, row))

    def read(self, found: Found, row: Known | None) -> None:
        """Read one file and note what it holds."""
        expected = row.content if row and row.size == found.fingerprint.size else None
        try:
            result = self._contents.read(found.path, self._stop, expected)
            if result is None:
                raise LocalProblem(
                    f"{'/'.join(found.path)}: it changed while it was read, {READ_TRIES} times",
                    code="changed",
                )
        except LocalProblem as error:
            if self._on_trouble:
                self._on_trouble(found.path, error)
            return
        if self._on_read:
            self._on_read(result.identity.size)
        with self._lock:
            self.entries[found.path] = _entry(result)
            self._new.append(result)
            self._new_bytes += result.identity.size
            full = len(self._new) >= _NOTED_FILES or self._new_bytes >= _NOTED_BYTES
        if full:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            new, kept = self._new, self._kept
            self._new, self._kept, self._new_bytes = [], [], 0
        if new or kept:
            self._contents.remember(new, kept)


_NOTED_FILES = 512
_NOTED_BYTES = 1024 * 1024 * 1024


def _compared(reading: Reading, blocks: Blocks) -> list[BlockRef] | None:
    """`blocks` if they are what the file holds, cut where they are cut; None, with the file at its start, if not."""
    if sum(block.size for block in blocks) != reading.identity.size:
        return None
    if all(hash_of(reading.take(block.size)) == block.sha256 for block in blocks):
        return list(blocks)
    reading.rewind()
    return None


def _entry(read: Read) -> LocalEntry:
    identity = read.identity
    marks = Fingerprint(identity.size, identity.modified_ns, identity.inode, identity.device)
    return LocalEntry(read.path, Kind.FILE, Content(root_hash(read.blocks), identity.size), marks)


def _key(path: Names) -> bytes:
    return os.fsencode("/".join(path))


def _names(key: bytes) -> Names:
    return tuple(os.fsdecode(key).split("/"))


def _signed(number: int) -> int:
    # SQLite's integers have a sign; some file systems use all 64 bits.
    return number - 2**64 if number >= 2**63 else number
