"""Several blocks of a large file in one request: they share a blob, as small ones do.

Content-defined blocks have about 1 MiB. One by one, each would be a request, two transactions, a write that is paid
for and later a read; about six together are one of each.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.accounts import Caller
from shared.domain.blocks import BlockRef, Sha256
from shared.domain.codecs import Codec
from shared.domain.errors import TooLarge
from shared.domain.ids import NamespaceId
from shared.usecases.admit_block import AdmitBlock, Examined, examine
from shared.usecases.authority import writer

MOST_AT_ONCE = 8 * 1024 * 1024
"""Plain bytes of the blocks of one call: a full pack, which a process holds several times over."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A block as it came: `body` holds it in `codec`, and it must be the one with the hash `stated`."""

    body: bytes
    codec: Codec
    stated: Sha256


@dataclass(frozen=True)
class AdmitBlocks:
    admit_block: AdmitBlock

    async def __call__(
        self, caller: Caller, namespace: NamespaceId | None, sent: Sequence[Sent]
    ) -> Sequence[BlockRef]:
        """Admit all of these or none, and lease them to the caller; returns them in order.

        Raises as `AdmitBlock` does for any of them, and TooLarge when they have too many bytes together.
        """
        blocks = await asyncio.to_thread(_examined, sent)
        different = list({block.ref.sha256: block for block in blocks}.values())
        await self.admit_block.admit_examined(
            lambda tx: writer(tx, caller, namespace), different, reserved=False
        )
        return [block.ref for block in blocks]


def _examined(sent: Sequence[Sent]) -> list[Examined]:
    blocks: list[Examined] = []
    left = MOST_AT_ONCE
    for each in sent:
        # One by one: what a few bytes may unpack to must not be in memory together.
        block = examine(each.body, each.codec, each.stated)
        left -= block.ref.size
        if left < 0:
            raise TooLarge(f"send blocks of at most {MOST_AT_ONCE} bytes at once", limit=MOST_AT_ONCE)
        blocks.append(block)
    return blocks
