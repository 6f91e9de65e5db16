"""Blocks that lie side by side in the storage: read with one request, and dealt with piece by piece as they come.

A piece is hashed and written while the processor's cache still has it. Collected first, hashed then and written last,
the same bytes would come out of memory three times, and the server on the same machine would feel it too.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from client.compression import decode
from client.errors import Corrupt
from client.wire import BlockPlace
from shared.domain.blocks import Buffer
from shared.domain.packing import PACK_SIZE

if TYPE_CHECKING:
    from blake3 import blake3


class Spot(NamedTuple):
    """A block by its place in the manifest, and the offsets that it has in the file, in bytes."""

    block: int
    offsets: list[int]


Write = Callable[[Buffer, Iterable[int]], None]
"""Writes the same bytes at each offset of a file."""

Landed = Callable[[int], None]
"""Is told that so many bytes of the file are there, once for each block."""


def spots_of(blocks: Sequence[BlockPlace]) -> list[Spot]:
    """Each block of a manifest once, by its first index."""
    spots: dict[str, Spot] = {}
    offset = 0
    for index, block in enumerate(blocks):
        spots.setdefault(block.sha256, Spot(index, [])).offsets.append(offset)
        offset += block.size
    return list(spots.values())


def side_by_side(blocks: Sequence[BlockPlace], wanted: Iterable[Spot]) -> list[list[Spot]]:
    """What is wanted of `blocks`, in runs that lie one behind the other in one blob, of a blob's size at most."""
    runs: list[list[Spot]] = []
    start = 0
    before: BlockPlace | None = None
    for spot in wanted:
        place = blocks[spot.block]
        follows = before is not None and (before.url, before.stop) == (place.url, place.offset)
        if follows and place.stop - start <= PACK_SIZE:
            runs[-1].append(spot)
        else:
            runs.append([spot])
            start = place.offset
        before = place
    return runs


class _Check:
    """Whether the plain bytes of a block are the ones that its manifest names.

    By BLAKE3 if the manifest has it, since that takes a quarter of the time of a SHA-256 or less. What fails here is
    read again, and then its SHA-256 decides.
    """

    def __init__(self, place: BlockPlace, *, by_blake3: bool) -> None:
        quickly = by_blake3 and place.blake3
        self._wanted = quickly or place.sha256
        self._digest = _new_blake3() if quickly else sha256()

    def update(self, plain: Buffer) -> None:
        """Take the bytes that come next."""
        self._digest.update(plain)

    def passed(self) -> bool:
        return self._digest.hexdigest() == self._wanted


def _new_blake3() -> "blake3":
    from blake3 import blake3  # many small files are brought without, and start faster

    return blake3()


class Run:
    """A run on its way; one thread's. `wrong` are the blocks that came and weren't what their hashes say."""

    def __init__(
        self,
        blocks: Sequence[BlockPlace],
        spots: Sequence[Spot],
        write: Write,
        landed: Landed,
        *,
        by_blake3: bool = True,
    ) -> None:
        """`write` gets bytes before it is known whether they are right: of a block that is, `landed` is told.

        `by_blake3` says that a block's BLAKE3, if the manifest has it, is believed.
        """
        self.wrong: list[Spot] = []
        self._places = [blocks[spot.block] for spot in spots]
        self._spots = spots
        self._write = write
        self._landed = landed
        self._by_blake3 = by_blake3
        self._at = 0
        self._begin()

    @property
    def left(self) -> Sequence[Spot]:
        """The blocks that have not come to their end."""
        return self._spots[self._at :]

    @property
    def url(self) -> str:
        return self._places[0].url

    def rest(self) -> tuple[int, int]:
        """Where the first block begins that has not come to its end, and how many bytes there are from there on.

        What has come of it is forgotten, since it is going to come again.
        """
        self._begin()
        start = self._places[self._at].offset
        return start, self._places[-1].stop - start

    def take(self, piece: memoryview) -> None:
        """Deal with what comes next; raises what `write` does."""
        while piece and self._at < len(self._places):
            place = self._places[self._at]
            if not self._have:
                self._check = _Check(place, by_blake3=self._by_blake3)
            part = piece[: place.stored_size - self._have]
            if self._is_plain(place):
                self._check.update(part)
                self._write(part, [offset + self._have for offset in self._spots[self._at].offsets])
            else:
                self._stored += part
            self._have += len(part)
            piece = piece[len(part) :]
            if self._have == place.stored_size:
                self._end(place, self._spots[self._at])
                self._at += 1
                self._begin()

    def _begin(self) -> None:
        self._have = 0
        self._stored = bytearray()

    def _end(self, place: BlockPlace, spot: Spot) -> None:
        if self._unpack(place, spot) if self._stored else self._check.passed():
            self._landed(place.size * len(spot.offsets))
        else:
            self.wrong.append(spot)

    def _unpack(self, place: BlockPlace, spot: Spot) -> bool:
        try:
            plain = decode(self._stored, place.codec, place.size)
        except Corrupt:
            return False
        self._check.update(plain)
        if not self._check.passed():
            return False
        self._write(plain, spot.offsets)
        return True

    @staticmethod
    def _is_plain(place: BlockPlace) -> bool:
        return place.codec == "none" and place.stored_size == place.size
