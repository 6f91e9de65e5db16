"""Two writers at once on one database: as two servers would be, each with its own connections and threads.

TEST_MSSQL_URL names a migrated or empty SQL Server database that the races run on as well; there, rows are locked
one by one, where SQLite has one writer at a time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.memory.block_store import MemoryBlockStore
from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.migrate import upgrade
from shared.adapters.system import RandomIds
from shared.domain.accounts import Caller
from shared.domain.errors import (
    FileNotFound,
    FolderCycle,
    NameExists,
    NotFound,
    QuotaExceeded,
    StrataError,
    VersionConflict,
)
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId
from shared.domain.names import parse_path
from shared.domain.versions import OnHead
from shared.ports.tables_files import NodeKind
from shared.usecases.drafting import CommitRequest
from tests.support.databases import copy_of, watched_engine
from tests.support.invariants import check_invariants
from tests.support.samples import noise, ref_of
from tests.support.world import World

MSSQL_URL = os.environ.get("TEST_MSSQL_URL")
ROUNDS = range(12)
"""Of each race: who comes first is left to the machine, so every outcome is checked for being right."""

ONE, TWO = noise("one", 1000), noise("two", 1000)


@dataclass
class Servers:
    """One application twice; `ann` is logged in at both."""

    left: World
    right: World
    ann: Caller
    ns: NamespaceId

    async def race(self, *calls: Awaitable[Any]) -> list[Any]:
        """Results, or the errors that the product may answer with; any other error is raised."""
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StrataError):
                raise result
        return results

    async def folder(self, path: str) -> NodeId:
        made = await self.left.change_folders.make(self.ann, None, parse_path(path), key=None)
        return NodeId(made["folder_id"])

    async def paths(self) -> list[str]:
        page = await self.left.list_files.search(self.ann, None, "", cursor=None, limit=1000)
        return sorted(entry.path for entry in [*(page.folders or []), *page.files])

    async def used(self) -> int:
        return (await self.left.metadata.read(lambda tx: tx.namespaces.usage(self.ns))).used


@pytest.fixture(params=["sqlite", *(["mssql"] if MSSQL_URL else [])])
async def servers(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[Servers]:
    lite = request.param == "sqlite"
    url = copy_of(template, tmp_path) if lite else str(MSSQL_URL)
    engine = watched_engine(url)
    if not lite:
        upgrade(engine)
    memory, other = MemoryBlockStore(), SqlMetadata(watched_engine(url), threads=8)
    # Random ids: the database may be one that others use, too.
    left = World(SqlMetadata(engine, threads=8), memory, engine, memory).with_ports(ids=RandomIds())
    ann = await left.caller(f"ann-{RandomIds().new()}", quota=100_000)
    yield Servers(left, left.with_ports(metadata=other), ann, await left.namespace_of(ann))
    if lite:
        check_invariants(left)
    await other.close()
    await left.metadata.close()


def kinds(results: list[Any]) -> list[str]:
    """Names of the errors, `ok` for the rest; sorted."""
    return sorted(type(each).__name__ if isinstance(each, Exception) else "ok" for each in results)


async def test_no_lost_update_of_two_commits_on_one_base_one_wins(servers: Servers) -> None:
    s = servers
    await s.left.admit(s.ann, ONE, TWO)
    for number in ROUNDS:
        await s.left.admit(s.ann, ONE, TWO)
        results = await s.race(
            s.left.commit(s.ann, f"/d/f{number}", [ONE], NO_VERSION),
            s.right.commit(s.ann, f"/d/f{number}", [TWO], NO_VERSION),
        )
        assert kinds(results) == ["VersionConflict", "ok"]
        lost = next(each for each in results if isinstance(each, VersionConflict))
        won = next(each for each in results if not isinstance(each, Exception))
        assert lost.head is not None
        assert lost.head["version_id"] == won.version_id


async def test_two_moves_that_would_cross_make_no_cycle(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        a, b = await s.folder(f"/a{number}"), await s.folder(f"/b{number}")
        a_moved, b_moved, below_itself = await s.race(
            s.left.change_folders.move(
                s.ann, a, NodeKind.FOLDER, parse_path(f"/b{number}/a{number}"), key=None
            ),
            s.right.change_folders.move(
                s.ann, b, NodeKind.FOLDER, parse_path(f"/a{number}/b{number}"), key=None
            ),
            s.right.change_folders.move(
                s.ann, b, NodeKind.FOLDER, parse_path(f"/b{number}/a{number}/b"), key=None
            ),
        )
        # The folder that moved first took its path away from the other one.
        assert kinds([a_moved, b_moved]) == ["NotFound", "ok"]
        assert isinstance(below_itself, FolderCycle | NotFound)
        ends = [path for path in await s.paths() if path.endswith((f"a{number}", f"b{number}"))]
        assert sorted(path.count("/") for path in ends) == [1, 2]


async def test_a_move_and_a_delete_leave_one_of_the_two(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        folder = await s.folder(f"/from{number}")
        moved, deleted = await s.race(
            s.left.change_folders.move(s.ann, folder, NodeKind.FOLDER, parse_path(f"/to{number}"), key=None),
            s.right.change_folders.delete(s.ann, folder, key=None),
        )
        assert not isinstance(deleted, Exception)
        assert isinstance(moved, NotFound) or moved["seq"] < deleted["seq"]
        assert await s.paths() == []


async def test_a_commit_below_a_folder_that_is_deleted_goes_with_it_or_makes_a_new_one(
    servers: Servers,
) -> None:
    s = servers
    for number in ROUNDS:
        file = await s.left.upload(s.ann, f"/top{number}/f", b"first")
        top = (await s.left.get_file(s.ann, file.file_id)).node.parent
        assert top is not None
        block = noise(f"commit{number}", 100)
        await s.left.admit(s.ann, block)
        by_id = CommitRequest(OnHead(), [ref_of(block)], file_id=file.file_id)
        deleted, at_path, known = await s.race(
            s.left.change_folders.delete(s.ann, top, key=None),
            s.right.commit(s.ann, f"/top{number}/new", [block]),
            s.right.commit_file(s.ann, by_id),
        )
        assert not isinstance(at_path, Exception), "by its path it always finds a place"
        assert isinstance(known, FileNotFound) or known.seq < deleted["seq"]
        living = [path for path in await s.paths() if path.startswith(f"/top{number}")]
        went_along = at_path.seq < deleted["seq"]
        assert living == ([] if went_along else [f"/top{number}", f"/top{number}/new"])
        await s.left.use_trash.restore(s.ann, top, path=parse_path(f"/back{number}"), key=None)
        for each in (at_path, known):
            if not isinstance(each, Exception):
                assert await s.left.read(s.ann, each.file_id) == block, "acked_is_readable"


async def test_of_a_restore_and_an_upload_of_one_name_both_keep_their_content(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        old = await s.left.upload(s.ann, f"/f{number}", b"old")
        await s.left.delete_file(s.ann, old.file_id)
        restored, uploaded = await s.race(
            s.left.use_trash.restore(s.ann, old.file_id, path=None, key=None),
            s.right.upload(s.ann, f"/f{number}", b"new"),
        )
        assert not isinstance(uploaded, Exception)
        assert await s.left.read(s.ann, uploaded.file_id) == b"new"
        if isinstance(restored, NameExists):
            assert uploaded.file_id != old.file_id
            await s.left.use_trash.restore(s.ann, old.file_id, path=parse_path(f"/old{number}"), key=None)
            assert await s.left.read(s.ann, old.file_id) == b"old"
        else:
            assert (uploaded.file_id, uploaded.version) == (old.file_id, 2)
            assert await s.left.read(s.ann, old.file_id, old.version_id) == b"old"


async def test_of_a_purge_and_a_restore_one_finds_nothing(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        before = await s.used()
        file = await s.left.upload(s.ann, f"/f{number}", b"content")
        await s.left.delete_file(s.ann, file.file_id)
        purged, restored = await s.race(
            s.left.use_trash.purge(s.ann, file.file_id, key=None),
            s.right.use_trash.restore(s.ann, file.file_id, path=None, key=None),
        )
        assert kinds([purged, restored]) == ["NotFound", "ok"]
        if isinstance(restored, Exception):
            assert await s.used() == before
        else:
            assert await s.left.read(s.ann, file.file_id) == b"content"


async def test_of_two_purges_one_gives_the_room_back(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        file = await s.left.upload(s.ann, f"/f{number}", b"content")
        await s.left.delete_file(s.ann, file.file_id)
        results = await s.race(
            *(each.use_trash.purge(s.ann, file.file_id, key=None) for each in (s.left, s.right))
        )
        assert kinds(results) == ["NotFound", "ok"]
        assert await s.used() == 0


async def test_quota_never_exceeded_at_its_edge_one_of_two_fits(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        block = noise(f"block{number}", 60_000)
        await s.left.admit(s.ann, block)
        files = await s.race(
            s.left.commit(s.ann, f"/left{number}", [block]), s.right.commit(s.ann, f"/right{number}", [block])
        )
        assert kinds(files) == ["QuotaExceeded", "ok"]
        refused = next(each for each in files if isinstance(each, QuotaExceeded))
        assert refused.quota == 100_000
        won = next(each for each in files if not isinstance(each, Exception))
        assert await s.used() == 60_000
        await s.left.delete_file(s.ann, won.file_id)
        await s.left.use_trash.purge(s.ann, won.file_id, key=None)


async def test_commit_is_idempotent_also_when_both_come_at_once(servers: Servers) -> None:
    s = servers
    for number in ROUNDS:
        made = await s.race(
            *(
                each.change_folders.make(s.ann, None, parse_path(f"/once{number}"), key=f"key{number}")
                for each in (s.left, s.right)
            )
        )
        assert kinds(made) == ["ok", "ok"]
        assert made[0] == made[1]
