"""How soon others hear of a change, and what a listing costs from the cache and from SQL.

From the moment that a commit is sent to the moment that a waiting device has its answer, and beside it the commit
itself. The commits are folders: no bytes travel. Then the same while 500 devices wait in 50 namespaces, each commit
waking ten of them, and while all of 500 wait in one. Then a file from one device's commit to another's watched folder.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.measuring import Row, cpu_of, peak_of
from tests.support.crowd import Callers, Crowd, plant_crowd
from tests.support.system import ROOT, Api, Strata, System
from tools.local.processes import free_ports
from tools.local.running import FunctionsHost, running_host, running_redis

COMMITS, WATCHED = 100, 40
SOON, MOST_MB = 1.0, 300
ENTRIES, LISTINGS = 1000, 200
_WAIT = 200
_SETTLE = 0.01
"""Seconds that each device gets to begin waiting."""


def rows(folder: Path) -> Iterator[Row]:
    with running_redis(folder) as redis:
        settings = {"REDIS_URL": redis.url, "LONGEST_WAIT_SECONDS": str(_WAIT)}
        system = System(folder, settings)
        with system.azurite(), system.host() as host:
            yield from _listings(system, folder, host)
            yield from _wakes(system, host)
            yield _watching(system, folder)


def _wakes(system: System, host: FunctionsHost) -> Iterator[Row]:
    for name, users, devices, commits in (
        ("commit to wake-up, one waits", 1, 1, COMMITS),
        ("the same, 500 wait in 50 namespaces", 50, 10, COMMITS),
        ("the same, 500 wait in one namespace", 1, 500, 5),
    ):
        crowd = plant_crowd(system.environment, users=users, devices=devices, names=f"{users}-{devices}")
        woken, committed = asyncio.run(_ring(crowd, commits))
        most = peak_of(host.child.pid) * 1.048576
        yield Row(
            name,
            f"p50 {_ms(woken, 50)}, p95 {_ms(woken, 95)} ms",
            f"the commit: p50 {_ms(committed, 50)}, p95 {_ms(committed, 95)} ms",
            limit=f"host under {MOST_MB} MB ({most:.0f})" if users * devices >= 500 else "",
            kept=most < MOST_MB,
            figures={"p50": _percentile(woken, 50), "p95": _percentile(woken, 95), "host_mb": most},
        )


async def _ring(crowd: Crowd, commits: int) -> tuple[list[float], list[float]]:
    """Seconds to each wake-up, and of each commit; everybody waits all the while, and is woken in turn."""
    async with crowd.session() as callers:
        waits = [await _waiting(callers, mine) for mine in crowd.tokens]
        await asyncio.sleep(_SETTLE * len(crowd.tokens) * len(crowd.tokens[0]))
        woken: list[float] = []
        committed: list[float] = []
        for number in range(commits):
            turn = number % len(waits)
            mine = crowd.tokens[turn]
            began = time.perf_counter()
            await callers.change(mine[0], f"folder {number}")
            committed.append(time.perf_counter() - began)
            woken += [ended - began for ended in await asyncio.gather(*waits[turn])]
            waits[turn] = await _waiting(callers, mine)
            await asyncio.sleep(_SETTLE * len(mine))
        # A host holds a wait whose client has gone until its time is up: so each is brought to its end.
        await asyncio.gather(*(callers.change(mine[0], "the end") for mine in crowd.tokens))
        await asyncio.gather(*(task for each in waits for task in each))
        return woken, committed


async def _waiting(callers: Callers, tokens: Sequence[str]) -> list[asyncio.Task[float]]:
    """All devices of a user begin to wait."""
    cursor = await callers.cursor(tokens[0])
    return [asyncio.create_task(_wait(callers, token, cursor)) for token in tokens]


async def _wait(callers: Callers, token: str, cursor: str) -> float:
    if not await callers.wait(token, cursor, _WAIT):
        raise RuntimeError("nobody was woken")
    return time.perf_counter()


def _watching(system: System, folder: Path) -> Row:
    """A file from the commit on one device to the watched folder of another."""
    device = Strata(folder / "home", system.url)
    device.sign_up("watching")
    here = folder / "watched"
    here.mkdir()
    watching = device.start("sync", here, "--watch")
    try:
        with Api.log_in(system.url, "watching") as api:
            taken, committed = [], []
            # The first tells that the watch has begun.
            for number in range(WATCHED + 1):
                began = time.perf_counter()
                api.upload(f"/file-{number}.txt", b"content " * 64)
                sent = time.perf_counter() - began
                while not (here / f"file-{number}.txt").exists():
                    if watching.poll() is not None or time.perf_counter() - began > 60:
                        raise RuntimeError(f"the file did not come: {watching.communicate()}")
                    time.sleep(0.002)
                if number:
                    taken.append(time.perf_counter() - began)
                    committed.append(sent)
    finally:
        watching.terminate()
        watching.communicate()
    p95 = _percentile(taken, 95)
    return Row(
        "commit to the file in a folder under `sync --watch`",
        f"p50 {_ms(taken, 50)}, p95 {_ms(taken, 95)} ms",
        f"the upload: p50 {_ms(committed, 50)}, p95 {_ms(committed, 95)} ms",
        limit=f"p95 under {SOON:.0f} s",
        kept=p95 < SOON,
        figures={"p50": _percentile(taken, 50), "p95": p95},
    )


def _listings(system: System, folder: Path, cached: FunctionsHost) -> Iterator[Row]:
    """The same listing by two hosts over one database, in turns: one with Redis, one without."""
    without = {name: value for name, value in system.environment.items() if name != "REDIS_URL"}
    with running_host(ROOT, without, free_ports(1)[0], folder=folder / "plain") as plain:
        crowd = plant_crowd(system.environment, users=1, devices=1, names="lister")
        asyncio.run(_fill(crowd))
        for name, held in (
            (f"files/list, {ENTRIES:,} entries", False),
            ("the same, with If-None-Match", True),
        ):
            costs: dict[str, list[float]] = {"cache": [], "sql": []}
            for _ in range(4):
                for kind, host in (("cache", cached), ("sql", plain)):
                    before = cpu_of(host.child.pid)
                    asyncio.run(_list(crowd, host.url, held))
                    costs[kind].append((cpu_of(host.child.pid) - before) / LISTINGS)
            cache, sql = (statistics.median(costs[kind]) for kind in ("cache", "sql"))
            yield Row(
                name,
                f"{cache * 1000:.1f} ms of the host",
                f"SQL: {sql * 1000:.1f} ms",
                sql / cache,
                figures={"cache": cache, "sql": sql},
            )


async def _fill(crowd: Crowd) -> None:
    [[token]] = crowd.tokens
    async with crowd.session() as callers:
        for number in range(ENTRIES):
            body: dict[str, object] = {"path": f"/file-{number:04}.txt", "base_version": None, "blocks": []}
            await callers.ask(token, "POST", "/api/files/commit", json=body)


async def _list(crowd: Crowd, url: str, held: bool) -> None:
    [[token]] = crowd.tokens
    headers = {"Authorization": f"Bearer {token}"}
    async with Crowd(url, crowd.tokens).session() as callers:
        async with callers.session.get("/api/files/list?folder=/", headers=headers) as answer:
            if len((await answer.json())["files"]) != ENTRIES:
                raise RuntimeError("the listing is not complete")
            if held:
                headers["If-None-Match"] = answer.headers["ETag"]
        for _ in range(LISTINGS):
            async with callers.session.get("/api/files/list?folder=/", headers=headers) as answer:
                if answer.status != (304 if held else 200):
                    answer.raise_for_status()
                    raise RuntimeError(f"status {answer.status}")
                await answer.read()


def _percentile(seconds: Sequence[float], percent: int) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _ms(seconds: Sequence[float], percent: int) -> str:
    return f"{_percentile(seconds, percent) * 1000:.0f}"
