"""Whatever becomes of Redis, and whatever was changed between, answers are those that the database gives by itself."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from functions._shapes import show_file, show_listing
from shared.adapters.redis_cache import RedisCache
from shared.adapters.redis_connection import RedisAddress
from shared.domain.accounts import Caller
from shared.domain.errors import NotFound, StrataError
from shared.domain.names import parse_path
from shared.usecases.remembering import AS_IT_IS, Counts, Question, Remembering
from tests.support.databases import copy_of
from tests.support.invariants import check_invariants
from tests.support.samples import noise
from tests.support.world import SECRET, World, make_world
from tools.local.running import Redis, running_redis

FOLDERS = ("/", "/a", "/b", "/a/c")
NAMES = ("1", "2", "3")
STEPS = 120


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[RedisClient]:
    client = RedisAddress(redis.url).client()
    await client.flushall()
    yield client
    await client.aclose()


@pytest.mark.parametrize("seed", range(6))
async def test_read_your_writes_whatever_becomes_of_redis(
    template: Path, tmp_path: Path, redis: Redis, client: RedisClient, seed: int
) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    alive = RedisCache(RedisAddress(redis.url), secret=SECRET, seconds=600, rest=0.01)
    dead = RedisCache(RedisAddress("redis://127.0.0.1:1/0"), secret=SECRET, seconds=600, rest=0.01)
    world = make_world(copy_of(template, tmp_path))
    ann = await world.caller("ann")
    for path in FOLDERS[1:]:
        await world.change_folders.make(ann, None, parse_path(path), key=None)
    files: list[Any] = []
    readers: dict[str, Remembering] = {
        "alive": Remembering(world.metadata, alive, 1_000_000),
        "checked": Remembering(world.metadata, alive, 2),
        "dead": Remembering(world.metadata, dead, 1_000_000),
    }
    for _ in range(STEPS):
        await chance.choice((change, change, *[read] * 10, spoil))(world, ann, files, readers, chance, client)
    check_invariants(world)
    assert readers["alive"].counts.hits + readers["checked"].counts.hits > 10, "the cache was used"
    assert all(reader.counts.mismatches == 0 for reader in readers.values())
    assert readers["dead"].counts == Counts(misses=readers["dead"].counts.misses)
    await alive.close()
    await dead.close()
    await world.metadata.close()


async def change(world: World, ann: Caller, files: list[Any], _: Any, chance: random.Random, __: Any) -> None:
    """Upload, move or delete something; what can't be done isn't."""
    folder = chance.choice(FOLDERS).rstrip("/")
    path = f"{folder}/{chance.choice(NAMES)}"
    deed = chance.choice(("upload", "upload", "move", "delete"))
    try:
        if deed == "upload" or not files:
            made = await world.upload(ann, path, noise(str(chance.randrange(4)), 300))
            files.append(made.file_id)
        elif deed == "move":
            node = chance.choice(files)
            kind = (await world.get_file(ann, node)).node.kind
            await world.change_folders.move(ann, node, kind, parse_path(path), key=None)
        else:
            await world.delete_file(ann, chance.choice(files))
    except StrataError:
        return


async def read(
    world: World,
    ann: Caller,
    files: list[Any],
    readers: dict[str, Remembering],
    chance: random.Random,
    _: Any,
) -> None:
    question = chance.choice(list(questions(world, ann, files, chance)))
    reader = readers[chance.choice(list(readers))]
    try:
        expected: bytes | None = await world.metadata.read(question.now)
    except NotFound:
        expected = None
    for _ in range(2):
        try:
            found = await reader(question, AS_IT_IS)
        except NotFound:
            assert expected is None
            return
        assert found.value == expected
    assert (await reader(question, AS_IT_IS, held={str(found.tag)})).value is None


def questions(
    world: World, ann: Caller, files: list[Any], chance: random.Random
) -> Iterator[Question[bytes]]:
    lists = world.list_files.lists
    at = parse_path(chance.choice(FOLDERS))
    yield lists.folder(ann, None, at, cursor=None, limit=chance.choice((1, 1000))).then(show_listing)
    yield lists.whole_tree(ann, None, cursor=None, limit=chance.choice((2, 1000))).then(show_listing)
    if files:
        asked = world.get_file.question(ann, chance.choice(files))
        yield asked.then(lambda file: repr(show_file(file.node, file.path, file.version)).encode())


async def spoil(_: Any, __: Any, ___: Any, ____: Any, chance: random.Random, client: RedisClient) -> None:
    """Wipe Redis, or let it lie: garbage, parts, and one entry in another's place."""
    deed = chance.choice(("wipe", "garbage", "cut", "swap"))
    if deed == "wipe":
        await client.flushall()
        return
    keys = sorted(await client.keys("*"))
    values = [await client.get(key) for key in keys]
    for number, key in enumerate(keys):
        value = values[number - 1] if deed == "swap" else values[number]
        assert isinstance(value, bytes)
        lie = {"garbage": chance.randbytes(40), "cut": value[: chance.randrange(len(value))], "swap": value}
        # Where there is one entry only, it is in its own place.
        if deed != "swap" or len(keys) > 1:
            await client.set(key, lie[deed])
