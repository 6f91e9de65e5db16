"""`strata down`: whole and verified, or not at all."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from shared.domain.digests import blake3_of
from tests.unit.client.fake_server import FakeServer, Reply, Request
from tests.unit.client.running import KIB, Command, noise


def nothing_left() -> bool:
    return os.listdir() == []


def damage(server: FakeServer, times: int) -> None:
    """Have the first answers of the storage carry one wrong bit."""
    left = times

    def flip(request: Request) -> Reply | None:
        nonlocal left
        if left == 0:
            return None
        left -= 1
        server.storage_intercept = None
        reply = server.answer_storage(request)
        server.storage_intercept = flip
        return Reply(reply.status, bytes([reply.body[0] ^ 1]) + reply.body[1:], reply.headers)

    server.storage_intercept = flip


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_damaged_block_is_fetched_once_more(ann: Command, server: FakeServer, codec: str) -> None:
    server.codec = codec
    server.put("/a", b"content" * 100)
    damage(server, 1)
    assert ann("down", "/a").code == 0
    assert Path("a").read_bytes() == b"content" * 100


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_block_that_stays_damaged_leaves_nothing(ann: Command, server: FakeServer, codec: str) -> None:
    server.codec = codec
    server.put("/a", b"content" * 100, b"more")
    damage(server, 100)
    result = ann("down", "/a", "--json")
    assert (result.code, result.json["error"]["code"]) == (9, "verification_failed")
    assert nothing_left()


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize(
    ("blake3", "readings"),
    [
        (blake3_of, 3),
        (None, 3),
        (lambda plain: None, 3),
        (lambda plain: "", 3),
        (lambda plain: blake3_of(plain + b"!"), 4),
        (lambda plain: blake3_of(plain).upper(), 4),
    ],
    ids=["right", "of an older server", "of an older block", "empty", "wrong", "in capitals"],
)
def test_a_blake3_saves_time_and_decides_nothing(
    ann: Command,
    server: FakeServer,
    codec: str,
    blake3: Callable[[bytes], str | None] | None,
    readings: int,
) -> None:
    """A wrong one costs another reading of a block: then that file's are believed no more."""
    server.codec, server.blake3 = codec, blake3
    blocks = [noise(600 * KIB) for _ in range(3)]
    server.put("/a", *blocks)
    assert ann("down", "/a", "-j", "1").code == 0
    assert Path("a").read_bytes() == b"".join(blocks)
    assert server.storage_calls.total() == readings


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("blake3", [blake3_of, None], ids=["by BLAKE3", "by SHA-256"])
@pytest.mark.parametrize(("times", "code"), [(1, 0), (100, 9)])
def test_damage_in_a_large_file_is_found(
    ann: Command,
    server: FakeServer,
    codec: str,
    blake3: Callable[[bytes], str] | None,
    times: int,
    code: int,
) -> None:
    server.codec, server.blake3 = codec, blake3
    content = noise(600 * KIB)
    server.put("/a", content)
    damage(server, times)
    assert ann("down", "/a").code == code
    assert nothing_left() if code else Path("a").read_bytes() == content


def test_a_damaged_file_does_not_replace_an_old_one(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"content")
    Path("a").write_bytes(b"precious")
    damage(server, 100)
    assert ann("down", "/a", "--force").code == 9
    assert Path("a").read_bytes() == b"precious"
    assert os.listdir() == ["a"]


def test_one_damaged_file_does_not_stop_the_others(ann: Command, server: FakeServer) -> None:
    for name in "abc":
        server.put(f"/tree/{name}", name.encode() * 10)
    bad = server.nodes["/tree/b"].versions[-1].blocks[0]["sha256"]
    server.storage_intercept = lambda request: Reply(206, b"x" * 10) if request.path.endswith(bad) else None
    result = ann("down", "/tree", "--json")
    assert result.code == 9
    assert result.json["totals"]["received"] == 2
    assert sorted(os.listdir("tree")) == ["a", "c"]


@pytest.mark.parametrize("content", [b"short", b"x" * 5000], ids=["fewer", "more"])
def test_another_number_of_bytes_is_noticed(ann: Command, server: FakeServer, content: bytes) -> None:
    server.put("/a", b"content" * 100)
    server.storage_intercept = lambda request: Reply(206, content)
    assert ann("down", "/a").code == 9
    assert nothing_left()


def test_a_frame_that_would_fill_the_memory_is_refused(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"content" * 100)
    bomb = zstandard.ZstdCompressor().compress(bytes(1_000_000_000))

    def tamper(manifest: dict[str, Any]) -> None:
        manifest["blocks"][0] |= {"codec": "zstd", "stored_size": len(bomb)}

    server.storage_intercept = lambda request: Reply(206, bomb)
    tampering(server, tamper)
    assert ann("down", "/a").code == 9
    assert nothing_left()


def test_expired_grants_are_renewed(ann: Command, server: FakeServer) -> None:
    blocks = [noise(10 * KIB) for _ in range(40)]
    server.put("/a", *blocks)
    served: Counter[str] = Counter()

    def expire(request: Request) -> Reply | None:
        served["all"] += 1
        if served["all"] in (10, 25):
            server.grants.clear()
        return None

    server.storage_intercept = expire
    assert ann("down", "/a").code == 0
    assert Path("a").read_bytes() == b"".join(blocks)
    manifests = sum(count for call, count in server.calls.items() if call.endswith("manifest"))
    assert manifests == 3  # one for the file and one for each expiry, however many threads met it


def test_grants_that_never_work_end_it(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"content")
    server.storage_intercept = lambda request: Reply(403, b"<Error/>")
    result = ann("down", "/a", "--json")
    assert result.code == 7
    assert "sig=" not in result.out + result.err
    assert nothing_left()


def test_a_storage_that_is_busy_is_asked_again(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"content")
    answers = [Reply(503, headers={"Retry-After": "0"}), Reply(500), Reply(0)]
    server.storage_intercept = lambda request: answers.pop() if answers else None
    assert ann("down", "/a").code == 0


def test_a_storage_that_is_away(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"content")
    server.storage_intercept = lambda request: Reply(0)
    result = ann("down", "/a", "--json")
    assert (result.code, result.json["error"]["code"]) == (7, "unavailable")
    assert server.storage_url not in result.out + result.err
    assert nothing_left()


def test_repeated_blocks_are_fetched_once(ann: Command, server: FakeServer) -> None:
    zero, other = bytes(100 * KIB), noise(50 * KIB)
    server.put("/a", zero, zero, other, zero)
    assert ann("down", "/a").code == 0
    assert Path("a").read_bytes() == zero + zero + other + zero
    assert set(server.storage_calls.values()) == {1}


def test_standard_output_is_in_order(ann: Command, server: FakeServer) -> None:
    blocks = [noise(300 * KIB + number) for number in range(40)]
    server.put("/a", *blocks)
    code, out, _ = ann.bytes("down", "/a", "-", "--jobs", "3")
    assert code == 0
    assert out == b"".join(blocks)
    assert nothing_left()


def test_standard_output_ends_where_the_damage_begins(ann: Command, server: FakeServer) -> None:
    blocks = [noise(10 * KIB) for _ in range(3)]
    server.put("/a", *blocks)
    bad = server.nodes["/a"].versions[-1].blocks[2]["sha256"]
    server.storage_intercept = lambda request: (
        Reply(206, bytes(10 * KIB)) if request.path.endswith(bad) else None
    )
    code, out, err = ann.bytes("down", "/a", "-", "--jobs", "1")
    assert code == 9
    assert (blocks[0] + blocks[1]).startswith(out)
    assert "hash" in err


def test_targets(ann: Command, server: FakeServer) -> None:
    server.put("/d/e/f", b"f")
    server.put("/d/g", b"g")
    for arguments, expected in {
        ("/d/g",): ["g"],
        ("/d/g", "h"): ["h"],
        ("/d/g", "new/"): ["new/g"],
        ("/d/g", "old"): ["old/g"],
        ("/d",): ["d/e/f", "d/g"],
        ("/d", "x"): ["x/e/f", "x/g"],
        ("/d", "x/"): ["x/d/e/f", "x/d/g"],
        ("/d", "old"): ["old/e/f", "old/g"],
        ("/",): ["d/e/f", "d/g"],
        ("/", "all"): ["all/d/e/f", "all/d/g"],
        ("/d/", "."): ["e/f", "g"],
    }.items():
        Path("old").mkdir()
        assert ann("down", *arguments).code == 0, arguments
        assert sorted(str(path) for path in Path().rglob("*") if path.is_file()) == expected, arguments
        for entry in os.listdir():
            Path(entry).unlink() if Path(entry).is_file() else shutil.rmtree(entry)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("/nothing",), 4),
        (("/d", "-"), 6),
        (("/d/g", "-", "--json"), 2),
        (("/d/g", "no/folder"), 8),
        (("/d/../d/g",), 6),
        (("/d", "file"), 5),
    ],
)
def test_arguments_that_can_not_be_meant(
    ann: Command, server: FakeServer, arguments: tuple[str, ...], code: int
) -> None:
    server.put("/d/g", b"g")
    Path("file").write_bytes(b"")
    assert ann("down", *arguments).code == code
    assert os.listdir() == ["file"]


def test_an_existing_file_is_not_replaced_by_accident(ann: Command, server: FakeServer) -> None:
    server.put("/d/a", b"new")
    server.put("/d/b", b"b")
    Path("d").mkdir()
    Path("d/a").write_bytes(b"old")
    result = ann("down", "/d", "--json")
    assert (result.code, result.json["error"]["code"]) == (5, "local_exists")
    assert (Path("d/a").read_bytes(), Path("d/b").read_bytes()) == (b"old", b"b")
    assert ann("down", "/d/a", "d", "--force").code == 0
    assert Path("d/a").read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_replaced(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"new")

    def appear(request: Request) -> None:
        Path("a").write_bytes(b"suddenly")

    server.storage_intercept = appear
    assert ann("down", "/a").code == 5
    assert Path("a").read_bytes() == b"suddenly"
    assert os.listdir() == ["a"]


def test_a_folder_is_not_replaced_even_by_force(ann: Command, server: FakeServer) -> None:
    server.put("/d/a", b"new")
    Path("d/a").mkdir(parents=True)
    assert ann("down", "/d", "--force").code == 5
    assert Path("d/a").is_dir()


def test_a_link_is_replaced_and_not_followed(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"new")
    Path("elsewhere").write_bytes(b"old")
    Path("a").symlink_to("elsewhere")
    assert ann("down", "/a", "--force").code == 0
    assert Path("elsewhere").read_bytes() == b"old"
    assert not Path("a").is_symlink()


def test_a_link_to_a_folder_does_not_lead_out(ann: Command, server: FakeServer, tmp_path: Path) -> None:
    server.put("/d/sub/a", b"a")
    outside = tmp_path / "outside"
    outside.mkdir()
    Path("d").mkdir()
    Path("d/sub").symlink_to(outside)
    assert ann("down", "/d").code == 6
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["/d/../../evil", "/d//etc/evil", "/d/..", "/evil", "/d/a\\..\\evil", "/d/\x1b[2J", "/d/con", "/d/"],
)
def test_names_that_lead_elsewhere_are_refused(ann: Command, server: FakeServer, path: str) -> None:
    server.put("/d/good", b"good")

    def lie(request: Request) -> Reply | None:
        if request.path != "/api/files/list" or "folder" not in request.query or "limit" in request.query:
            return None
        entry = server.nodes["/d/good"].shown() | {"path": path}
        return Reply(200, json.dumps({"files": [entry], "folders": [], "next_cursor": None}).encode())

    server.intercept = lie
    result = ann("down", "/d", "out")
    assert result.code == 6
    assert "\x1b" not in result.err
    assert [path for path in Path().rglob("*") if path.is_file()] == []
    assert not Path("../evil").exists()


def tampering(server: FakeServer, tamper: Callable[[dict[str, Any]], None]) -> None:
    """Have manifests changed before they are sent."""

    def intercept(request: Request) -> Reply | None:
        if not request.path.endswith("/manifest"):
            return None
        server.intercept = None
        reply = server.answer(request)
        server.intercept = intercept
        manifest = json.loads(reply.body)
        tamper(manifest)
        return Reply(200, json.dumps(manifest).encode())

    server.intercept = intercept


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"size": 5 * 1024 * KIB},
        {"stored_size": 10**12},
        {"stored_size": 0},
        {"offset": -1},
        {"sha256": "nonsense"},
        {"sha256": "0" * 64},
        {"url": "file:///etc/passwd"},
        {"codec": "rot13"},
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(
    ann: Command, server: FakeServer, change: dict[str, Any]
) -> None:
    server.put("/a", b"content")
    tampering(server, lambda manifest: manifest["blocks"][0].update(change))
    assert ann("down", "/a").code == 9
    assert nothing_left()


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/a", b"content")
    usage = shutil.disk_usage(".")._replace(free=10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    result = ann("down", "/a", "--json")
    assert (result.code, result.json["error"]["code"]) == (8, "disk_full")
    assert server.storage_calls == {}


def test_a_disk_that_fills_up_ends_the_run(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        server.put(f"/d/{number}", b"content %d" % number)

    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("client.part_file.os.pwrite", full)
    result = ann("down", "/d", "--jobs", "2", "--json")
    assert (result.code, result.json["error"]["code"]) == (8, "disk_full")
    assert os.listdir("d") == []


def test_a_version_stays_the_one_that_was_listed(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"first")

    def replace(request: Request) -> None:
        if request.path.endswith("/manifest") and len(server.nodes["/a"].versions) == 1:
            server.put("/a", b"second")

    server.intercept = replace
    assert ann("down", "/a").code == 0
    assert Path("a").read_bytes() == b"first"
