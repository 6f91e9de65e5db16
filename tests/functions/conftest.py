"""The application as it is wired, with doubles in place of Azure, time, chance and costly hashing."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from shared import container
from shared.adapters.memory.block_store import MemoryBlockStore
from shared.config import load
from tests.functions.serving import SETTINGS, Passwords, Site, User
from tests.support.databases import copy_of, watched_engine
from tests.support.doubles import CountedIds, FixedClock


@pytest.fixture
def settings() -> Mapping[str, str]:
    """What the application is told; a module may have its own."""
    return SETTINGS


@pytest.fixture
async def site(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]
) -> AsyncIterator[Site]:
    engine = watched_engine(copy_of(template, tmp_path))
    clock, memory = FixedClock(), MemoryBlockStore()
    monkeypatch.setattr(container, "make_engine", lambda *_args, **_named: engine)
    monkeypatch.setattr(container, "AzureBlockStore", lambda **_: memory)
    monkeypatch.setattr(container, "SystemClock", lambda: clock)
    monkeypatch.setattr(container, "RandomIds", CountedIds)
    monkeypatch.setattr(container, "Argon2Passwords", lambda **_: Passwords())
    app = container.build(load(settings))
    yield Site(app, engine, clock, memory)
    await app.close()


@pytest.fixture
async def ann(site: Site) -> User:
    return await site.sign_up("ann")


@pytest.fixture
async def bob(site: Site) -> User:
    return await site.sign_up("bob")
