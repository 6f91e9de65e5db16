"""Blocks to the server through its gateway: one request each, compressed where that pays."""

from collections.abc import Callable, Sequence
from functools import partial

from client.api import Api
from client.block_claims import Claims
from client.compression import compress
from client.crew import Crew
from client.errors import CommandFailed, Corrupt
from shared.domain.blocks import BlockRef

_TRIES = 3


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
        for ref, content in missing:
            self._crew.submit(partial(self.deliver, ref, content))

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
        frame = compress(content) if self._compressing else None
        for left in reversed(range(_TRIES)):
            try:
                self._api.upload_block(ref.sha256, frame or content, compressed=frame is not None)
            except Corrupt:
                if not left:  # damaged on the way each time
                    raise
            else:
                break
        self._on_sent(len(frame or content))
