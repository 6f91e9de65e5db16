"""Getting blocks to the server, each once.

Blocks are gathered into windows, and the server is asked about a whole window at a time: asking for each would
cost as much as sending a small one. Only what it lacks is sent, side by side. A block that is on its way
already, for another file or another place in the same one, is waited for instead of sent again.
"""

from collections.abc import Callable
from functools import partial
from threading import Lock

from client.api import MOST_HASHES, Api
from client.compression import compress
from client.crew import Crew
from client.errors import CommandFailed, Corrupt
from shared.domain.blocks import BlockRef, Sha256

Settled = Callable[[CommandFailed | None], None]
"""Called once when a block is with the server, or can't get there."""

ROOM = 32 * 1024 * 1024
"""Bytes of blocks in memory at once, waiting or under way. With compressed copies, the cutter's buffer and what
the HTTP library copies, the whole process stays below 200 MB; a test weighs it."""

BLOCK_COST = 1024
"""Bytes of room that a block takes beside its content: its name, its job, its place in the queues."""

_WINDOW = 8 * 1024 * 1024
_FIRST_WINDOW = 4 * 1024 * 1024
_FEW = 64
_KNOWN_KEPT = 100_000
_SEND_TRIES = 3


class BlockSender:
    """Takes blocks from one thread and gets them to the server with the crew's."""

    def __init__(self, api: Api, crew: Crew, *, compressing: bool, on_sent: Callable[[int], None]) -> None:
        """`on_sent` is told how many bytes went over the wire, as they went."""
        self._api = api
        self._crew = crew
        self._compressing = compressing
        self._on_sent = on_sent
        self._window: list[tuple[BlockRef, bytes]] = []
        self._window_bytes = 0
        self._lock = Lock()
        self._questions = 0
        self._known: set[Sha256] = set()
        self._under_way: dict[Sha256, list[Settled]] = {}

    def offer(self, ref: BlockRef, content: bytes, settled: Settled) -> None:
        """See to it that the server has `content`; waits while too much is in memory."""
        with self._lock:
            known = ref.sha256 in self._known
            if not known and ref.sha256 in self._under_way:
                self._under_way[ref.sha256].append(settled)
                return
        if known:
            settled(None)
            return
        self.hold(ref.size + BLOCK_COST)
        with self._lock:
            self._under_way[ref.sha256] = [settled]
            asking = self._questions > 0
        self._window.append((ref, content))
        self._window_bytes += ref.size
        full = len(self._window) >= MOST_HASHES or self._window_bytes >= _WINDOW
        enough = len(self._window) >= _FEW or self._window_bytes >= _FIRST_WINDOW
        if full or (enough and not asking):
            self.flush()

    def hold(self, units: int) -> None:
        """Take room of the crew's; what waits here for more company is sent off first, or it would wait forever."""
        if not self._crew.try_hold(units):
            self.flush()
            self._crew.hold(units)

    def flush(self) -> None:
        """Ask about what has been gathered, however little it is."""
        if self._window:
            window, self._window, self._window_bytes = self._window, [], 0
            with self._lock:
                self._questions += 1
            self._crew.submit(partial(self._ask, window), urgent=True)

    def send(self, ref: BlockRef, content: bytes) -> None:
        """Send one block, whether the server has it or not; raises CommandFailed."""
        frame = compress(content) if self._compressing else None
        for left in reversed(range(_SEND_TRIES)):
            try:
                self._api.upload_block(ref.sha256, frame or content, compressed=frame is not None)
            except Corrupt:
                if not left:  # damaged on the way each time
                    raise
            else:
                break
        self._on_sent(len(frame or content))

    def _ask(self, window: list[tuple[BlockRef, bytes]]) -> None:
        missing = self._api.check_blocks([ref.sha256 for ref, _ in window])
        with self._lock:
            self._questions -= 1
        for ref, content in window:
            if ref.sha256 in missing:
                self._crew.submit(partial(self._deliver, ref, content))
            else:
                self._settle(ref, None)
        window.clear()

    def _deliver(self, ref: BlockRef, content: bytes) -> None:
        try:
            self.send(ref, content)
        except CommandFailed as error:
            if error.fatal:
                raise
            self._settle(ref, error)
        else:
            self._settle(ref, None)

    def _settle(self, ref: BlockRef, error: CommandFailed | None) -> None:
        with self._lock:
            waiting = self._under_way.pop(ref.sha256)
            if error is None:
                if len(self._known) >= _KNOWN_KEPT:
                    self._known.clear()  # costs a few needless questions, and bounds what is kept
                self._known.add(ref.sha256)
        self._crew.release(ref.size + BLOCK_COST)
        for settled in waiting:
            settled(error)
