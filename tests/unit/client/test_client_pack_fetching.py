"""Small versions read together: which ranges are read, and what is left to the ordinary way."""

from collections.abc import Sequence
from typing import cast

import pytest

from client.api import Api
from client.block_fetching import BlockReader, GrantEnded, VersionReader
from client.errors import CommandFailed, Corrupt, NotThere, Unreachable
from client.pack_fetching import GAP, read_versions
from client.wire import BlockPlace, Manifest
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from tests.unit.client.running import KIB, MIB, noise


class Store:
    """Blobs by URL, and the ranges that were read of them; `broken` is raised instead."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytearray] = {}
        self.reads: list[tuple[str, int, int]] = []
        self.broken: Exception | None = None

    def put(self, url: str, content: bytes, *, gap: int = 0) -> BlockPlace:
        blob = self.blobs.setdefault(url, bytearray())
        blob += bytes(gap)
        place = BlockPlace(
            sha256=hash_of(content),
            size=len(content),
            url=url,
            offset=len(blob),
            stored_size=len(content),
            codec="none",
        )
        blob += content
        return place

    def read_range(self, url: str, offset: int, size: int) -> bytes:
        self.reads.append((url, offset, size))
        if self.broken:
            raise self.broken
        return bytes(self.blobs[url][offset : offset + size])

    def read(self, place: BlockPlace) -> bytes:
        return self.read_range(place.url, place.offset, place.stored_size)


class Server:
    def __init__(self, answers: Sequence[Manifest | CommandFailed]) -> None:
        self.answers = list(answers)

    def manifests(self, wanted: Sequence[tuple[str, str]]) -> list[Manifest | CommandFailed]:
        assert len(wanted) == len(self.answers)
        return self.answers


def manifest(*places: BlockPlace) -> Manifest:
    refs = [BlockRef(Sha256(place.sha256), place.size) for place in places]
    return Manifest(
        file_id="f",
        version_id="v",
        size=sum(ref.size for ref in refs),
        root_hash=root_hash(refs),
        modified_at="2026-01-01T00:00:00Z",
        blocks=places,
    )


def read(store: Store, *answers: Manifest | CommandFailed) -> list[VersionReader | CommandFailed]:
    wanted = [(str(number), "v") for number in range(len(answers))]
    return read_versions(cast(Api, Server(answers)), cast(BlockReader, store), wanted)


def content(version: VersionReader | CommandFailed) -> bytes:
    assert isinstance(version, VersionReader)
    return b"".join(version.block(index) for index in range(len(version.manifest.blocks)))


def test_what_lies_close_together_is_read_at_once() -> None:
    store, contents = Store(), [noise(1000) for _ in range(50)]
    places = [store.put("http://one", each, gap=100) for each in contents]
    versions = read(store, *(manifest(place) for place in reversed(places)))
    assert [content(version) for version in reversed(versions)] == contents
    assert store.reads == [("http://one", 100, 50 * 1100 - 100)]


def test_what_lies_far_apart_or_elsewhere_is_not() -> None:
    store = Store()
    near, far = store.put("http://one", noise(10)), store.put("http://one", noise(10), gap=GAP + 1)
    other = store.put("http://two", noise(10))
    read(store, manifest(near, far), manifest(other))
    assert len(store.reads) == 3


def test_a_read_is_at_most_about_a_block() -> None:
    store, contents = Store(), [noise(200 * KIB) for _ in range(50)]
    places = [store.put("http://one", each) for each in contents]
    versions = read(store, *map(manifest, places))
    assert [content(version) for version in versions] == contents
    assert 3 <= len(store.reads) <= 4
    assert max(size for _, _, size in store.reads) <= 4 * MIB + 64 * KIB


def test_blocks_that_several_versions_share_are_read_once() -> None:
    store = Store()
    place = store.put("http://one", noise(100))
    versions = read(store, manifest(place, place), manifest(place))
    assert [len(content(version)) for version in versions] == [200, 100]
    assert store.reads == [("http://one", 0, 100)]


def test_an_empty_version_needs_no_read() -> None:
    store = Store()
    assert content(read(store, manifest())[0]) == b""
    assert store.reads == []


@pytest.mark.parametrize("trouble", [GrantEnded(), Corrupt("short")])
def test_what_could_not_be_read_together_is_read_by_itself(trouble: Exception) -> None:
    store = Store()
    place = store.put("http://one", b"content")
    store.broken = trouble
    [version] = read(store, manifest(place))
    store.broken = None
    assert content(version) == b"content"
    assert len(store.reads) == 2


def test_damaged_bytes_are_read_again() -> None:
    store = Store()
    place = store.put("http://one", b"content")
    store.blobs["http://one"][0] ^= 1
    [version] = read(store, manifest(place))
    store.blobs["http://one"][0] ^= 1
    assert content(version) == b"content"


def test_a_storage_that_is_away_ends_it() -> None:
    store = Store()
    place = store.put("http://one", b"content")
    store.broken = Unreachable("away")
    with pytest.raises(Unreachable):
        read(store, manifest(place))


def test_what_is_wrong_with_one_version_hurts_no_other() -> None:
    store = Store()
    place = store.put("http://one", b"content")
    lying = BlockPlace(**{**{name: getattr(place, name) for name in place.__struct_fields__}, "size": 9})
    gone = NotThere("gone")
    good, wrong, missing = read(
        store,
        manifest(place),
        Manifest(file_id="f", version_id="v", size=7, root_hash="0" * 64, modified_at="", blocks=[lying]),
        gone,
    )
    assert content(good) == b"content"
    assert isinstance(wrong, Corrupt)
    assert missing is gone
