"""Getting blocks to the server, each once.

Blocks are gathered into windows, and the server is asked about a whole window at a time: asking for each would
cost as much as sending a small one. Only what it lacks is sent, side by side, by one of two routes: through the
gateway, or straight into storage. A block that is on its way already, for another file or another place in
the same one, is waited for instead of sent again.
"""

from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Protocol

from client.api import MOST_HASHES, Api
from client.block_claims import BLOCK_COST, Claim, Claims
from client.crew import Crew
from shared.domain.blocks import BlockRef
from shared.domain.packing import PACK_SIZE

ROOM = 32 * 1024 * 1024
"""Bytes of blocks in memory at once, waiting or under way. With compressed copies, the cutter's buffer and what
the HTTP library copies, the whole process stays below 200 MB; a test weighs it."""

_FEW = 64
"""Blocks that are enough for a question, while none is under way."""


class Route(Protocol):
    """A way by which blocks get to the server; it settles each block that it takes."""

    def take(self, missing: Sequence[tuple[BlockRef, bytes]]) -> None:
        """Have blocks delivered that the server lacks."""


class BlockSender:
    """Takes blocks from one thread and gets them to the server with the crew's."""

    def __init__(self, api: Api, crew: Crew, claims: Claims, route: Route) -> None:
        self._api = api
        self._crew = crew
        self._claims = claims
        self._route = route
        self._window: list[tuple[BlockRef, bytes]] = []
        self._window_bytes = 0
        self._lock = Lock()
        self._questions = 0

    def offer(self, ref: BlockRef, content: bytes, claim: Claim) -> None:
        """See to it that the server has `content`; waits while too much is in memory."""
        if self._claims.join(ref.sha256, claim):
            return
        self.hold(ref.size + BLOCK_COST)
        self._claims.open(ref, claim)
        if self._window_bytes + ref.size > PACK_SIZE:
            # What is asked about together is sent together, and should fill one blob.
            self.flush()
        with self._lock:
            asking = self._questions > 0
        self._window.append((ref, content))
        self._window_bytes += ref.size
        if len(self._window) >= MOST_HASHES or (len(self._window) >= _FEW and not asking):
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

    def _ask(self, window: list[tuple[BlockRef, bytes]]) -> None:
        missing = self._api.check_blocks([ref.sha256 for ref, _ in window])
        with self._lock:
            self._questions -= 1
        self._route.take([(ref, content) for ref, content in window if ref.sha256 in missing])
        for ref, _ in window:
            if ref.sha256 not in missing:
                self._claims.settle(ref, None)
        window.clear()
