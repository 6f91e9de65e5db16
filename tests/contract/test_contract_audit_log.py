"""What every audit log owes: lines that stay, in the order of their appending."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from shared.adapters.azure_audit import CONTAINER, AzureAuditLog
from shared.adapters.memory.audit_log import MemoryAuditLog
from shared.domain.errors import Unavailable
from shared.ports.audit_log import AuditLog
from tests.support.doubles import START
from tools.local.running import Azurite

Lines = Callable[[], Awaitable[list[bytes]]]
Case = tuple[AuditLog, Lines]


async def emptied(service: BlobServiceClient) -> list[bytes]:
    """All lines, by hour, which are deleted."""
    container, found = service.get_container_client(CONTAINER), b""
    for name in sorted([name async for name in container.list_blob_names()]):
        blob = container.get_blob_client(name)
        found += await (await blob.download_blob()).readall()
        await blob.delete_blob()
    return found.splitlines()


@pytest.fixture(params=["memory", "azurite"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        memory = MemoryAuditLog()

        async def lines() -> list[bytes]:
            return memory.lines

        yield memory, lines
        return
    connection = request.getfixturevalue("azurite").connection_string
    audit = AzureAuditLog(connection_string=connection)
    async with BlobServiceClient.from_connection_string(connection) as service:
        await audit.prepare()
        await audit.prepare()
        await emptied(service)
        yield audit, lambda: emptied(service)
    await audit.close()


async def test_lines_come_one_behind_the_other_and_hour_behind_hour(case: Case) -> None:
    audit, lines = case
    await audit.append([b"one", b"two"], at=START)
    await audit.append([b"three"], at=START)
    await audit.append([b"four"], at=START + timedelta(hours=1))
    assert await lines() == [b"one", b"two", b"three", b"four"]


async def test_many_writers_at_once_lose_nothing(case: Case) -> None:
    audit, lines = case
    written = {f"line {number}".encode() for number in range(30)}
    await asyncio.gather(*(audit.append([line], at=START) for line in written))
    found = await lines()
    assert (set(found), len(found)) == (written, 30)


# --- Azure itself


async def test_a_full_blob_is_followed_by_the_next(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = AzureAuditLog(connection_string=azurite.connection_string)
    await audit.prepare()
    appending = BlobClient.append_block

    async def full(blob: BlobClient, *args: object, **more: object) -> object:
        if blob.blob_name.endswith("-000.jsonl"):
            error = HttpResponseError("as Azure says it")
            error.status_code, error.error_code = 409, "BlockCountExceedsLimit"  # type: ignore[attr-defined]
            raise error
        return await appending(blob, *args, **more)

    monkeypatch.setattr(BlobClient, "append_block", full)
    await audit.append([b"behind"], at=START)
    monkeypatch.undo()
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        names = [name async for name in service.get_container_client(CONTAINER).list_blob_names()]
        assert names == [f"{START:%Y/%m/%d/%H}-001.jsonl"]
        await emptied(service)
    await audit.close()


async def test_without_its_container_the_next_step_is_told(azurite: Azurite) -> None:
    async with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        audit = AzureAuditLog(connection_string=azurite.connection_string)
        await audit.prepare()
        await service.delete_container(CONTAINER)
        with pytest.raises(Unavailable, match="migrate"):
            await audit.append([b"x"], at=START)
        await audit.prepare()
        await audit.close()
