"""Runs of blocks as they come: cut into any pieces, packed or not, damaged, broken off."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from threading import Event

import msgspec
import pytest
import zstandard

from client.block_fetching import BlockReader
from client.block_runs import Run, Spot, side_by_side, spots_of
from client.http import Http
from client.retrying import Patience
from client.wire import BlockPlace
from shared.domain.blocks import Buffer, hash_of
from shared.domain.digests import blake3_of
from shared.domain.packing import PACK_SIZE
from tests.unit.client.fake_line import served


class Stored:
    """A blob, a file, and what a run has told of it."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.places: list[BlockPlace] = []
        self.file = bytearray()
        self.landed: list[int] = []

    def put(self, plain: bytes, *, packed: bool = False, blake3: str | None = None) -> None:
        stored = zstandard.ZstdCompressor().compress(plain) if packed else plain
        codec = "zstd" if packed else "none"
        place = BlockPlace(
            sha256=hash_of(plain),
            size=len(plain),
            url="http://one",
            offset=len(self.blob),
            stored_size=len(stored),
            codec=codec,
            blake3=blake3,
        )
        self.places.append(place)
        self.blob += stored
        self.file += bytes(len(plain))

    def run(self, spots: Sequence[Spot] | None = None) -> Run:
        return Run(self.places, spots or spots_of(self.places), self.write, self.landed.append)

    def write(self, content: Buffer, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self.file[offset : offset + len(content)] = content

    def read_over_a_line(self, answer: Callable[[bytes], bytes], patience: Patience) -> list[bytes]:
        """Have all blocks read from a server that answers so with what was asked for; returns the ranges."""
        asked: list[bytes] = []

        def say(request: bytes) -> bytes:
            [bounds] = re.findall(rb"Range: bytes=(\d+-\d+)", request)
            asked.append(bounds)
            first, last = map(int, bounds.split(b"-"))
            return answer(bytes(self.blob[first : last + 1]))

        with served(say) as line, Http(1) as http:
            line.hang_up_after = True
            places = [msgspec.structs.replace(each, url=line.url) for each in self.places]
            run = Run(places, spots_of(places), self.write, self.landed.append)
            BlockReader(http, Event(), patience).read_run(run)
        assert not run.left
        return asked

    def rest_of(self, run: Run) -> memoryview:
        start, size = run.rest()
        return memoryview(bytes(self.blob[start : start + size]))


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_in_any_pieces_is_the_file(seed: int) -> None:
    chance, stored = random.Random(seed), Stored()
    print(f"seed {seed}")
    contents = [chance.randbytes(chance.choice([1, 7, 100, 5_000])) for _ in range(chance.randrange(1, 12))]
    if chance.random() < 0.5:
        contents.insert(chance.randrange(len(contents)), contents[0])
    for content in dict.fromkeys(contents):
        blake3 = chance.choice([None, blake3_of(content)])
        stored.put(content, packed=chance.random() < 0.3, blake3=blake3)
    by_hash = {place.sha256: place for place in stored.places}
    manifest = [by_hash[hash_of(content)] for content in contents]
    stored.file = bytearray(sum(map(len, contents)))
    run = Run(manifest, spots_of(manifest), stored.write, stored.landed.append)
    coming = stored.rest_of(run)
    while coming:
        size = chance.randrange(1, 3_000)
        if chance.random() < 0.1:  # the connection breaks off, and another one goes on
            run.take(coming[: size // 2])
            coming = stored.rest_of(run) if run.left else coming[:0]
            continue
        run.take(coming[:size])
        coming = coming[size:]
    assert bytes(stored.file) == b"".join(contents)
    assert sum(stored.landed) == len(stored.file)
    assert not run.left
    assert not run.wrong


@pytest.mark.parametrize("blake3", [None, blake3_of], ids=["by SHA-256", "by BLAKE3"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_block_is_told_and_counts_for_nothing(
    packed: bool, blake3: Callable[[bytes], str] | None
) -> None:
    stored = Stored()
    # In the middle one's frame its bytes are as they are, so that a wrong one comes out of it without complaint.
    for content in (b"a" * 100, bytes(range(100)), b"c" * 100):
        stored.put(content, packed=packed, blake3=blake3 and blake3(content))
    stored.blob[stored.places[1].offset + stored.places[1].stored_size // 2] ^= 1
    run = stored.run()
    run.take(stored.rest_of(run))
    assert [spot.block for spot in run.wrong] == [1]
    assert not run.left
    if packed:
        assert zstandard.decompress(stored.blob[stored.places[1].offset : stored.places[1].stop])
    assert stored.landed == [100, 100]
    assert stored.file.startswith(b"a" * 100)
    assert stored.file.endswith(b"c" * 100)


def test_a_blake3_that_is_not_believed_is_not_looked_at() -> None:
    stored = Stored()
    stored.put(b"a" * 100, blake3=blake3_of(b"b"))
    run = Run(stored.places, spots_of(stored.places), stored.write, stored.landed.append, by_blake3=False)
    run.take(stored.rest_of(run))
    assert not run.wrong
    assert stored.landed == [100]


def test_blocks_that_came_need_not_come_again() -> None:
    stored = Stored()
    for letter in (b"a", b"b", b"c"):
        stored.put(letter * 100)
    run = stored.run()
    assert run.rest() == (0, 300)
    run.take(stored.rest_of(run)[:250])
    assert run.rest() == (200, 100)
    run.take(memoryview(b"c" * 100))
    assert stored.landed == [100, 100, 100]


def test_more_than_was_asked_for_is_not_written() -> None:
    stored = Stored()
    stored.put(b"a" * 100)
    run = stored.run()
    run.take(memoryview(b"a" * 100 + b"more"))
    assert bytes(stored.file) == b"a" * 100


def test_a_size_that_contradicts_the_codec_is_no_block() -> None:
    stored = Stored()
    stored.put(b"a" * 100)
    lying = BlockPlace(
        sha256=hash_of(b"a" * 50), size=50, url="http://one", offset=0, stored_size=100, codec="none"
    )
    run = Run([lying], [Spot(0, [0])], stored.write, stored.landed.append)
    run.take(memoryview(b"a" * 100))
    assert [spot.block for spot in run.wrong] == [0]
    assert not stored.landed
    assert bytes(stored.file) == bytes(100), "nothing is written behind the block's place"


@pytest.mark.parametrize("blake3", [None, blake3_of], ids=["by SHA-256", "by BLAKE3"])
def test_a_connection_that_breaks_off_costs_the_block_that_was_coming(
    blake3: Callable[[bytes], str] | None,
) -> None:
    stored = Stored()
    for letter in (b"a", b"b", b"c"):
        stored.put(letter * 100, blake3=blake3 and blake3(letter * 100))

    def cut(body: bytes) -> bytes:
        return b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:150])

    # Each time some of it comes, so that one try is enough however often it breaks off.
    assert stored.read_over_a_line(cut, Patience(tries=1)) == [b"0-299", b"100-299", b"200-299"]
    assert stored.landed == [100, 100, 100]
    assert bytes(stored.file) == b"a" * 100 + b"b" * 100 + b"c" * 100


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n%b\r\n0\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\n\r\n%b",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n%b",
    ],
    ids=["in chunks", "to the end of the connection", "the whole blob"],
)
def test_what_comes_in_another_way_is_not_asked_for_again(answer: bytes) -> None:
    stored = Stored()
    for letter in (b"a", b"b", b"c"):
        stored.put(letter * 100)
    assert stored.read_over_a_line(lambda body: answer % body, Patience(tries=1)) == [b"0-299"]
    assert stored.landed == [100, 100, 100]
    assert bytes(stored.file) == b"a" * 100 + b"b" * 100 + b"c" * 100


def place(url: str, offset: int, size: int) -> BlockPlace:
    sha256 = hash_of(f"{url} {offset}".encode())
    return BlockPlace(sha256=sha256, size=size, url=url, offset=offset, stored_size=size, codec="none")


def test_runs_end_with_the_blob_with_a_gap_and_with_its_size() -> None:
    places = [
        place("http://one", 0, 10),
        place("http://one", 10, 10),
        place("http://two", 20, 10),
        place("http://two", 31, 10),
        place("http://two", 41, PACK_SIZE - 10),
        place("http://two", 31 + PACK_SIZE, 1),
    ]
    runs = side_by_side(places, spots_of(places))
    assert [[spot.block for spot in run] for run in runs] == [[0, 1], [2], [3, 4], [5]]


def test_each_block_has_all_its_offsets_once() -> None:
    first, second = place("http://one", 0, 10), place("http://one", 10, 5)
    assert spots_of([first, second, first]) == [Spot(0, [0, 15]), Spot(1, [10])]
