"""`strata down`: remote files become local ones.

A file comes as the blocks of its manifest, fetched side by side, each verified before the file appears. A block that
stands in the file many times is fetched once. How much is in memory is bounded by the number of threads, two blocks
(as stored, as plain) each.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from client.api import Api
from client.block_fetching import BlockReader, VersionReader
from client.block_runs import Spot, side_by_side, spots_of
from client.crew import Crew
from client.errors import CommandFailed
from client.pack_fetching import GROUP_CONTENT, GROUP_FILES, read_versions
from client.report import Done, Report
from client.targets import Target, check_free
from client.wire import RemoteFile
from shared.domain.blocks import BLOCK_SIZE, Buffer
from shared.domain.cutting import MIN_SIZE

_AT_ONCE = 16
"""Small files that a thread has open at once: with eight threads, fewer than any system allows."""

FILES_UNDER_WAY = 32
"""Files that are open at once: enough that small ones don't wait for each other, few enough for any system."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A remote file and the local path that it gets."""

    remote: RemoteFile
    local: Path


class _Incoming:
    """One file on its way."""

    def __init__(self, wanted: Wanted, version: VersionReader, target: Target, *, grouped: bool) -> None:
        self.wanted = wanted
        self.grouped = grouped
        self.version = version
        self.target = target
        self.open_blocks = 0
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
        self._turn = Lock()

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
        together = zip(group, read_versions(self._api, self._reader, asked), strict=True)
        while few := list(islice(together, _AT_ONCE)):
            self._receive_few(few)
        self._crew.release(1)

    def _receive_few(self, few: list[tuple[Wanted, VersionReader | CommandFailed]]) -> None:
        """Receive small files. Threads that all did this at once would only wait for the interpreter; what they do
        side by side is to wait for the disk."""
        with self._turn:
            opened = [self._open_target(one, version, grouped=True) for one, version in few]
            for incoming in opened:
                if incoming:
                    for spot in spots_of(incoming.version.manifest.blocks):
                        self._fetch_into(incoming, [spot])
        for incoming in opened:
            if incoming and incoming.error is None:
                try:
                    incoming.target.settle(incoming.version.manifest.modified_at)
                except CommandFailed as failure:
                    incoming.error = failure
        with self._turn:
            for incoming in opened:
                if incoming:
                    self._conclude(incoming)

    def _begin(self, wanted: Wanted) -> None:
        incoming = self._open_target(wanted, None, grouped=False)
        if incoming is None:
            return
        spots = spots_of(incoming.version.manifest.blocks)
        incoming.open_blocks = len(spots)
        if not spots:
            self._conclude(incoming)
        for run in side_by_side(incoming.version.manifest.blocks, spots):
            self._crew.submit(partial(self._fetch_run, incoming, run), urgent=True)

    def _open_target(
        self, wanted: Wanted, found: VersionReader | CommandFailed | None, *, grouped: bool
    ) -> _Incoming | None:
        """The file on its way, None when it has failed already; without `found`, its manifest is asked for."""
        try:
            check_free(wanted.local, force=self._force)
            if isinstance(found, CommandFailed):
                raise found
            version = found or VersionReader.of(
                self._api, self._reader, wanted.remote.file_id, wanted.remote.version_id
            )
            target = self._track(Target(wanted.local, version.manifest.size))
        except CommandFailed as error:
            self._finish(wanted, error, grouped=grouped)
            return None
        return _Incoming(wanted, version, target, grouped=grouped)

    def _fetch_run(self, incoming: _Incoming, run: Sequence[Spot]) -> None:
        self._fetch_into(incoming, run)
        with self._lock:
            incoming.open_blocks -= len(run)
            last = incoming.open_blocks == 0
        if last:
            self._conclude(incoming)

    def _fetch_into(self, incoming: _Incoming, run: Sequence[Spot]) -> None:
        """Write blocks at their places, or note why they can't be; raises only what ends the run."""
        if incoming.error is not None:
            return
        try:
            incoming.version.write_run(run, incoming.target.write, partial(self._note_bytes, incoming))
        except CommandFailed as failure:
            if failure.fatal:
                raise
            with self._lock:
                incoming.error = incoming.error or failure

    def _note_bytes(self, incoming: _Incoming, size: int) -> None:
        with self._lock:
            incoming.bytes_written += size
        self._report.advance(size)

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
