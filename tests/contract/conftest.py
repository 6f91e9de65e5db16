"""The adapters that each contract suite is run by.

TEST_MSSQL_URL names an empty SQL Server database that the metadata suite runs on as well, such as
mssql+pyodbc://sa:password@127.0.0.1/strata?driver=ODBC+Driver+18+for+SQL+Server&TrustServerCertificate=yes
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.azure_blob import AzureBlockStore
from shared.adapters.memory.block_store import MemoryBlockStore
from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.migrate import upgrade
from shared.adapters.system import SystemClock
from shared.ports.block_store import BlockStore, Container
from tests.contract.service_bus import buses as buses
from tests.contract.service_bus import service_bus_connections as service_bus_connections
from tests.support.databases import copy_of, watched_engine

MSSQL_URL = os.environ.get("TEST_MSSQL_URL")


@pytest.fixture(params=["sqlite", *(["mssql"] if MSSQL_URL else [])])
async def metadata(
    request: pytest.FixtureRequest, template: Path, tmp_path: Path
) -> AsyncIterator[SqlMetadata]:
    if request.param == "sqlite":
        engine = watched_engine(copy_of(template, tmp_path))
    else:
        engine = watched_engine(str(MSSQL_URL))
        upgrade(engine)
    metadata = SqlMetadata(engine, threads=8)
    yield metadata
    await metadata.close()


@pytest.fixture(params=["memory", "azurite"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BlockStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryBlockStore()
        return
    azurite = request.getfixturevalue("azurite")
    store = AzureBlockStore(clock=SystemClock(), connection_string=azurite.connection_string)
    await store.prepare()
    for container in Container:
        for name in [name async for name in store.names(container)]:
            await store.delete(container, name)
    yield store
    await store.close()
