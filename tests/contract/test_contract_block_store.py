"""What every block store owes, whether it is Azure's or the one in memory."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.system import RandomIds
from shared.domain.blocks import BLOCK_SIZE
from shared.domain.ids import BlobId
from shared.ports.block_store import BlobExists, BlobMissing, BlockStore, Container
from tests.support.samples import noise

# The SDK hands a block to aiohttp in one piece; four MiB are copied to the socket in about a millisecond.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

LATER = datetime.now(UTC) + timedelta(hours=1)


def fresh() -> BlobId:
    return BlobId(RandomIds().new())


async def parts_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def names_in(store: BlockStore, container: Container) -> list[BlobId]:
    return [name async for name in store.names(container)]


async def test_preparing_may_be_repeated_and_harms_nothing(store: BlockStore) -> None:
    blob = fresh()
    await store.put(blob, b"kept")
    await store.prepare()
    await store.prepare()
    assert await store.get(blob, offset=0, length=4) == b"kept"


@pytest.mark.parametrize("size", [1, 100, BLOCK_SIZE])
async def test_what_was_put_is_read(store: BlockStore, size: int) -> None:
    blob, content = fresh(), noise("put", size)
    etag = await store.put(blob, content)
    assert etag
    assert len(etag) <= 64
    assert await store.get(blob, offset=0, length=size) == content
    assert await store.exists(Container.BLOCKS, blob)


async def test_any_range_is_read_exactly(store: BlockStore) -> None:
    blob, content = fresh(), noise("range", 10_000)
    await store.put(blob, content)
    for offset, length in [(0, 1), (9_999, 1), (1, 9_999), (5_000, 17), (0, 10_000)]:
        assert await store.get(blob, offset=offset, length=length) == content[offset : offset + length]


async def test_immutable_bytes_a_second_put_leaves_the_first(store: BlockStore) -> None:
    blob = fresh()
    await store.put(blob, b"first")
    for again in (b"second", b"first", b""):
        with pytest.raises(BlobExists):
            await store.put(blob, again)
    assert await store.get(blob, offset=0, length=5) == b"first"


async def test_a_missing_blob_is_missing(store: BlockStore) -> None:
    blob = fresh()
    with pytest.raises(BlobMissing):
        await store.get(blob, offset=0, length=1)
    assert not await store.exists(Container.BLOCKS, blob)


@pytest.mark.parametrize(("offset", "length"), [(0, 6), (4, 2), (5, 1), (100, 1)])
async def test_a_range_behind_the_end_is_missing_not_short(
    store: BlockStore, offset: int, length: int
) -> None:
    blob = fresh()
    await store.put(blob, b"12345")
    with pytest.raises(BlobMissing):
        await store.get(blob, offset=offset, length=length)


async def test_deleting_may_be_repeated_and_hits_one_blob(store: BlockStore) -> None:
    gone, kept = fresh(), fresh()
    await store.put(gone, b"gone")
    await store.put(kept, b"kept")
    for _ in range(3):
        await store.delete(Container.BLOCKS, gone)
    assert not await store.exists(Container.BLOCKS, gone)
    with pytest.raises(BlobMissing):
        await store.get(gone, offset=0, length=4)
    assert await store.get(kept, offset=0, length=4) == b"kept"


async def test_names_come_in_ascending_order_each_container_by_itself(store: BlockStore) -> None:
    blobs = [fresh() for _ in range(25)]
    for blob in blobs:
        await store.put(blob, b"x")
    assembled = fresh()
    await store.assemble(assembled, parts_of(b"y"))
    assert await names_in(store, Container.BLOCKS) == sorted(blobs)
    assert await names_in(store, Container.ASSEMBLED) == [assembled]
    assert not await store.exists(Container.BLOCKS, assembled)
    assert not await store.exists(Container.ASSEMBLED, blobs[0])


async def test_assembling_joins_the_parts_in_order(store: BlockStore) -> None:
    parts = [noise(str(number), 3_000_000) for number in range(7)]
    blob = fresh()
    await store.assemble(blob, parts_of(*parts))
    assert await store.exists(Container.ASSEMBLED, blob)
    with pytest.raises(BlobExists):
        await store.assemble(blob, parts_of(b"other"))
    empty = fresh()
    await store.assemble(empty, parts_of())
    assert await store.exists(Container.ASSEMBLED, empty)


@pytest.mark.parametrize("size", [10, 20_000_000])
async def test_an_assembled_blob_appears_whole_or_not_at_all(store: BlockStore, size: int) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield noise("first", size)
        assert not await store.exists(Container.ASSEMBLED, blob), "a part of it could be read"
        raise RuntimeError("the second part can't be read")

    blob = fresh()
    with pytest.raises(RuntimeError, match="second part"):
        await store.assemble(blob, breaking())
    assert not await store.exists(Container.ASSEMBLED, blob)
    assert await names_in(store, Container.ASSEMBLED) == []
    # The attempt that is made again under the same name works.
    await store.assemble(blob, parts_of(b"whole"))
    assert await store.exists(Container.ASSEMBLED, blob)


async def test_a_read_address_names_its_blob(store: BlockStore) -> None:
    blob = fresh()
    await store.put(blob, b"x")
    assert blob in await store.read_url(Container.BLOCKS, blob, expires_at=LATER)
