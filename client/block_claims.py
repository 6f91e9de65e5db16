"""Which blocks are under way, and who waits for each.

The same block may be wanted by several places and files. It travels once: whoever wants it later joins those who
wait. A block that has left this process is not with the server yet when it went straight into storage, so
there are two moments: its bytes are gone (memory is free, progress counts), and it has settled.
"""

from collections.abc import Callable
from threading import Lock

import msgspec

from client.crew import Crew
from client.errors import CommandFailed, LocalProblem
from shared.domain.blocks import BlockRef, Sha256

BLOCK_COST = 1024
"""Bytes of room that a block takes beside its content: its name, its job, its place in the queues."""

_KNOWN_KEPT = 100_000


def _nothing() -> None:
    pass


class Claim(msgspec.Struct, frozen=True):
    """What one of those who want a block is told, each once and from any thread.

    `settled`: it is with the server, or can't get there. `gone`, never after `settled`: its bytes are under way no
    more. `again` reads the content once more, checked by its hash; None where that is impossible.
    """

    settled: Callable[[CommandFailed | None], None]
    gone: Callable[[], None] = _nothing
    again: Callable[[], bytes] | None = None


class _UnderWay(msgspec.Struct):
    claims: list[Claim] = msgspec.field(default_factory=list)
    gone: bool = False
    holds_content: bool = True


class Claims:
    """Claims by block; a block under way holds room of the crew's for itself and, at first, for its content."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._lock = Lock()
        self._known: set[Sha256] = set()
        self._under_way: dict[Sha256, _UnderWay] = {}

    def join(self, sha256: Sha256, claim: Claim) -> bool:
        """Whether the block needs no sending for this claim, which is or will be told."""
        with self._lock:
            known = sha256 in self._known
            entry = None if known else self._under_way.get(sha256)
            if entry:
                entry.claims.append(claim)
                if not entry.gone:
                    return True
        if known or entry:
            claim.gone()
        if known:
            claim.settled(None)
        return known or entry is not None

    def open(self, ref: BlockRef, claim: Claim) -> None:
        """Note that a block sets out; its room (size and BLOCK_COST) is held by the caller and released here."""
        with self._lock:
            self._under_way[ref.sha256] = _UnderWay([claim])

    def gone(self, ref: BlockRef) -> bool:
        """Note that the content has left; returns whether it can be read again and memory may forget it."""
        with self._lock:
            entry = self._under_way[ref.sha256]
            entry.gone = True
            claims = list(entry.claims)
            forgets = entry.holds_content and any(claim.again for claim in claims)
            entry.holds_content = entry.holds_content and not forgets
        if forgets:
            self._crew.release(ref.size)
        for claim in claims:
            claim.gone()
        return forgets

    def read_again(self, ref: BlockRef) -> bytes:
        """The content from whichever file still has it; raises LocalProblem when none does."""
        with self._lock:
            sources = [claim.again for claim in self._under_way[ref.sha256].claims if claim.again]
        failure = LocalProblem("a block that got lost can't be read again", code="changed")
        for source in sources:
            try:
                return source()
            except LocalProblem as error:
                failure = error
        raise failure

    def settle(self, ref: BlockRef, error: CommandFailed | None) -> None:
        """Tell everybody that the block is with the server, or that it can't get there."""
        with self._lock:
            entry = self._under_way.pop(ref.sha256)
            if error is None:
                if len(self._known) >= _KNOWN_KEPT:
                    self._known.clear()  # costs a few needless questions, and bounds what is kept
                self._known.add(ref.sha256)
        self._crew.release(BLOCK_COST + (ref.size if entry.holds_content else 0))
        for claim in entry.claims:
            if not entry.gone:
                claim.gone()
            claim.settled(error)
