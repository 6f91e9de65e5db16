"""Blocks to the server through its gateway: a few in each request, compressed where that pays.

Those of one request share a blob (ADR 17), so what is sent together is about what fits into one: fewer requests, fewer
writes that are paid for, and for who reads the file later fewer reads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from client.api import Api
from client.batches import Packed
from client.block_claims import Claims
from client.compression import compress
from client.crew import Crew
from client.errors import CommandFailed, Corrupt
from shared.domain.blocks import BlockRef
from shared.domain.packing import PACK_SIZE

_TRIES = 3
_MOST = 64
"""Blocks of one request: the interface's limit."""

T = TypeVar("T")


class GatewayRoute:
    """Sends blocks with the crew's threads; a block has settled when its request is answered."""

    def __init__(
        self, api: Api, crew: Crew, claims: Claims, *, compressing: bool, on_sent: Callable[[int], None]
    ) -> None:
        """`on_sent` is told how many bytes went over the wire, as they went."""
        self._api = api
        self._crew = crew
        self._claims = claims
        self._compressing = compressing
        self._on_sent = on_sent

    def take(self, missing: Sequence[tuple[BlockRef, bytes]]) -> None:
        """Have blocks delivered that the server lacks."""
        for group in grouped(missing, lambda one: one[0].size):
            self._crew.submit(partial(self._deliver_all, group))

    def _deliver_all(self, blocks: list[tuple[BlockRef, bytes]]) -> None:
        error: CommandFailed | None = None
        try:
            self._on_sent(send_blocks(self._api, blocks, compressing=self._compressing))
        except Corrupt as failure:
            if len(blocks) > 1:  # one of them is: the others are not to fail with it
                for ref, content in blocks:
                    self.deliver(ref, content)
                return
            error = failure
        except CommandFailed as failure:
            if failure.fatal:
                raise
            error = failure
        for ref, _ in blocks:
            self._claims.settle(ref, error)
        blocks.clear()

    def deliver(self, ref: BlockRef, content: bytes) -> None:
        """Send one block and settle it; raises what ends the run."""
        try:
            self.send(ref, content)
        except CommandFailed as error:
            if error.fatal:
                raise
            self._claims.settle(ref, error)
        else:
            self._claims.settle(ref, None)

    def send(self, ref: BlockRef, content: bytes) -> None:
        """Send one block, whether the server has it or not, and settle nothing; raises CommandFailed."""
        self._on_sent(send_blocks(self._api, [(ref, content)], compressing=self._compressing))


def grouped(blocks: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Runs of blocks, in their order, that travel together: as many as fill a blob, or one."""
    group: list[T] = []
    size = 0
    for block in blocks:
        if group and (size + size_of(block) > PACK_SIZE or len(group) == _MOST):
            yield group
            group, size = [], 0
        group.append(block)
        size += size_of(block)
    if group:
        yield group


def send_blocks(api: Api, blocks: Sequence[tuple[BlockRef, bytes]], *, compressing: bool) -> int:
    """Send these in one request, whether the server has them or not; returns how many bytes of them went.

    Raises CommandFailed, Corrupt when one was damaged on the way each time.
    """
    packed: list[Packed] = []
    for ref, content in blocks:
        frame = compress(content) if compressing else None
        packed.append(Packed(ref.sha256, frame or content, frame is not None))
    for left in reversed(range(_TRIES)):
        try:
            if len(packed) > 1:
                api.upload_blocks(packed)
            else:
                [only] = packed
                api.upload_block(only.sha256, bytes(only.body), compressed=only.compressed)
        except Corrupt:
            if not left:
                raise
        else:
            break
    return sum(len(each.body) for each in packed)
