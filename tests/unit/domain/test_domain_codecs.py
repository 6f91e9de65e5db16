"""Compression: worth it or left alone, bounded whatever a frame claims, and never a part for the whole."""

import struct
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.blocks import BLOCK_SIZE
from shared.domain.codecs import Codec, decode, encode, pays
from shared.domain.errors import Malformed, TooLarge
from tests.support.samples import noise, prose


def frame_without_size(plain: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(plain) + compressor.flush()


@pytest.mark.parametrize("size", [1, 100, 4096, 128 * 1024, 1024 * 1024, BLOCK_SIZE])
@pytest.mark.parametrize("make", [noise, prose])
def test_what_is_packed_comes_back(make: Callable[[str, int], bytes], size: int) -> None:
    plain = make("packed", size)
    codec, stored = encode(plain)
    assert decode(codec, stored, limit=BLOCK_SIZE) == plain
    assert len(stored) <= len(plain)


def test_text_is_packed_and_noise_is_left_alone() -> None:
    assert encode(prose("text", 300_000))[0] is Codec.ZSTD
    assert encode(noise("film", 300_000)) == (Codec.NONE, noise("film", 300_000))
    assert encode(b"x") == (Codec.NONE, b"x")


def test_a_twentieth_is_the_least_that_pays() -> None:
    assert pays(b"x" * 949, b"x" * 1000)
    assert not pays(b"x" * 950, b"x" * 1000)


@given(st.binary(max_size=5000))
def test_any_bytes_survive(plain: bytes) -> None:
    codec, stored = encode(plain)
    assert decode(codec, stored, limit=len(plain)) == plain


@pytest.mark.parametrize("compress", [zstandard.compress, frame_without_size])
def test_a_limit_is_met_to_the_byte(compress: Callable[[bytes], bytes]) -> None:
    stored = compress(b"a" * 1000)
    assert decode(Codec.ZSTD, stored, limit=1000) == b"a" * 1000
    with pytest.raises(TooLarge) as refused:
        decode(Codec.ZSTD, stored, limit=999)
    assert refused.value.limit == 999
    with pytest.raises(TooLarge):
        decode(Codec.NONE, b"a" * 1000, limit=999)


def test_a_bomb_is_refused_with_its_size_hidden_and_with_its_size_stated() -> None:
    zeros = bytes(256 * 1024 * 1024)
    for bomb in (zstandard.compress(zeros), frame_without_size(zeros)):
        assert len(bomb) < 50_000
        with pytest.raises(TooLarge):
            decode(Codec.ZSTD, bomb, limit=BLOCK_SIZE)


def test_a_frame_that_states_less_than_it_holds_is_refused() -> None:
    # Magic number, a header with a content size of four bytes that says 16, then one run of 100,000 bytes.
    run = struct.pack("<I", (100_000 << 3) | (1 << 1) | 1)[:3] + b"x"
    with pytest.raises(Malformed):
        decode(Codec.ZSTD, bytes.fromhex("28b52ffda0") + struct.pack("<I", 16) + run, limit=BLOCK_SIZE)


def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    window_of_2_gib = bytes.fromhex("28b52ffd00a8") + struct.pack("<I", (1 << 3) | 1)[:3] + b"x"
    with pytest.raises(Malformed):
        decode(Codec.ZSTD, window_of_2_gib, limit=BLOCK_SIZE)


@pytest.mark.parametrize("compress", [zstandard.compress, frame_without_size])
def test_a_frame_that_was_cut_off_is_never_taken_for_a_shorter_one(
    compress: Callable[[bytes], bytes],
) -> None:
    stored = compress(prose("cut", 10) + noise("cut", 400_000))
    for length in (0, 1, 3, 8, 1000, len(stored) // 2, len(stored) - 4, len(stored) - 1):
        with pytest.raises(Malformed):
            decode(Codec.ZSTD, stored[:length], limit=BLOCK_SIZE)


@pytest.mark.parametrize("junk", [b"\0", b"x", b"and some more", zstandard.compress(b"another frame")])
@pytest.mark.parametrize("compress", [zstandard.compress, frame_without_size])
def test_nothing_may_follow_the_frame(compress: Callable[[bytes], bytes], junk: bytes) -> None:
    with pytest.raises(Malformed):
        decode(Codec.ZSTD, compress(b"the block") + junk, limit=BLOCK_SIZE)


@given(st.binary(max_size=200))
def test_noise_is_refused_in_our_own_words(stored: bytes) -> None:
    try:
        decode(Codec.ZSTD, stored, limit=100)
    except (Malformed, TooLarge):
        return
    # Only a real frame gets here.
    assert stored[:4] == bytes.fromhex("28b52ffd")
