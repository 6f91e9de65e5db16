"""Cuts, held by golden vectors: clients of other makers that cut alike find each other's blocks."""

import io
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.blocks import BLOCK_SIZE, root_hash
from shared.domain.cutting import AVERAGE_SIZE, MIN_SIZE, cut_buffer, cut_stream
from tests.support.samples import noise, prose, ref_of

MIB = 1024 * 1024

# Made from SHA-256 of a word and a counter (see samples.noise), so that anybody can make them again.
CONTENTS = {
    "nothing": b"",
    "one byte": b"x",
    "less than the least": noise("golden", 100_000),
    "the least": noise("golden", MIN_SIZE),
    "noise": noise("golden", 9 * MIB),
    "prose": prose("golden", 5 * MIB),
    "zeros": bytes(10 * MIB),
    "noise with a hole": noise("a", 3_000_000) + bytes(2_000_000) + noise("b", 1_234_567),
}

GOLDEN = {
    "nothing": ([], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    "one byte": ([1], "0a325ca303eb3014c43ae004970f343634db176fa1697bcc8c9efac94626488d"),
    "less than the least": ([100_000], "debd98d76761313ccc8dcc187758ff67016283a3e388768945cc692007e9077b"),
    "the least": ([262_144], "daf9d7959afb4c80c95354ecbd785ebf152b19ca8310ed6ec631590e3b2f9954"),
    "noise": (
        [1_117_915, 2_060_818, 580_986, 700_199, 1_450_000, 1_231_951, 1_562_724, 732_591],
        "86617f1e06e4e10eda119f11283a8f4babfd78737271424a36c8e46d65ee1ca0",
    ),
    "prose": ([4_194_304, 1_048_576], "efc2cf7a78452c148b53cc539dfc0a4f2314cf36a913ae3fba57eff1d27da208"),
    "zeros": (
        [4_194_304, 4_194_304, 2_097_152],
        "cfbbdae2c77066b55ee0bca512cfca2299904017a44f1dc362f4cc4e3924925d",
    ),
    "noise with a hole": (
        [1_450_354, 1_001_249, 3_092_371, 690_593],
        "613fcd8b615cadc3edc0a66f06d120d5797e0634ee02d33d9ef00be1c475ca6e",
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_golden_vectors(name: str) -> None:
    blocks = [bytes(view) for view in cut_buffer(CONTENTS[name])]
    assert ([len(block) for block in blocks], root_hash(map(ref_of, blocks))) == GOLDEN[name]


@pytest.mark.parametrize("name", CONTENTS)
def test_a_stream_is_cut_like_a_buffer_and_nothing_is_lost(name: str) -> None:
    content = CONTENTS[name]
    from_stream = list(cut_stream(io.BytesIO(content)))
    assert from_stream == [bytes(view) for view in cut_buffer(memoryview(content))]
    assert b"".join(from_stream) == content


class Dribble:
    """A stream that gives at most `step` bytes at a time, as sockets and pipes do."""

    def __init__(self, content: bytes, step: int) -> None:
        self._rest, self._step = io.BytesIO(content), step

    def read(self, size: int, /) -> bytes:
        return self._rest.read(min(size, self._step))


@pytest.mark.parametrize("step", [1000, 65_536, 5 * MIB])
def test_how_a_stream_arrives_does_not_move_the_cuts(step: int) -> None:
    content = noise("dribble", 6 * MIB)
    assert list(cut_stream(Dribble(content, step))) == [bytes(view) for view in cut_buffer(content)]


@given(st.integers(0, 3 * MIB), st.integers(0, 50))
@settings(max_examples=20)
def test_every_block_keeps_to_the_bounds(size: int, word: int) -> None:
    sizes = [len(view) for view in cut_buffer(noise(str(word), size))]
    assert sum(sizes) == size
    assert all(MIN_SIZE <= each <= BLOCK_SIZE for each in sizes[:-1])
    assert all(0 < each <= BLOCK_SIZE for each in sizes)


def test_the_average_is_about_what_is_promised() -> None:
    sizes = [len(view) for view in cut_buffer(noise("average", 48 * MIB))]
    assert 0.8 * AVERAGE_SIZE < sum(sizes) / len(sizes) < 1.6 * AVERAGE_SIZE


@pytest.mark.parametrize("at", [0, 1_000_000, 4_500_000, 8 * MIB])
def test_an_inserted_byte_changes_only_the_blocks_around_it(at: int) -> None:
    content = noise("edit", 8 * MIB)
    before = [bytes(view) for view in cut_buffer(content)]
    after = [bytes(view) for view in cut_buffer(content[:at] + b"!" + content[at:])]
    assert b"".join(after) == content[:at] + b"!" + content[at:]
    assert len(set(after) - set(before)) <= 2


def test_both_ways_can_run_side_by_side() -> None:
    content = noise("two", 5 * MIB)
    together = list(zip(cut_buffer(content), cut_stream(io.BytesIO(content)), strict=True))
    assert all(bytes(view) == block for view, block in together)
    ends = [sum(len(block) for _, block in together[:n]) for n in range(len(together) + 1)]
    assert all(start < stop for start, stop in pairwise(ends))
