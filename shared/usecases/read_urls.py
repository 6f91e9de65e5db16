"""Addresses by which blocks can be read straight from the store."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from shared.domain.ids import BlobId
from shared.ports.block_store import BlockStore, Container
from shared.ports.tables_blocks import PlacedBlock

_AT_ONCE = 100
"""Addresses that are signed before others get their turn: it is pure computing, 50 microseconds each."""


async def read_urls(
    store: BlockStore, blocks: Iterable[PlacedBlock], *, expires_at: datetime
) -> dict[BlobId, str]:
    """An address for each blob that holds one of the blocks; raises Unavailable."""
    urls: dict[BlobId, str] = {}
    for blob in dict.fromkeys(block.placement.blob for block in blocks):
        urls[blob] = await store.read_url(Container.BLOCKS, blob, expires_at=expires_at)
        if len(urls) % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return urls
