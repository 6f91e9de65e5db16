"""The application with a real Redis in front of its database, as it is wired: quicker with it, the same without."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.functions.serving import SETTINGS, Site, User, json
from tests.support.unhurried import give_redis_time
from tools.local.running import Redis, running_redis


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    give_redis_time(monkeypatch)
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(redis: Redis) -> Mapping[str, str]:
    return {**SETTINGS, "REDIS_URL": redis.url, "CACHE_CHECK_ONE_IN": "2"}


async def cache_of(site: Site) -> dict[str, Any]:
    health = json(await site.call("health_ready", method="GET"))
    assert health["status"] == "ready"
    found: dict[str, Any] = health["cache"]
    return found


async def everything(user: User, file_id: str) -> list[Any]:
    """All that is remembered, as it is shown; without what is made for each answer."""
    listed = [
        json(await user.call("list_files", method="GET", params=params))
        for params in ({}, {"folder": "/d"}, {"folder": "/d", "limit": "1"})
    ]
    file = json(await user.call("get_file", method="GET", file_id=file_id))
    manifest = json(await user.call("get_manifest", method="GET", file_id=file_id))
    blocks = [{name: block[name] for name in ("sha256", "size", "offset")} for block in manifest["blocks"]]
    return [*listed, file, manifest["path"], manifest["version_id"], blocks]


async def test_what_redis_holds_is_given_and_its_death_changes_nothing(
    site: Site, ann: User, redis: Redis
) -> None:
    made = await ann.upload("/d/a", b"content " * 100)
    await ann.upload("/d/b", b"")
    first = await everything(ann, made["file_id"])
    assert await cache_of(site) == {"state": "there", "hits": 0, "misses": 5, "checked": 0, "mismatches": 0}
    assert await everything(ann, made["file_id"]) == first
    assert await cache_of(site) == {"state": "there", "hits": 5, "misses": 5, "checked": 2, "mismatches": 0}
    redis.child.kill()
    assert await everything(ann, made["file_id"]) == first
    cache = await cache_of(site)
    assert (cache["state"], cache["hits"], cache["misses"]) == ("away", 5, 10)
    await ann.upload("/d/c", b"")
    assert len((await everything(ann, made["file_id"]))[1]["files"]) == 3
