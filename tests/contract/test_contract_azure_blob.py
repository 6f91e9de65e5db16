"""What only a store behind HTTP owes: read grants that give one blob to read and nothing else, and honest failing."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError

from shared.adapters.azure_blob import AzureBlockStore
from shared.adapters.system import RandomIds, SystemClock
from shared.domain.blocks import BLOCK_SIZE
from shared.domain.errors import Unavailable
from shared.domain.ids import BlobId
from shared.ports.block_store import BlobMissing, BlockStore, Container, Disposition
from tests.support.samples import noise
from tools.local.processes import LOOPBACK, free_ports
from tools.local.running import Azurite, AzuritePorts, running_azurite

# The SDK hands a block to aiohttp in one piece; four MiB are copied to the socket in about a millisecond.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def fresh() -> BlobId:
    return BlobId(RandomIds().new())


def later(**by: float) -> datetime:
    return datetime.now(UTC) + timedelta(**by)


@asynccontextmanager
async def opened(connection_string: str) -> AsyncIterator[AzureBlockStore]:
    store = AzureBlockStore(clock=SystemClock(), connection_string=connection_string)
    yield store
    await store.close()


@pytest.fixture
async def store(azurite: Azurite) -> AsyncIterator[BlockStore]:
    async with opened(azurite.connection_string) as store:
        await store.prepare()
        yield store


@pytest.fixture
async def stranger() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without any credentials."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_a_grant_is_readable_by_anybody_who_has_it(
    store: BlockStore, stranger: httpx.AsyncClient
) -> None:
    blob, content = fresh(), noise("grant", 5000)
    await store.put(blob, content)
    url = await store.read_url(Container.BLOCKS, blob, expires_at=later(minutes=5))
    assert (await stranger.get(url)).content == content
    part = await stranger.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert (await stranger.get(url.partition("?")[0])).status_code in (401, 403, 404)


async def test_a_grant_presents_itself_as_it_was_told(store: BlockStore, stranger: httpx.AsyncClient) -> None:
    blob = fresh()

    async def parts() -> AsyncIterator[bytes]:
        yield b"<script>"

    await store.assemble(blob, parts())
    shown = Disposition("attachment; filename*=UTF-8''%C3%A4%20b.html", "application/octet-stream")
    url = await store.read_url(Container.ASSEMBLED, blob, expires_at=later(minutes=5), disposition=shown)
    answer = await stranger.get(url)
    assert answer.content == b"<script>"
    assert answer.headers["content-disposition"] == shown.content_disposition
    assert answer.headers["content-type"] == shown.content_type


CHANGES: dict[str, Callable[[str, BlobId], str]] = {
    "another blob": lambda url, other: re.sub(r"[0-9a-f]{32}\?", f"{other}?", url),
    "another container": lambda url, _: url.replace("/blocks/", "/assembled/"),
    "a later end": lambda url, _: re.sub(r"se=[^&]*", "se=2099-01-01T00%3A00%3A00Z", url),
    "more rights": lambda url, _: url.replace("sp=r", "sp=rwd"),
    "the whole container": lambda url, _: url.replace("sr=b", "sr=c"),
    "no signature": lambda url, _: re.sub(r"&?sig=[^&]*", "", url),
    "another signature": lambda url, _: re.sub(r"sig=[^&]*", "sig=" + "A" * 43 + "%3D", url),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_grant_is_worth_nothing(
    store: BlockStore, stranger: httpx.AsyncClient, change: str
) -> None:
    mine, other = fresh(), fresh()
    await store.put(mine, b"mine")
    await store.put(other, b"other")
    url = await store.read_url(Container.BLOCKS, mine, expires_at=later(minutes=5))
    changed = CHANGES[change](url, other)
    assert changed != url
    answer = await stranger.get(changed)
    assert 400 <= answer.status_code < 500
    assert b"other" not in answer.content or b"<?xml" in answer.content
    assert (await stranger.get(url)).content == b"mine"


async def test_a_grant_gives_nothing_but_reading(store: BlockStore, stranger: httpx.AsyncClient) -> None:
    blob = fresh()
    await store.put(blob, b"mine")
    url = await store.read_url(Container.BLOCKS, blob, expires_at=later(minutes=5))
    refused = [
        await stranger.put(url, content=b"theirs", headers={"x-ms-blob-type": "BlockBlob"}),
        await stranger.put(url + "&comp=metadata", headers={"x-ms-meta-a": "b"}),
        await stranger.put(url + "&comp=block&blockid=MDAw", content=b"theirs"),
        await stranger.put(url + "&comp=tier", headers={"x-ms-access-tier": "Archive"}),
        await stranger.delete(url),
        await stranger.get(re.sub(r"/blocks/[0-9a-f]{32}\?", "/blocks?restype=container&comp=list&", url)),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert await store.get(blob, offset=0, length=4) == b"mine"


async def test_a_grant_ends(store: BlockStore, stranger: httpx.AsyncClient) -> None:
    blob = fresh()
    await store.put(blob, b"mine")
    url = await store.read_url(Container.BLOCKS, blob, expires_at=later(seconds=-1))
    assert (await stranger.get(url)).status_code == 403


async def test_a_block_is_one_request_that_can_not_overwrite() -> None:
    """A server that only listens sees what the SDK sends for the largest block."""
    seen: list[tuple[str, dict[str, str], int]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        seen.append((request, headers, len(body)))
        writer.write(
            b'HTTP/1.1 201 Created\r\nETag: "0x1"\r\nContent-Length: 0\r\n'
            b"Last-Modified: Sat, 31 Jan 2026 12:00:00 GMT\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    ports = AzuritePorts(server.sockets[0].getsockname()[1], 1, 2)
    async with server, opened(ports.connection_string) as store:
        blob = fresh()
        assert await store.put(blob, noise("big", BLOCK_SIZE)) == '"0x1"'
    [(request, headers, length)] = seen
    assert request.split()[:2] == ["PUT", f"/devstoreaccount1/blocks/{blob}"]
    assert headers["if-none-match"] == "*"
    assert length == BLOCK_SIZE


async def test_a_store_that_is_away_says_so_and_recovers(tmp_path: Path) -> None:
    ports = AzuritePorts(*free_ports(3))
    blob, other = fresh(), fresh()
    async with opened(ports.connection_string) as store:
        with running_azurite(tmp_path, ports) as azurite:
            await store.prepare()
            await store.put(blob, b"kept")
            azurite.child.stop()
            # Seconds, not minutes: somebody waits for the answer.
            async with asyncio.timeout(60):
                failed = await asyncio.gather(
                    store.get(blob, offset=0, length=4),
                    store.put(other, b"lost"),
                    store.exists(Container.BLOCKS, blob),
                    store.delete(Container.BLOCKS, blob),
                    anext(aiter(store.names(Container.BLOCKS))),
                    return_exceptions=True,
                )
            assert [type(each) for each in failed] == [Unavailable] * 5
        with running_azurite(tmp_path, ports):
            assert await store.get(blob, offset=0, length=4) == b"kept"
            assert not await store.exists(Container.BLOCKS, other)
            await store.put(other, b"now")


async def test_a_store_without_containers_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with running_azurite(tmp_path) as azurite:
        async with opened(azurite.connection_string) as store:
            with pytest.raises((Unavailable, BlobMissing)):
                await store.put(fresh(), b"x")
            with pytest.raises((Unavailable, BlobMissing)):
                _ = [name async for name in store.names(Container.BLOCKS)]


@pytest.mark.parametrize(("scheme", "only"), [("https", "spr=https"), ("http", None)])
async def test_a_grant_of_an_account_with_keys_is_for_https_where_there_is_https(
    scheme: str, only: str | None
) -> None:
    account = f"DefaultEndpointsProtocol={scheme};AccountName=a;AccountKey=c3RvcmUga2V5;EndpointSuffix=test"
    async with opened(account) as store:
        for url in (
            await store.read_url(Container.BLOCKS, fresh(), expires_at=later(minutes=5)),
            await store.put_url(fresh(), expires_at=later(minutes=5)),
        ):
            assert [each for each in url.split("&") if each.startswith("spr=")] == ([only] if only else [])


async def test_with_an_identity_the_account_s_own_settings_are_left_alone() -> None:
    store = AzureBlockStore(clock=SystemClock(), account_url="https://account.blob.test")
    made: list[str] = []

    class Service:
        async def create_container(self, name: str) -> None:
            made.append(name)

        async def set_service_properties(self, **_: object) -> None:
            raise ClientAuthenticationError("AuthorizationPermissionMismatch")

    store._service = Service()
    await store.prepare(origins=["https://pages.test"])
    assert made == [container.value for container in Container]


def test_exactly_one_way_to_sign_in() -> None:
    for given in ({}, {"connection_string": "a", "account_url": "b"}):
        with pytest.raises(ValueError, match="connection string or an account"):
            AzureBlockStore(clock=SystemClock(), **given)
