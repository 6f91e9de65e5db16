"""Many small blocks in few blobs.

Storage is paid by the write, and every write waits for one: a thousand blocks of 16 KiB cost a thousand writes alone
and two together. So blocks that arrive in one request share blobs, each lying behind the one before it; who
reads one of them reads its range. A pack lives for as long as any of its blocks.
"""

from collections.abc import Sequence

PACK_SIZE = 8 * 1024 * 1024
"""The most bytes of a pack: what one request may bring, so that they cost one write.

More would be cheaper still to write and read, but a Functions instance holds several requests in memory at once.
"""


def plan_packs(sizes: Sequence[int]) -> list[range]:
    """Which blocks of `sizes` stored bytes go together, in their order: runs of at most PACK_SIZE bytes."""
    packs: list[range] = []
    start, filled = 0, 0
    for index, size in enumerate(sizes):
        if filled and filled + size > PACK_SIZE:
            packs.append(range(start, index))
            start, filled = index, 0
        filled += size
    if start < len(sizes):
        packs.append(range(start, len(sizes)))
    return packs
