"""`files/batch` and `files/manifests`: the form of their bodies and answers, and what is refused."""

from typing import Any

import msgspec
import pytest
import zstandard

from functions._batches import MAX_CONTENT, MAX_LINE, MEDIA
from shared.domain.blocks import hash_of, root_hash
from tests.functions.serving import Site, User, json, refusal
from tests.support.samples import noise, prose, ref_of

KIB = 1024
ONE, TWO = noise("one", 1000), noise("two", 2000)


def commit(path: str, *blocks: bytes, **more: Any) -> dict[str, Any]:
    refs = [{"sha256": hash_of(block), "size": len(block)} for block in blocks]
    return {"path": path, "base_version": None, "blocks": refs, **more}


def body(files: list[dict[str, Any]], *contents: bytes) -> bytes:
    line = msgspec.json.encode({"files": files, "sizes": [len(each) for each in contents]})
    return line + b"\n" + b"".join(contents)


async def send(user: User, raw: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await user.call("commit_batch", raw, headers={"content-type": MEDIA, **named})


async def test_a_result_for_each_file_as_alone(ann: User) -> None:
    files = [
        commit("/docs/a", ONE),
        commit("/docs/b", ONE, TWO, modified_at="2026-01-31T12:00:00Z"),
        commit("/docs/A", ONE),
        commit("/con", ONE),
        commit("/missing", noise("missing", 5)),
        {"blocks": []},
    ]
    done = await send(ann, body(files, ONE, TWO))
    assert done.status_code == 200
    first, second, clash, refused, missing, nowhere = json(done)["results"]
    assert (first["status"], first["path"], first["version"], first["seq"]) == (201, "/docs/a", 1, 1)
    assert (second["status"], second["seq"]) == (201, 1)
    assert (clash["status"], clash["code"], clash["entry"], clash["kind"]) == (
        409,
        "name_exists",
        "a",
        "file",
    )
    assert (refused["status"], refused["code"]) == (422, "name_refused")
    assert (missing["status"], missing["missing"]) == (409, [hash_of(noise("missing", 5))])
    assert (nowhere["status"], nowhere["code"]) == (400, "bad_request")
    assert clash["error"] == clash["title"]
    assert (await ann.download(second["file_id"])).get_body() == ONE + TWO
    again = json(await send(ann, body(files[:1], ONE)))["results"]
    assert again == [{**first, "status": 200, "unchanged": True}]


async def test_the_whole_body_may_be_compressed(ann: User) -> None:
    text = prose("text", 50_000)
    raw = zstandard.compress(body([commit("/text", text)], text))
    assert len(raw) < 2_000
    [result] = json(await send(ann, raw, content_encoding="zstd"))["results"]
    assert (await ann.download(result["file_id"])).get_body() == text


async def test_the_same_key_gives_the_same_answer(ann: User) -> None:
    raw = body([commit("/a", ONE)], ONE)
    first = await send(ann, raw, idempotency_key="once")
    assert json(await send(ann, raw, idempotency_key="once")) == json(first)
    other = await send(ann, body([commit("/b", ONE)], ONE), idempotency_key="once")
    assert refusal(other) == (422, "idempotency_key_reused")


LINE = b'{"files":[],"sizes":[]}\n'


@pytest.mark.parametrize(
    ("raw", "headers", "expected"),
    [
        (LINE, {"content_type": "application/json"}, (415, "unsupported_media_type")),
        (LINE, {"content_encoding": "gzip"}, (415, "unsupported_media_type")),
        (LINE, {"content_encoding": "zstd"}, (400, "bad_request")),
        (b"", {}, (400, "bad_request")),
        (LINE.rstrip(), {}, (400, "bad_request")),
        (b"{}\n", {}, (400, "bad_request")),
        (b'{"files":[{"blocks":0}]}\n', {}, (400, "bad_request")),
        (b"[" * 10_000 + b"\n", {}, (400, "bad_request")),
        (b"\xff\n", {}, (400, "bad_request")),
        (LINE + b"x", {}, (400, "bad_request")),
        (b'{"files":[],"sizes":[2]}\nx', {}, (400, "bad_request")),
        (b'{"files":[],"sizes":[0]}\n', {}, (400, "bad_request")),
        (b'{"files":[],"sizes":[-1]}\n', {}, (400, "bad_request")),
        (b'{"files":[],"sizes":[4194305]}\n' + bytes(4194305), {}, (400, "bad_request")),
        (b" " * MAX_LINE + LINE, {}, (400, "bad_request")),
        (b'{"files":[],"sizes":[4194304,4194304,1]}\n' + bytes(MAX_CONTENT + 1), {}, (413, "too_large")),
        (body([commit(f"/{n}") for n in range(1001)]), {}, (413, "too_large")),
        (bytes(MAX_LINE + 2 + MAX_CONTENT), {}, (413, "too_large")),
        (zstandard.compress(bytes(50 * 2**20)), {"content_encoding": "zstd"}, (413, "too_large")),
    ],
)
async def test_hostile_bodies_are_refused_and_store_nothing(
    site: Site, ann: User, raw: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    before = site.rows()
    assert refusal(await send(ann, raw, **headers)) == expected
    assert site.rows() == before


async def test_without_a_token_nothing(site: Site) -> None:
    for function in ("commit_batch", "get_manifests"):
        assert refusal(await site.call(function, LINE, headers={"content-type": MEDIA}))[0] == 401


async def test_many_manifests_with_each_address_once(site: Site, ann: User) -> None:
    results = json(await send(ann, body([commit("/a", ONE), commit("/b", TWO, ONE)], ONE, TWO)))["results"]
    empty = await ann.upload("/empty", b"")
    asked = [{key: one[key] for key in ("file_id", "version_id")} for one in (*results, empty)]
    unknown = {"file_id": asked[0]["file_id"], "version_id": "0" * 32}
    answer = json(await ann.call("get_manifests", {"files": [*asked, unknown]}))
    a, b, nothing, missing = answer["manifests"]
    assert len(answer["urls"]) == 1
    assert [block["at"] for block in a["blocks"] + b["blocks"]] == [0, 0, 0]
    assert (a["status"], a["size"], a["root_hash"]) == (200, 1000, root_hash([ref_of(ONE)]))
    assert [(block["sha256"], block["size"], block["offset"]) for block in b["blocks"]] == [
        (hash_of(TWO), 2000, 1000),
        (hash_of(ONE), 1000, 0),
    ]
    assert not any("blake3" in block for block in b["blocks"]), "for so little it would be most of the answer"
    assert (nothing["status"], nothing["blocks"]) == (200, [])
    assert (missing["status"], missing["code"]) == (404, "file_not_found")


async def test_a_version_of_another_file_is_not_found(ann: User) -> None:
    one, two = await ann.upload("/a", ONE), await ann.upload("/b", TWO)
    asked = [{"file_id": one["file_id"], "version_id": two["version_id"]}]
    [found] = json(await ann.call("get_manifests", {"files": asked}))["manifests"]
    assert found["status"] == 404


async def test_tenant_isolation_anothers_manifests_are_answered_like_random_ones(
    ann: User, bob: User
) -> None:
    made = await ann.upload("/a", ONE)
    asked = [
        {"file_id": made["file_id"], "version_id": made["version_id"]},
        {"file_id": "1" * 32, "version_id": "2" * 32},
    ]
    anothers, random = json(await bob.call("get_manifests", {"files": asked}))["manifests"]
    assert anothers == random


async def test_a_purged_version_is_not_found(site: Site, ann: User) -> None:
    made = await ann.upload("/a", ONE)
    with site.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM version_blocks")
    asked = [{"file_id": made["file_id"], "version_id": made["version_id"]}]
    [found] = json(await ann.call("get_manifests", {"files": asked}))["manifests"]
    assert found["status"] == 404, "and not an empty file"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, (400, "bad_request")),
        ({"files": [{"file_id": "x", "version_id": "y"}]}, (400, "bad_request")),
        ({"files": [{"file_id": "1" * 32, "version_id": "2" * 32}] * 1001}, (413, "too_large")),
    ],
)
async def test_bad_questions_for_manifests(
    ann: User, document: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(await ann.call("get_manifests", document)) == expected


async def test_a_manifest_that_is_too_long_for_company_is_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch, ann: User
) -> None:
    monkeypatch.setattr("shared.usecases.get_manifests.MOST_BLOCKS", 2)
    results = json(await send(ann, body([commit("/a", ONE, TWO), commit("/b", ONE)], ONE, TWO)))["results"]
    asked = [{key: one[key] for key in ("file_id", "version_id")} for one in results]
    first, second = json(await ann.call("get_manifests", {"files": asked}))["manifests"]
    assert (first["status"], second["status"]) == (200, 413)


async def test_a_version_that_is_asked_for_many_times_takes_room_each_time(
    monkeypatch: pytest.MonkeyPatch, ann: User
) -> None:
    monkeypatch.setattr("shared.usecases.get_manifests.MOST_BLOCKS", 5)
    [made] = json(await send(ann, body([commit("/a", ONE, TWO)], ONE, TWO)))["results"]
    asked = {key: made[key] for key in ("file_id", "version_id")}
    twice = json(await ann.call("get_manifests", {"files": [asked] * 2}))["manifests"]
    thrice = json(await ann.call("get_manifests", {"files": [asked] * 3}))["manifests"]
    assert [each["status"] for each in (*twice, *thrice)] == [200, 200, 413, 413, 413]
