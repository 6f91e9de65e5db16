"""Blocks and manifests: vectors of the root hash, and the manifests that are refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.blocks import (
    BLOCK_SIZE,
    MAX_BLOCKS,
    BlockRef,
    Sha256,
    check_manifest,
    hash_of,
    parse_sha256,
    root_hash,
)
from shared.domain.errors import Malformed, TooLarge, Unacceptable

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of b"abc", from FIPS 180-2."""


def ref(number: int, size: int = 1) -> BlockRef:
    return BlockRef(hash_of(str(number).encode()), size)


def test_hashes_are_those_of_the_standard() -> None:
    assert hash_of(b"abc") == hash_of(memoryview(b"abc")) == ABC


@pytest.mark.parametrize(
    ("contents", "root"),
    [
        ([], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ([b"abc"], "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358"),
        ([b"abc", b"abc"], "3b771ca97e3c17698aff21227fa046b5622a30d8ee5d2de4ee1111a1cdf258ee"),
    ],
)
def test_root_hash_vectors(contents: list[bytes], root: str) -> None:
    assert root_hash(BlockRef(hash_of(each), len(each)) for each in contents) == root


@given(st.lists(st.binary(min_size=1, max_size=40)))
def test_the_root_hash_is_over_the_raw_digests_in_order(contents: list[bytes]) -> None:
    digests = b"".join(hashlib.sha256(each).digest() for each in contents)
    refs = [BlockRef(hash_of(each), len(each)) for each in contents]
    assert root_hash(refs) == hashlib.sha256(digests).hexdigest()


@pytest.mark.parametrize(
    "text",
    ["", ABC[:63], ABC + "0", ABC.upper(), "g" + ABC[1:], f" {ABC}", f"{ABC}\n", "..%2f" + ABC[5:], "٠" * 64],
)
def test_a_hash_is_written_in_one_way_only(text: str) -> None:
    with pytest.raises(Malformed):
        parse_sha256(text)
    assert parse_sha256(ABC) == ABC


def test_the_size_of_a_file_counts_repeated_blocks() -> None:
    blocks = [ref(1, 5), ref(2, BLOCK_SIZE), ref(1, 5)]
    assert check_manifest(blocks, max_file_size=BLOCK_SIZE + 10) == BLOCK_SIZE + 10
    assert check_manifest([], max_file_size=0) == 0


@pytest.mark.parametrize("size", [0, -1, BLOCK_SIZE + 1, 2**63])
def test_a_block_of_no_possible_size_is_refused(size: int) -> None:
    with pytest.raises(Unacceptable, match="size"):
        check_manifest([ref(1), ref(2, size)], max_file_size=2**70)


def test_a_hash_with_two_sizes_is_refused() -> None:
    with pytest.raises(Unacceptable, match="two sizes"):
        check_manifest([ref(1, 5), ref(2, 5), ref(1, 6)], max_file_size=100)


def test_too_many_blocks_and_too_many_bytes_name_their_limits() -> None:
    with pytest.raises(TooLarge) as many:
        check_manifest([ref(1)] * (MAX_BLOCKS + 1), max_file_size=2**60)
    assert many.value.limit == MAX_BLOCKS
    assert check_manifest([ref(1)] * MAX_BLOCKS, max_file_size=MAX_BLOCKS) == MAX_BLOCKS
    with pytest.raises(TooLarge) as big:
        check_manifest([ref(1, 60), ref(2, 41)], max_file_size=100)
    assert big.value.limit == 100


def test_a_hash_is_hashed_before_its_digits_are_trusted() -> None:
    # A reference that skipped parse_sha256 fails loudly, never with a wrong root.
    with pytest.raises(ValueError, match="hex"):
        root_hash([BlockRef(Sha256("no hash"), 1)])
