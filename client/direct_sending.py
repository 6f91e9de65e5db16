"""Blocks straight into storage, past the gateway: `strata up --direct`.

    wait for a grant  ->  put the bytes  ->  wait until the server has looked at them  ->  settled

The server learns of a delivery by an event, a second or two later, and an event may get lost, or the server may refuse
what came. So nobody waits for a single block: everything is delivered, the server is asked about all that was
delivered at once, and meanwhile memory forgets what can be read again.

The gateway is always there to fall back on. A run that meets something here which doesn't pass (grants that don't
work, a storage that can't be reached, deliveries of which nobody takes notice) says so and goes on that way.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from time import monotonic

from client.api import MOST_GRANTS, MOST_HASHES, Api
from client.block_claims import Claims
from client.block_putting import BlockPutter, GrantRefused
from client.crew import Crew
from client.errors import LocalProblem, NotThere, Throttled, Unexpected, Unreachable
from client.gateway_sending import GatewayRoute
from client.wire import Grant
from shared.domain.blocks import BlockRef, Sha256

MOST_OUTSTANDING = 900
"""Blocks that may be granted and not settled. The server allows a user 1,000, and another device may run too."""

GRANT_TRIES = 3
"""How often a block is granted before its grants are held to be of no use: a clock is wrong, say."""

_RESENDERS = 2
"""Lost blocks that are read again at once: they come on top of the room that is shared out already."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between questions about what was delivered, growing while nothing changes; and the longest silence."""

    first: float = 0.25
    growth: float = 1.5
    longest: float = 2.0
    silence: float = 60.0

    def after_progress(self, left: int) -> float:
        """Longer while much is left: the last answer ends the run, and the ones before only keep the server busy."""
        return min(self.longest, self.first * (1 + left / 50))


@dataclass(slots=True)
class _Batch:
    """Blocks that go for their grants together; `tries` is how often they have been granted before."""

    blocks: list[tuple[BlockRef, bytes]]
    tries: int = 0


class DirectRoute:
    """Delivers blocks by grants, with the crew's threads, none of which ever waits here."""

    def __init__(
        self,
        api: Api,
        crew: Crew,
        claims: Claims,
        gateway: GatewayRoute,
        putter: BlockPutter,
        *,
        on_sent: Callable[[int], None],
        remark: Callable[[str], None],
        pace: Pace | None = None,
    ) -> None:
        """`on_sent` is told how many bytes were put into storage, `remark` why the gateway is used instead."""
        self._api = api
        self._crew = crew
        self._claims = claims
        self._gateway = gateway
        self._putter = putter
        self._on_sent = on_sent
        self._remark = remark
        self._pace = pace or Pace()
        self._lock = Lock()
        self._waiting: deque[_Batch] = deque()
        self._outstanding = 0
        self._throttled = False
        self._given_up = False
        self._delivered: dict[Sha256, tuple[BlockRef, bytes | None]] = {}
        self._watching = False
        self._heard_at = 0.0
        self._pause = self._pace.first
        self._lost: deque[tuple[BlockRef, bytes | None]] = deque()

    def take(self, missing: Sequence[tuple[BlockRef, bytes]]) -> None:
        """Have blocks delivered that the server lacks."""
        batches = [
            _Batch(list(missing[start : start + MOST_GRANTS]))
            for start in range(0, len(missing), MOST_GRANTS)
        ]
        with self._lock:
            self._waiting += batches
        self._go_on()

    def _go_on(self) -> None:
        """Ask for the grants of what waits, as far as more may be outstanding."""
        ready: list[_Batch] = []
        with self._lock:
            if self._throttled and self._outstanding and not self._given_up:
                return  # the server asks to wait for what is under way
            self._throttled = False
            while self._waiting and (
                self._given_up or self._outstanding + len(self._waiting[0].blocks) <= MOST_OUTSTANDING
            ):
                ready.append(self._waiting.popleft())
                self._outstanding += len(ready[-1].blocks)
        for batch in ready:
            self._crew.submit(partial(self._grant, batch), urgent=True)

    def _grant(self, batch: _Batch) -> None:
        grants: dict[str, Grant] = {}
        if not self._given_up:
            try:
                grants = self._api.grant_blocks([ref for ref, _ in batch.blocks])
            except Throttled:
                if self._put_back(batch):
                    return
                self._give_up("the server hands out no more grants for now")
            except NotThere:
                self._give_up("the server hands out no grants")
        for ref, content in batch.blocks:
            grant = grants.get(ref.sha256)
            if grant:
                self._crew.submit(partial(self._put, grant, ref, content, batch.tries))
            elif self._given_up:
                self._by_gateway(ref, content)
            else:  # it is there already: somebody else was quicker
                self._leave(1)
                self._claims.settle(ref, None)
        batch.blocks.clear()
        self._go_on()

    def _put_back(self, batch: _Batch) -> bool:
        """Let a batch wait until something that is under way has settled; False when nothing is."""
        with self._lock:
            self._outstanding -= len(batch.blocks)
            if not self._outstanding:
                self._outstanding = len(batch.blocks)
                return False
            self._waiting.appendleft(batch)
            self._throttled = True
        return True

    def _put(self, grant: Grant, ref: BlockRef, content: bytes, tries: int) -> None:
        if not self._given_up:
            try:
                self._putter.put(grant, content)
            except GrantRefused:
                if tries + 1 < GRANT_TRIES:
                    again = _Batch([(ref, content)], tries + 1)
                    self._crew.submit(partial(self._grant, again), urgent=True)
                    return
                self._give_up("the storage refuses the server's grants")
            except (Unreachable, Unexpected) as error:
                self._give_up(str(error))
            else:
                self._on_sent(len(content))
                self._await(ref, content)
                return
        self._by_gateway(ref, content)
        self._go_on()

    def _await(self, ref: BlockRef, content: bytes) -> None:
        kept = None if self._claims.gone(ref) else content
        with self._lock:
            self._delivered[ref.sha256] = (ref, kept)
            begins, self._watching = not self._watching, True
            if begins:
                self._heard_at, self._pause = monotonic(), self._pace.first
        if begins:
            self._crew.submit(self._look, after=self._pause)

    def _look(self) -> None:
        """Ask which deliveries the server has taken over, settle those, and come back for the others."""
        with self._lock:
            asked = list(self._delivered)[:MOST_HASHES]
        missing = self._api.check_blocks(asked)
        settled: list[BlockRef] = []
        lost: list[tuple[BlockRef, bytes | None]] = []
        with self._lock:
            settled += [self._delivered.pop(sha256)[0] for sha256 in asked if sha256 not in missing]
            now = monotonic()
            if settled:
                self._heard_at, self._pause = now, self._pace.after_progress(len(self._delivered))
                self._throttled = False
            else:
                self._pause = min(self._pause * self._pace.growth, self._pace.longest)
                if now - self._heard_at >= self._pace.silence:
                    lost += self._delivered.values()
                    self._delivered.clear()
            self._watching = bool(self._delivered)
            again, self._outstanding = self._watching, self._outstanding - len(settled) - len(lost)
            self._lost += lost
        for ref in settled:
            self._claims.settle(ref, None)
        if again:
            self._crew.submit(self._look, after=self._pause)
        if lost:
            self._give_up(
                f"the server took over nothing of what was delivered for {self._pace.silence:.0f} s"
            )
            for _ in range(min(_RESENDERS, len(lost))):
                self._crew.submit(self._send_lost)
        self._go_on()

    def _send_lost(self) -> None:
        with self._lock:
            if not self._lost:
                return
            ref, content = self._lost.popleft()
        try:
            content = content or self._claims.read_again(ref)
        except LocalProblem as error:
            self._claims.settle(ref, error)
        else:
            self._gateway.deliver(ref, content)
        self._crew.submit(self._send_lost)

    def _by_gateway(self, ref: BlockRef, content: bytes) -> None:
        self._leave(1)
        self._crew.submit(partial(self._gateway.deliver, ref, content))

    def _leave(self, blocks: int) -> None:
        with self._lock:
            self._outstanding -= blocks
            self._throttled = False

    def _give_up(self, reason: str) -> None:
        with self._lock:
            first, self._given_up = not self._given_up, True
        if first:
            self._remark(f"--direct ends here: {reason}. The rest goes through the gateway")
