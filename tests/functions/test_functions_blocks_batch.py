"""`blocks/batch`: several blocks in one request, all of them or none, and in one blob."""

from typing import Any

import msgspec
import pytest
import zstandard
from sqlalchemy import text

from functions._batches import BLOCKS_MEDIA, MAX_BLOCKS
from shared.domain.blocks import BLOCK_SIZE, hash_of
from shared.domain.digests import blake3_of
from tests.functions.serving import Site, User, json, refusal
from tests.support.samples import noise, prose

MIB = 2**20
ONE, TWO, TEXT = noise("one", 1_000), noise("two", 2_000), prose("text", 4_000)


def told(content: bytes, plain: bytes | None = None, **more: Any) -> dict[str, Any]:
    return {"sha256": hash_of(plain or content), "size": len(content), **more}


def body(blocks: list[dict[str, Any]], *contents: bytes) -> bytes:
    return msgspec.json.encode({"blocks": blocks}) + b"\n" + b"".join(contents)


async def send(user: User, raw: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await user.call("upload_blocks", raw, headers={"content-type": BLOCKS_MEDIA, **named})


async def commit(user: User, *blocks: bytes) -> Any:
    refs = [{"sha256": hash_of(block), "size": len(block)} for block in blocks]
    return await user.call("commit_file", {"path": "/a", "base_version": None, "blocks": refs})


async def test_blocks_of_one_request_share_a_blob_and_come_back(site: Site, ann: User) -> None:
    frame = zstandard.compress(TEXT)
    blocks = [told(ONE), told(TWO), told(frame, TEXT, codec="zstd")]
    done = await send(ann, body(blocks, ONE, TWO, frame))
    assert done.status_code == 201
    assert json(done)["blocks"] == [
        {"block_id": hash_of(block), "size": len(block)} for block in (ONE, TWO, TEXT)
    ]
    made = json(await commit(ann, ONE, TWO, TEXT))
    manifest = json(await ann.call("get_manifest", method="GET", file_id=made["file_id"]))
    assert len({block["url"] for block in manifest["blocks"]}) == 1
    assert [block["offset"] for block in manifest["blocks"]] == [0, 1_000, 3_000]
    assert manifest["blocks"][2]["stored_size"] == len(frame)
    assert [block["blake3"] for block in manifest["blocks"]] == [blake3_of(each) for each in (ONE, TWO, TEXT)]
    assert (await ann.download(made["file_id"])).get_body() == ONE + TWO + TEXT


async def test_a_block_that_was_stored_before_there_was_a_blake3_has_none(site: Site, ann: User) -> None:
    await send(ann, body([told(ONE)], ONE))
    made = json(await commit(ann, ONE))
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE blocks SET blake3 = NULL"))
    [block] = json(await ann.call("get_manifest", method="GET", file_id=made["file_id"]))["blocks"]
    assert block["blake3"] is None


async def test_sending_again_stores_nothing_again(site: Site, ann: User) -> None:
    raw = body([told(ONE), told(TWO)], ONE, TWO)
    assert (await send(ann, raw)).status_code == 201
    before = site.rows("blobs", "blocks", "leases")
    assert (await send(ann, raw)).status_code == 201
    assert (await send(ann, body([told(TWO), told(TWO)], TWO, TWO))).status_code == 201
    assert site.rows("blobs", "blocks", "leases") == before


async def test_tenant_isolation_anothers_blocks_are_stored_again(site: Site, ann: User, bob: User) -> None:
    raw = body([told(ONE), told(TWO)], ONE, TWO)
    first, second = await send(ann, raw), await send(bob, raw)
    assert first.get_body() == second.get_body()
    assert (await commit(bob, ONE, TWO)).status_code == 201


LINE = body([told(ONE)])


@pytest.mark.parametrize(
    ("raw", "headers", "expected"),
    [
        (LINE + ONE, {"content_type": "application/octet-stream"}, (415, "unsupported_media_type")),
        (LINE + ONE, {"content_encoding": "gzip"}, (415, "unsupported_media_type")),
        (b"", {}, (400, "bad_request")),
        (b"{}\n", {}, (400, "bad_request")),
        (body([]), {}, (400, "bad_request")),
        (LINE + ONE[1:], {}, (400, "bad_request")),
        (LINE + ONE + b"x", {}, (400, "bad_request")),
        (body([told(ONE, codec="gzip")], ONE), {}, (400, "bad_request")),
        (body([{**told(ONE), "sha256": "0" * 63}], ONE), {}, (400, "bad_request")),
        (body([{**told(ONE), "size": 0}]), {}, (400, "bad_request")),
        (body([told(ONE), {**told(TWO), "sha256": "0" * 64}], ONE, TWO), {}, (422, "hash_mismatch")),
        (body([told(ONE), told(ONE, codec="zstd")], ONE, ONE), {}, (400, "bad_request")),
        (body([told(b"x")] * (MAX_BLOCKS + 1), b"x" * (MAX_BLOCKS + 1)), {}, (413, "too_large")),
        (
            body([told(zstandard.compress(bytes(BLOCK_SIZE)), bytes(BLOCK_SIZE), codec="zstd")] * 3)
            + zstandard.compress(bytes(BLOCK_SIZE)) * 3,
            {},
            (413, "too_large"),
        ),
        (
            body([told(zstandard.compress(bytes(5 * MIB)), bytes(5 * MIB), codec="zstd")])
            + zstandard.compress(bytes(5 * MIB)),
            {},
            (413, "too_large"),
        ),
    ],
    ids=range(15),
)
async def test_hostile_bodies_are_refused_and_store_nothing(
    site: Site, ann: User, raw: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    before = site.rows()
    assert refusal(await send(ann, raw, **headers)) == expected
    assert site.rows() == before


async def test_without_a_token_nothing(site: Site) -> None:
    answer = await site.call("upload_blocks", LINE + ONE, headers={"content-type": BLOCKS_MEDIA})
    assert refusal(answer)[0] == 401


async def test_what_does_not_fit_the_quota_is_refused_as_a_whole(site: Site, ann: User) -> None:
    with site.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE namespaces SET quota = 2500")
    before = site.rows()
    assert refusal(await send(ann, body([told(ONE), told(TWO)], ONE, TWO))) == (507, "quota_exceeded")
    assert site.rows() == before
