"""Small files that arrive together: each in a part of its own, and put in place some at a time.

Most of what a small file costs is not its bytes. Threads that all did the rest of it at once would mostly wait for each
other's turn at the interpreter, so they take turns with a handful each; what they do side by side is to wait for the
network, and for the disk to have what was written.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock

import msgspec

from client.errors import CommandFailed
from client.reading import Identity
from client.sync.actions import Download
from client.sync.landing import Landing
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Blocks
from client.sync.trees import Kind, Names
from shared.domain.blocks import Buffer

AT_ONCE = 16
"""Files that a thread has open at once: with eight threads, fewer than any system allows."""


class Landed(msgspec.Struct, frozen=True):
    """What a download has become: the file's identity, its blocks, and how many bytes of them were fetched."""

    path: Names
    identity: Identity
    blocks: Blocks
    fetched: int


Done = Callable[[Landed | CommandFailed | Outdated], None]
"""Told once what became of a download, from any thread."""


class Arrived(msgspec.Struct, frozen=True):
    """A small file's verified `content`, `fetched` bytes of which came over the line."""

    action: Download
    content: Buffer
    blocks: Blocks
    fetched: int
    done: Done


class _Filled(msgspec.Struct, frozen=True):
    """Whose content is in its part."""

    arrived: Arrived
    landing: Landing


class SmallLandings:
    """Puts small files in place; any number of threads may have it do so.

    `attempt` does a piece of work for who is to be told when it fails, and raises only what ends the run.
    """

    def __init__(
        self,
        folder: LocalFolder,
        attempt: Callable[[Done, Callable[[], None]], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._attempt = attempt
        self._on_bytes = on_bytes
        self._turn = Lock()

    def land(self, arrived: Arrived) -> None:
        """Put one file in place; raises LocalProblem, Outdated."""
        self._keep(self._fill(arrived))

    def land_all(self, arriving: Iterable[tuple[Done, Callable[[], Arrived]]]) -> None:
        """Put each in place that can be; raises only what ends the run."""
        arriving = iter(arriving)
        while few := list(islice(arriving, AT_ONCE)):
            self._land_few(few)

    def place(self, action: Download) -> Path:
        """Where it goes, if what is there still is what it replaces; raises Outdated."""
        place = self._folder.at(action.path)
        self._folder.check(place, Kind.FILE, action.replaces)
        return place

    def _land_few(self, few: list[tuple[Done, Callable[[], Arrived]]]) -> None:
        filled: list[_Filled] = []
        settled: list[_Filled] = []
        try:
            with self._turn:
                for done, arrive in few:
                    self._attempt(done, partial(self._fill_into, filled, arrive))
            for each in filled:
                self._attempt(each.arrived.done, partial(self._settle_into, settled, each))
            with self._turn:
                for each in settled:
                    self._attempt(each.arrived.done, partial(self._keep, each))
        except BaseException:  # the run is over: small files are fetched again sooner than gone on with
            for each in filled:
                each.landing.discard()
            raise

    def _fill_into(self, filled: list[_Filled], arrive: Callable[[], Arrived]) -> None:
        filled.append(self._fill(arrive()))

    def _fill(self, arrived: Arrived) -> _Filled:
        action = arrived.action
        landing = Landing(self._folder, self.place(action), action.version_id, len(arrived.content))
        try:
            landing.write(arrived.content, [0])
        except (CommandFailed, Outdated):
            landing.discard()
            raise
        return _Filled(arrived, landing)

    def _settle_into(self, settled: list[_Filled], filled: _Filled) -> None:
        try:
            filled.landing.settle(filled.arrived.action.modified_at)
        except (CommandFailed, Outdated):
            filled.landing.discard()
            raise
        settled.append(filled)

    def _keep(self, filled: _Filled) -> None:
        arrived = filled.arrived
        action = arrived.action
        try:
            identity = filled.landing.keep(action.modified_at, action.replaces)
        except (CommandFailed, Outdated):
            filled.landing.discard()
            raise
        self._on_bytes(len(arrived.content))
        arrived.done(Landed(action.path, identity, arrived.blocks, arrived.fetched))
