"""Blocks put straight into storage, while events get lost and doubled and the host is killed."""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from shared.domain.blocks import hash_of
from tests.support.system import ROOT, Api, System
from tools.local.running import FunctionsHost, running_host

BLOCKS = 500
APP = Path(__file__).with_name("unreliable_app") / "function_app.py"


def test_lost_event_heals_and_event_effect_exactly_once(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    contents = {
        hash_of(content): content
        for content in (chance.randbytes(chance.randrange(1, 9000)) for _ in range(BLOCKS))
    }
    # The timer comes every second and takes an event for lost after two.
    system = System(
        tmp_path,
        {"STAGED_PATIENCE_SECONDS": "2", "JOB_LEASE_SECONDS": "3", "SWEEP_STAGING_SCHEDULE": "* * * * * *"},
    )
    with system.azurite():
        system.ops("migrate")
        with _unreliable(system) as host, Api.sign_up(system.url, "direct") as api:
            _put_directly(api, contents)
            _wait_until(lambda: len(_missing(api, contents)) < BLOCKS * 2 // 3, "nothing is indexed")
            host.kill()
        with _unreliable(system), Api.log_in(system.url, "direct") as api:
            _wait_until(lambda: not _missing(api, contents), "some blocks are never indexed")
            commit = api.client.post(
                "/api/files/commit",
                json={
                    "path": "/all.bin",
                    "base_version": None,
                    "blocks": [
                        {"sha256": sha256, "size": len(content)} for sha256, content in contents.items()
                    ],
                },
            )
            assert commit.status_code == 201, commit.text
            assert api.download(commit.json()["file_id"]) == b"".join(contents.values())
            _wait_until(lambda: _count(system, "staging WHERE state = 'GRANTED'") == 0, "grants stay open")
    assert _count(system, "blocks") == len(contents)
    assert _count(system, "staging WHERE state = 'ADMITTED'") == len(contents)


@contextmanager
def _unreliable(system: System) -> Iterator[FunctionsHost]:
    root = system.folder / "app"
    root.mkdir(exist_ok=True)
    shutil.copy(APP, root)
    shutil.copy(ROOT / "host.json", root)
    with running_host(root, system.environment, system.port, folder=system.folder) as host:
        yield host


def _put_directly(api: Api, contents: dict[str, bytes]) -> None:
    hashes = list(contents)
    with httpx.Client(timeout=30) as stranger, ThreadPoolExecutor(8) as threads:

        def put(grant: dict[str, str]) -> int:
            body = contents[grant["sha256"]]
            return stranger.put(grant["url"], content=body, headers=dict(grant["headers"])).status_code

        for start in range(0, len(hashes), 100):
            wanted = [
                {"sha256": sha256, "size": len(contents[sha256])} for sha256 in hashes[start : start + 100]
            ]
            answer = api.client.post("/api/blocks/grants", json={"blocks": wanted})
            assert answer.status_code == 200, answer.text
            assert set(threads.map(put, answer.json()["grants"])) == {201}


def _missing(api: Api, contents: dict[str, bytes]) -> list[str]:
    answer = api.client.post("/api/blocks/check", json={"hashes": list(contents)})
    assert answer.status_code == 200, answer.text
    missing: list[str] = answer.json()["missing"]
    return missing


def _count(system: System, table: str) -> int:
    with closing(sqlite3.connect(f"file:{system.folder / 'metadata.db'}?mode=ro", uri=True)) as database:
        return int(database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def _wait_until(holds: Callable[[], bool], otherwise: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)
