"""`strata up --direct` against real parts: bytes into Azurite, a blob trigger that notices them, and back."""

import json
import random
from pathlib import Path
from threading import Event

import pytest

from client.block_putting import BlockPutter
from client.http import Http
from client.wire import Grants, decode
from shared.domain.blocks import hash_of
from tests.support.system import Api, Strata, System


@pytest.fixture(scope="module")
def strata(system: System, tmp_path_factory: pytest.TempPathFactory) -> Strata:
    made = Strata(tmp_path_factory.mktemp("home"), system.url)
    made.sign_up("direct")
    return made


def _up(strata: Strata, *arguments: str | Path) -> int:
    """Send directly, without falling back on the gateway; returns the bytes that went over the wire."""
    done = strata.run("--json", "up", "--direct", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "the gateway was used, or there was trouble"
    sent: int = json.loads(done.stdout)["totals"]["bytes_sent"]
    return sent


def test_a_file_of_40_mb(strata: Strata, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    content = random.Random(seed).randbytes(40_000_000)
    (tmp_path / "large.bin").write_bytes(content)
    assert _up(strata, tmp_path / "large.bin", "/large.bin") == len(content)
    strata.json("down", "/large.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    assert _up(strata, tmp_path / "large.bin", "/copy.bin") == 0


def test_a_name_that_is_filled_already_counts_as_delivered(system: System) -> None:
    content = b"delivered, and the answer got lost"
    with Api.sign_up(system.url, "twice") as api, Http(1) as storage:
        blocks = [{"sha256": hash_of(content), "size": len(content)}]
        answer = api.client.post("/api/blocks/grants", json={"blocks": blocks})
        grant = decode(answer.content, Grants, what="asking for grants").grants[0]
        putter = BlockPutter(storage, Event())
        putter.put(grant, content)
        putter.put(grant, content)


def test_fifty_small_files(strata: Strata, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(50):
        (tree / f"{number}.bin").write_bytes(chance.randbytes(chance.randrange(1, 5000)))
    _up(strata, tree, "/tree")
    strata.json("down", "/tree", tmp_path / "back")
    back = {path.name: path.read_bytes() for path in (tmp_path / "back").rglob("*.bin")}
    assert back == {path.name: path.read_bytes() for path in tree.iterdir()}
