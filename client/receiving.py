"""`strata down`: remote files become local ones.

A file comes as the blocks of its manifest, fetched side by side, each verified before it is written at its
place. A block that stands in the file many times is fetched once. How much is in memory is bounded by the
number of threads, two blocks (as stored, as plain) each.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from client.api import Api
from client.block_fetching import BlockReader, VersionReader
from client.crew import Crew
from client.errors import CommandFailed
from client.pack_fetching import GROUP_CONTENT, GROUP_FILES, read_versions
from client.report import Done, Report
from client.targets import Target, check_free
from client.wire import RemoteFile
from shared.domain.blocks import BLOCK_SIZE, Buffer
from shared.domain.cutting import MIN_SIZE

FILES_UNDER_WAY = 32
"""Files that are open at once: enough that small ones don't wait for each other, few enough for any system."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A remote file and the local path that it gets."""

    remote: RemoteFile
    local: Path


class _Incoming:
    """One file on its way."""

    def __init__(
        self, wanted: Wanted, version: VersionReader, target: Target, open_blocks: int, *, grouped: bool
    ) -> None:
        self.wanted = wanted
        self.grouped = grouped
        self.version = version
        self.target = target
        self.open_blocks = open_blocks
        self.bytes_written = 0
        self.error: CommandFailed | None = None


class Receiver:
    """Receives files with a crew whose room counts files; what became of each goes to `report`."""

    def __init__(self, api: Api, crew: Crew, reader: BlockReader, report: Report, *, force: bool) -> None:
        self._api = api
        self._crew = crew
        self._reader = reader
        self._report = report
        self._force = force
        self._lock = Lock()
        self._open: set[Target] = set()

    def receive_all(self, wanted: Iterable[Wanted]) -> None:
        """Receive each file; raises the failure that ended the run. No file is left half there."""
        try:
            for group in _groups(wanted):
                # The files of a group are opened one after the other, so they take one file's room.
                self._crew.hold(1)
                begin = (
                    partial(self._begin, group[0]) if len(group) == 1 else partial(self._begin_group, group)
                )
                self._crew.submit(begin)
            self._crew.drain()
        finally:
            # In this order: a target that is opened from now on is discarded by whoever opens it.
            self._crew.stop.set()
            with self._lock:
                left = list(self._open)
            for target in left:
                target.discard()

    def _begin_group(self, group: list[Wanted]) -> None:
        asked = [(one.remote.file_id, one.remote.version_id) for one in group]
        for one, version in zip(group, read_versions(self._api, self._reader, asked), strict=True):
            self._begin(one, version)
        self._crew.release(1)

    def _begin(self, wanted: Wanted, found: VersionReader | CommandFailed | None = None) -> None:
        target: Target | None = None
        try:
            check_free(wanted.local, force=self._force)
            if isinstance(found, CommandFailed):
                raise found
            version = found or VersionReader.of(
                self._api, self._reader, wanted.remote.file_id, wanted.remote.version_id
            )
            target = self._track(Target(wanted.local, version.manifest.size))
        except CommandFailed as error:
            self._finish(wanted, error, grouped=found is not None)
            return
        places: dict[str, list[int]] = {}
        first: dict[str, int] = {}
        offset = 0
        for index, block in enumerate(version.manifest.blocks):
            first.setdefault(block.sha256, index)
            places.setdefault(block.sha256, []).append(offset)
            offset += block.size
        incoming = _Incoming(wanted, version, target, len(first), grouped=found is not None)
        if not first:
            self._conclude(incoming)
        for sha256, index in first.items():
            fetch = partial(self._fetch, incoming, index, places[sha256])
            if incoming.grouped:
                fetch()
            else:
                self._crew.submit(fetch, urgent=True)

    def _fetch(self, incoming: _Incoming, index: int, offsets: list[int]) -> None:
        size = 0
        error: CommandFailed | None = None
        if incoming.error is None:
            try:
                plain = incoming.version.block(index)
                incoming.target.write(plain, offsets)
                size = len(plain) * len(offsets)
            except CommandFailed as failure:
                if failure.fatal:
                    raise
                error = failure
        with self._lock:
            incoming.error = incoming.error or error
            incoming.bytes_written += size
            incoming.open_blocks -= 1
            last = incoming.open_blocks == 0
        self._report.advance(size)
        if last:
            self._conclude(incoming)

    def _conclude(self, incoming: _Incoming) -> None:
        error = incoming.error
        if error is None:
            try:
                incoming.target.keep(incoming.version.manifest.modified_at, force=self._force)
            except CommandFailed as failure:
                error = failure
        else:
            incoming.target.discard()
            self._report.advance(-incoming.bytes_written)
        with self._lock:
            self._open.discard(incoming.target)
        self._finish(incoming.wanted, error, grouped=incoming.grouped)

    def _track(self, target: Target) -> Target:
        with self._lock:
            self._open.add(target)
        if self._crew.stop.is_set():
            target.discard()
        return target

    def _finish(self, wanted: Wanted, error: CommandFailed | None, *, grouped: bool) -> None:
        if error is not None and error.fatal:
            raise error
        remote, local = wanted.remote, str(wanted.local)
        if error is None:
            done = Done(
                "received",
                remote.path,
                local,
                remote.size_bytes,
                remote.file_id,
                remote.version_id,
                remote.version,
            )
        else:
            done = Done("failed", remote.path, local, error=error)
        self._report.file(done)
        if not grouped:
            self._crew.release(1)


def _groups(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Small files together, as many as may be fetched at once; each other file alone."""
    group: list[Wanted] = []
    size = 0
    for one in wanted:
        if one.remote.size_bytes > MIN_SIZE:
            yield [one]
            continue
        if size + one.remote.size_bytes > GROUP_CONTENT or len(group) == GROUP_FILES:
            yield group
            group, size = [], 0
        group.append(one)
        size += one.remote.size_bytes
    if group:
        yield group


@dataclass(slots=True)
class _Slot:
    plain: Buffer | None = None


def receive_stream(
    api: Api, crew: Crew, reader: BlockReader, report: Report, remote: RemoteFile, out: BinaryIO
) -> None:
    """Write a file's bytes to `out`, in order. Room of the crew counts bytes; raises the first failure, with
    the verified beginning of the file written."""
    version = VersionReader.of(api, reader, remote.file_id, remote.version_id)
    slots: deque[_Slot] = deque()

    def fetch(index: int, slot: _Slot) -> None:
        slot.plain = version.block(index)

    def write_first() -> None:
        slot = slots.popleft()
        crew.wait_until(lambda: slot.plain is not None)
        out.write(slot.plain or b"")
        report.advance(len(slot.plain or b""))
        crew.release(BLOCK_SIZE)

    for index in range(len(version.manifest.blocks)):
        while not crew.try_hold(BLOCK_SIZE):
            write_first()
        slots.append(_Slot())
        crew.submit(partial(fetch, index, slots[-1]))
    while slots:
        write_first()
    out.flush()
    report.file(
        Done(
            "received", remote.path, "-", remote.size_bytes, remote.file_id, remote.version_id, remote.version
        )
    )
