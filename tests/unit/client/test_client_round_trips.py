"""Files up and down again, through the command as people run it."""

import os
from pathlib import Path

import pytest

from tests.unit.client.fake_server import FakeServer
from tests.unit.client.running import KIB, Command, noise


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 9 * 1024 * KIB + 17])
def test_a_file_comes_back_as_it_went(ann: Command, server: FakeServer, size: int, codec: str) -> None:
    content = noise(size // 2) + b"abc" * (size // 6) + b"x" * (size - size // 2 - size // 6 * 3)
    Path("a.bin").write_bytes(content)
    os.utime("a.bin", ns=(0, 1_700_000_000_123_456_000))
    server.codec = codec
    result = ann("up", "a.bin", "/deep/b.bin", "--json")
    assert result.code == 0, result.err
    assert result.json["files"][0]["status"] == "committed"
    assert server.content("/deep/b.bin") == content
    assert ann("down", "/deep/b.bin", "c.bin").code == 0
    assert Path("c.bin").read_bytes() == content
    assert Path("c.bin").stat().st_mtime_ns == 1_700_000_000_123_456_000
    assert sorted(os.listdir()) == ["a.bin", "c.bin"]


def test_a_tree_comes_back_as_it_went(ann: Command, server: FakeServer) -> None:
    expected = {}
    for number in range(60):
        path = Path("tree", f"folder {number % 5}", "ü" * (number % 3 + 1), f"file {number}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number * 100))
        expected[str(path.relative_to("tree"))] = path.read_bytes()
    server.page_size = 3
    result = ann("up", "tree", "/backup", "--json")
    assert (result.code, result.json["totals"]["committed"]) == (0, 60)
    assert ann("down", "/backup", "copy").code == 0
    assert {
        str(p.relative_to("copy")): p.read_bytes() for p in Path("copy").rglob("*") if p.is_file()
    } == expected
