"""Attacks by blocks: bombs, wrong hashes, many hands on one block, and lists without end."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from tests.hostile.raw import Target
from tests.support.samples import noise
from tests.support.system import Api

MIB = 2**20
HASH = "0" * 64


def bomb(size: int, *, stated: bool) -> bytes:
    """Zeros in one zstd frame, whose header states their number or leaves it open."""
    press = zstandard.ZstdCompressor(level=1).compressobj(size=size if stated else -1)
    zeros = bytes(4 * MIB)
    return b"".join([*(press.compress(zeros) for _ in range(size // len(zeros))), press.flush()])


def test_bombs_do_not_go_off(target: Target, ann: Api) -> None:
    # Something ordinary first, so that what is loaded once is loaded.
    full = noise("full", 4 * MIB)
    assert ann.client.post("/api/upload", content=full).status_code == 201
    before = target.forget_peak()
    with target.nothing_stored():
        for stated in (True, False):
            sent = bomb(1024 * MIB, stated=stated)
            assert len(sent) < MIB
            answer = ann.client.post("/api/upload", content=sent, headers={"Content-Encoding": "zstd"})
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        lying = bytearray(bomb(8 * MIB, stated=True))
        # The frame's content size, in the header behind magic and descriptor: it claims 1 MiB.
        place = lying.index((8 * MIB).to_bytes(4, "little"))
        lying[place : place + 4] = MIB.to_bytes(4, "little")
        frames = bomb(4 * MIB, stated=False) * 64
        for content in (bytes(lying), frames, b"\x28\xb5\x2f\xfd"):
            answer = ann.client.post("/api/upload", content=content, headers={"Content-Encoding": "zstd"})
            assert answer.status_code in (400, 413, 422), answer.text
    assert target.memory("VmHWM") < before + 64


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd, zstd", "gzip, zstd", "x", "zstd;q=1"])
def test_other_codings_are_never_decoded(target: Target, ann: Api, coding: str) -> None:
    with target.nothing_stored():
        for path in ("upload", "files/upload"):
            answer = ann.client.post(
                f"/api/{path}", content=b"\x1f\x8b\x08", headers={"Content-Encoding": coding}
            )
            assert answer.status_code == 415


@pytest.mark.parametrize(
    ("stated", "status"),
    [
        ("A" * 64, 400),
        ("0" * 63, 400),
        ("0" * 65, 400),
        ("g" * 64, 400),
        ("..%2f" + "0" * 59, 400),
        (HASH, 422),
    ],
)
def test_stated_hashes(target: Target, ann: Api, stated: str, status: int) -> None:
    with target.nothing_stored():
        answer = ann.client.post("/api/upload", content=b"a block", headers={"X-Content-SHA256": stated})
        assert answer.status_code == status


def test_empty_and_oversize_blocks(target: Target, ann: Api) -> None:
    with target.nothing_stored():
        assert ann.client.post("/api/upload", content=b"").status_code == 422
        assert ann.client.post("/api/upload", content=bytes(4 * MIB + 1)).status_code == 413
        packed = zstandard.compress(b"")
        assert (
            ann.client.post("/api/upload", content=packed, headers={"Content-Encoding": "zstd"}).status_code
            == 422
        )


def test_fifty_hands_on_one_block_make_one(target: Target, ann: Api) -> None:
    block = noise("popular", 100_000)
    sha256 = hashlib.sha256(block).hexdigest()
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: ann.client.post("/api/upload", content=block), range(50)))
    assert {each.status_code for each in answers} == {201}
    assert {each.json()["block_id"] for each in answers} == {sha256}
    rows = target.query(
        "SELECT o.state FROM blocks b JOIN blobs o ON o.blob_id = b.blob_id WHERE b.sha256 = ?", sha256
    )
    assert rows == [("STORED",)]
    leases = target.query(
        "SELECT COUNT(*) FROM leases l JOIN blocks b ON b.block_key = l.block_key WHERE b.sha256 = ?", sha256
    )
    assert leases == [(1,)]
    commit = {"path": "/popular", "blocks": [{"sha256": sha256, "size": len(block)}]}
    done = ann.client.post("/api/files/commit", json=commit)
    assert done.status_code == 201
    assert ann.download(done.json()["file_id"]) == block


@pytest.mark.parametrize(
    "injected", ["x-ms-meta-owner", "x-ms-blob-type", "x-ms-copy-source", "x-ms-access-tier"]
)
def test_headers_for_storage_stay_outside(ann: Api, injected: str) -> None:
    block = noise(injected, 100)
    answer = ann.client.post("/api/upload", content=block, headers={injected: "http://127.0.0.1/x"})
    assert (answer.status_code, answer.json()["block_id"]) == (201, hashlib.sha256(block).hexdigest())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"hashes": [HASH] * 1001}, 413),
        ({"hashes": [HASH] * 200_000}, 413),
        ({"hashes": [HASH] * 1_000_000}, 413),
        ({"hashes": HASH}, 400),
        ({"hashes": [None]}, 400),
        ({"hashes": [HASH.replace("0", "A")]}, 400),
        ({"hashes": ["%00" * 21 + "0"]}, 400),
        ({}, 400),
        ([], 400),
    ],
    ids=range(9),
)
def test_checks(target: Target, ann: Api, body: object, status: int) -> None:
    with target.nothing_stored():
        assert ann.client.post("/api/blocks/check", json=body).status_code == status


@pytest.mark.parametrize("size", [0, -1, 4 * MIB + 1, 2**63, 1.5, "5", None, True])
def test_grants_of_sizes_that_no_block_has(target: Target, ann: Api, size: object) -> None:
    with target.nothing_stored():
        answer = ann.client.post("/api/blocks/grants", json={"blocks": [{"sha256": HASH, "size": size}]})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        many = {"blocks": [{"sha256": HASH, "size": 1}] * 101}
        assert ann.client.post("/api/blocks/grants", json=many).status_code == 413
