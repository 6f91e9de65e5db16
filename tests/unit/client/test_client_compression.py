"""zstd where it pays, and frames that lie."""

import os
import tracemalloc

import pytest
import zstandard

from client.compression import compress, decode
from client.errors import Corrupt


def test_text_shrinks_and_noise_stays() -> None:
    text = b"the same line again and again\n" * 10_000
    frame = compress(text)
    assert frame is not None
    assert len(frame) < len(text) / 10
    assert decode(frame, "zstd", len(text)) == text
    assert compress(os.urandom(100_000)) is None


def test_a_few_bytes_are_not_worth_it() -> None:
    assert compress(b"a" * 100) is None


def test_a_promising_beginning_is_not_believed() -> None:
    # All three slices shrink, the rest doesn't: the frame is thrown away.
    content = bytearray(os.urandom(1_000_000))
    for start in (0, 500_000, len(content) - 4096):
        content[start : start + 4096] = bytes(4096)
    assert compress(bytes(content)) is None


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(zstandard.ZstdCompressor().compress(bytes(200_000_000)), id="states more"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50_000_000)), id="holds more"
        ),
        pytest.param(zstandard.ZstdCompressor().compress(b"short"), id="holds less"),
        pytest.param(zstandard.ZstdCompressor().compress(bytes(1000)) + b"!", id="something behind"),
        pytest.param(zstandard.ZstdCompressor().compress(os.urandom(1000))[:-5], id="cut off"),
        pytest.param(b"", id="empty"),
        pytest.param(b"not a frame at all", id="another thing"),
    ],
)
def test_a_frame_that_is_not_the_block_is_refused(frame: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(frame, "zstd", 1000)


@pytest.mark.parametrize("states_size", [True, False])
def test_what_a_frame_asks_for_is_not_allocated(states_size: bool) -> None:
    frame = zstandard.ZstdCompressor(write_content_size=states_size).compress(bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            decode(frame, "zstd", 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_frame_that_does_not_state_its_size_is_fine() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
    assert decode(frame, "zstd", 1000) == b"x" * 1000


def test_codecs_are_known_or_refused() -> None:
    assert decode(b"abc", "none", 3) == b"abc"
    with pytest.raises(Corrupt, match="codec"):
        decode(b"abc", "rot13", 3)
    with pytest.raises(Corrupt, match="instead of"):
        decode(b"abc", "none", 4)
