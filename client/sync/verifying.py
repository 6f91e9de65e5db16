"""`strata verify`: do the files on the disk still hold what the server has?

Disks rot silently, and a file whose size and time are right is taken for unchanged by everything else. So here
every file that is in step is read and compared, block by block, with the manifest of its version: the server's, or
without one the last that was seen. A file with other marks than at the last sync was edited, which is no damage and
sync's business.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Literal

import msgspec

from client.api import Api
from client.block_fetching import check
from client.crew import Crew
from client.errors import CommandFailed, Corrupt, LocalProblem
from client.reading import Reading
from client.sync.base_rows import BaseRows
from client.sync.database import Database
from client.sync.decisions import names_of
from client.sync.manifests import Blocks, Manifests
from client.sync.run_outcome import shown_path
from client.sync.transferring import fingerprint_of
from client.sync.trees import BaseEntry, Kind, Names
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash

Verdict = Literal["intact", "damaged", "edited", "missing", "unknown"]
"""`unknown`: there is no manifest to compare with, or the file can't be read."""


class Finding(msgspec.Struct, frozen=True):
    """What is wrong about a file; `bad_blocks` are (offset, size) in bytes."""

    path: str
    verdict: Verdict
    reason: str
    bad_blocks: tuple[tuple[int, int], ...] = ()


class Verification(msgspec.Struct):
    """Counts by verdict, the bytes that were read, and everything that isn't intact."""

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    bytes: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)


class Verifier:
    """Reads what is in step below `root`; without an `api`, by the last manifests that were seen."""

    def __init__(
        self,
        database: Database,
        root: Path,
        api: Api | None,
        *,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._root = root
        self._api = api
        self._manifests = Manifests(database)
        self._base = BaseRows(database).load()
        self._on_bytes = on_bytes
        self._lock = Lock()
        self._result = Verification()

    def run(self, *, jobs: int, stop: Event) -> Verification:
        """Look at every file; raises the failure that ended the run (no server, no login, Stopped)."""
        with Crew(jobs, room=1, stop=stop) as crew:
            for node, entry in self._base.items():
                if entry.kind is Kind.FILE:
                    crew.submit(partial(self._look_at, names_of(self._base, node), entry, stop))
            crew.drain()
        self._result.findings.sort(key=lambda finding: finding.path)
        return self._result

    def _look_at(self, path: Names, entry: BaseEntry, stop: Event) -> None:
        try:
            finding = self._verify(path, entry, stop)
        except CommandFailed as error:
            if error.fatal:
                raise
            finding = Finding(shown_path(path), "unknown", str(error))
        with self._lock:
            counts = self._result.counts
            counts[finding.verdict] = counts.get(finding.verdict, 0) + 1
            if finding.verdict != "intact":
                self._result.findings.append(finding)

    def _verify(self, path: Names, entry: BaseEntry, stop: Event) -> Finding:
        shown, there = shown_path(path), self._root.joinpath(*path)
        if not there.is_file():
            return Finding(shown, "missing", "it is not here")
        blocks = self._blocks_of(entry)
        if blocks is None:
            return Finding(shown, "unknown", "its blocks are not known here: ask the server")
        bad: list[tuple[int, int]] = []
        with Reading(there, stop) as reading:
            if fingerprint_of(reading.identity) != entry.fingerprint:
                return Finding(shown, "edited", "it was changed since the last sync")
            offset = 0
            for block in blocks:
                content = reading.take(block.size)
                if hash_of(content) != block.sha256:
                    bad.append((offset, block.size))
                offset += block.size
                self._on_bytes(len(content))
            with self._lock:
                self._result.bytes += offset
            if not reading.unchanged():
                return Finding(shown, "edited", "it was changed while it was read")
        if bad or offset != reading.identity.size:
            reason = "its size and time are those of the last sync, its content is not"
            return Finding(shown, "damaged", reason, tuple(bad))
        return Finding(shown, "intact", "")

    def _blocks_of(self, entry: BaseEntry) -> Blocks | None:
        assert entry.content is not None
        if self._api is None:
            return self._manifests.blocks(entry.content)
        manifest = self._api.manifest(entry.node_id, entry.version_id)
        check(manifest)
        blocks = [BlockRef(Sha256(block.sha256), block.size) for block in manifest.blocks]
        if root_hash(blocks) != entry.content.root_hash:
            raise Corrupt("the server has another content for this version than it had at the last sync")
        return blocks


def damage(result: Verification) -> CommandFailed | None:
    """The failure that a verification comes to, None when everything that could be compared is intact."""
    damaged = result.counts.get("damaged", 0)
    if damaged:
        return Corrupt(f"{damaged:,} file(s) hold other bytes than at the last sync")
    if result.counts.get("unknown"):
        return LocalProblem("some files could not be compared")
    return None
