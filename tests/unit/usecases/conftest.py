"""A world that is checked when a test is done with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.domain.accounts import Caller
from tests.support.databases import copy_of
from tests.support.invariants import check_invariants
from tests.support.world import World, make_world


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> AsyncIterator[World]:
    world = make_world(copy_of(template, tmp_path))
    yield world
    check_invariants(world, bad_blobs_allowed=True)
    await world.metadata.close()


@pytest.fixture
async def ann(world: World) -> Caller:
    return await world.caller("ann")


@pytest.fixture
async def bob(world: World) -> Caller:
    return await world.caller("bob")
