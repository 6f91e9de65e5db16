"""What a store owes for staged blocks: an address that fills one name once, and reading only what was looked at."""

import gzip
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from shared.adapters.azure_blob import AzureBlockStore
from shared.adapters.system import RandomIds, SystemClock
from shared.domain.blocks import BLOCK_SIZE
from shared.domain.ids import BlobId
from shared.ports.block_store import BlobChanged, BlobMissing, BlobUnreadable, BlockStore, Container
from tests.support.samples import noise
from tools.local.running import Azurite

BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}
ORIGIN = "http://pages.test"


def later(**by: float) -> datetime:
    return datetime.now(UTC) + timedelta(**by)


def fresh() -> BlobId:
    return BlobId(RandomIds().new())


@pytest.fixture
async def azure(azurite: Azurite) -> AsyncIterator[AzureBlockStore]:
    store = AzureBlockStore(clock=SystemClock(), connection_string=azurite.connection_string)
    await store.prepare(origins=[ORIGIN])
    yield store
    await store.close()


@pytest.fixture
async def stranger() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield client


async def put(
    client: httpx.AsyncClient, url: str, content: bytes, headers: Mapping[str, str] = BLOCK_BLOB
) -> int:
    return (await client.put(url, content=content, headers=dict(headers))).status_code


async def test_nothing_arrived(store: BlockStore) -> None:
    with pytest.raises(BlobMissing):
        await store.arrived(fresh())


async def test_an_address_fills_its_name_once(azure: AzureBlockStore, stranger: httpx.AsyncClient) -> None:
    blob, content = fresh(), noise("staged", BLOCK_SIZE)
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    assert await put(stranger, url, content) == 201
    arrived = await azure.arrived(blob)
    assert (arrived.size, arrived.plain_kind) == (len(content), True)
    assert await azure.read_arrived(blob, arrived) == content
    assert await put(stranger, url, b"something else") in (403, 409), "it was replaced"
    assert await azure.read_arrived(blob, arrived) == content


async def test_an_address_gives_nothing_but_creating_its_name(
    azure: AzureBlockStore, stranger: httpx.AsyncClient
) -> None:
    blob, other = fresh(), fresh()
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    base, _, grant = url.partition("?")
    account = base.rpartition(f"/{Container.STAGING}/")[0]
    assert await put(stranger, url.replace(blob, other), b"x") == 403
    assert await put(stranger, f"{account}/{Container.BLOCKS}/{blob}?{grant}", b"x") == 403
    assert await put(stranger, url, b"here") == 201
    assert (await stranger.get(url)).status_code == 403
    assert (await stranger.delete(url)).status_code == 403
    listing = f"{account}/{Container.STAGING}?restype=container&comp=list&{grant}"
    assert (await stranger.get(listing)).status_code == 403


async def test_an_address_ends(azure: AzureBlockStore, stranger: httpx.AsyncClient) -> None:
    url = await azure.put_url(fresh(), expires_at=later(seconds=-1))
    assert await put(stranger, url, b"late") == 403


async def test_a_blob_of_another_kind_is_told_apart(
    azure: AzureBlockStore, stranger: httpx.AsyncClient
) -> None:
    blob = fresh()
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    assert await put(stranger, url, b"", {"x-ms-blob-type": "AppendBlob"}) == 201
    assert not (await azure.arrived(blob)).plain_kind


async def test_what_was_put_into_the_archive_is_told_apart(
    azure: AzureBlockStore, stranger: httpx.AsyncClient
) -> None:
    blob = fresh()
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    assert await put(stranger, url, b"cold", {**BLOCK_BLOB, "x-ms-access-tier": "Archive"}) == 201
    with pytest.raises(BlobUnreadable):
        await azure.read_arrived(blob, await azure.arrived(blob))
    await azure.delete(Container.STAGING, blob)


@pytest.mark.parametrize("content", [b"not gzip at all", gzip.compress(bytes(1_000_000))])
async def test_a_claimed_encoding_is_not_believed(
    azure: AzureBlockStore, stranger: httpx.AsyncClient, content: bytes
) -> None:
    blob = fresh()
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    assert await put(stranger, url, content, {**BLOCK_BLOB, "x-ms-blob-content-encoding": "gzip"}) == 201
    assert await azure.read_arrived(blob, await azure.arrived(blob)) == content


async def test_what_was_swapped_after_the_look_is_not_read(
    azure: AzureBlockStore, stranger: httpx.AsyncClient
) -> None:
    blob = fresh()
    url = await azure.put_url(blob, expires_at=later(minutes=5))
    assert await put(stranger, url, b"first") == 201
    seen = await azure.arrived(blob)
    await azure.delete(Container.STAGING, blob)
    with pytest.raises((BlobMissing, BlobChanged)):
        await azure.read_arrived(blob, seen)
    assert await put(stranger, url, b"other") == 201
    with pytest.raises(BlobChanged):
        await azure.read_arrived(blob, seen)


async def test_a_page_may_put_from_its_origin_only(
    azure: AzureBlockStore, stranger: httpx.AsyncClient
) -> None:
    url = await azure.put_url(fresh(), expires_at=later(minutes=5))

    async def preflight(origin: str) -> httpx.Response:
        return await stranger.options(
            url,
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-ms-blob-type",
            },
        )

    allowed = await preflight(ORIGIN)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert (await preflight("http://elsewhere.test")).status_code == 403
