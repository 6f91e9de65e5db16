"""Whole files in: where the name comes from, forms, conditions, keys that are sent twice, and what a refusal leaves."""

import random
import re
from collections.abc import Mapping

import pytest

from tests.functions.serving import MAX_UPLOAD, PUBLIC_URL, QUOTA, Site, User, json, refusal
from tests.support.samples import noise

BOUNDARY = "--a-boundary"


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form of parts, each given by its disposition and its bytes."""
    return (
        b"".join(
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
            + content
            + b"\r\n"
            for disposition, content in parts
        )
        + f"--{BOUNDARY}--\r\n".encode()
    )


FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
FILE = ('name="file"; filename="part.txt"', b"content")


@pytest.mark.parametrize(
    ("params", "headers", "body", "path"),
    [
        ({"path": "/q/uery"}, {"x-file-name": "header"}, b"content", "/q/uery"),
        ({}, {"x-file-name": "h%C3%A9ader%20name"}, b"content", "/héader name"),
        (
            {"path": "query"},
            {**FORM, "x-file-name": "header"},
            form(('name="path"', b"field"), FILE),
            "/query",
        ),
        ({}, {**FORM, "x-file-name": "header"}, form(('name="path"', b"/a/field"), FILE), "/a/field"),
        ({}, {**FORM, "x-file-name": "header"}, form(FILE), "/header"),
        ({}, FORM, form(FILE), "/part.txt"),
        ({}, FORM, form(FILE, ('name="path"', b"after")), "/after"),
        ({}, FORM, form(('name="other"', b"x"), FILE, ('name="b"; filename="second"', b"no")), "/part.txt"),
        ({}, FORM, form(('name="f"; filename="C:\\users\\me\\old.txt"', b"content")), "/old.txt"),
        ({}, FORM, form(('name="f"; filename="../../etc/passwd"', b"content")), "/passwd"),
        ({}, FORM, form(('name="f"; filename="näme.txt"', b"content")), "/näme.txt"),
        ({}, FORM, form(FILE) + b"an epilogue, which RFC 2046 allows", "/part.txt"),
        ({"path": "/named"}, {"content-type": "text/html"}, b"content", "/named"),
        ({"path": "/named"}, {"content-type": '";=;;'}, b"content", "/named"),
    ],
)
async def test_where_the_name_comes_from(
    ann: User, params: Mapping[str, str], headers: Mapping[str, str], body: bytes, path: str
) -> None:
    done = await ann.call("upload_file", body, params=params, headers=headers)
    assert done.status_code == 201, done.get_body()
    assert json(done)["path"] == path
    assert (await ann.download(json(done)["file_id"])).get_body() == b"content"


@pytest.mark.parametrize(("headers", "body"), [({}, b"x"), (FORM, form(('name="f"; filename=""', b"x")))])
async def test_a_generated_name_is_new_each_time(ann: User, headers: dict[str, str], body: bytes) -> None:
    paths = {json(await ann.call("upload_file", body, headers=headers))["path"] for _ in range(3)}
    assert len(paths) == 3
    for path in paths:
        assert re.fullmatch(r"/upload-20260131-120000-[0-9a-f]{8}\.bin", path)


CLEAN = form(FILE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        CLEAN[:-6],
        CLEAN[: len(CLEAN) // 2],
        b"preamble" + CLEAN,
        CLEAN.replace(b"\r\n", b"\n"),
        CLEAN.replace(b"Content-Disposition", b"X-Disposition"),
        CLEAN.replace(b"form-data;", b"attachment;"),
        form(('name="path"', b"/only/a/field")),
        form(('name="path"', b"\xff\xfe"), FILE),
        form(*[('name="x"', b"")] * 16, FILE),
        CLEAN.replace(b"part.txt", b"x" * 100_000),
    ],
    ids=range(11),
)
async def test_forms_that_are_none(site: Site, ann: User, body: bytes) -> None:
    before = site.rows()
    response = await ann.call("upload_file", body, headers=FORM)
    assert refusal(response) == (400, "bad_request"), json(response)
    assert site.rows() == before


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=é",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=" + "x" * 10_000,
        "multipart/form-data; boundary*=utf-8''%ff",
        "multipart/form-data; boundary=x\x00",
        "Multipart/Form-Data; boundary=other",
    ],
)
async def test_forms_without_a_usable_boundary(ann: User, kind: str) -> None:
    assert refusal(await ann.call("upload_file", CLEAN, headers={"content-type": kind})) == (
        400,
        "bad_request",
    )


async def test_damaged_forms_are_taken_or_refused_and_nothing_else(ann: User) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(200):
        body = bytearray(form(('name="path"', b"/p"), FILE))
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        assert (await ann.call("upload_file", bytes(body), headers=FORM)).status_code in (201, 400, 409, 422)


@pytest.mark.parametrize(
    ("params", "headers", "status", "code"),
    [
        ({"path": "/"}, {}, 422, "unacceptable"),
        ({"path": "/a//b"}, {}, 422, "name_refused"),
        ({"path": "/a/"}, {}, 422, "name_refused"),
        ({"path": "../up"}, {}, 422, "name_refused"),
        ({"path": "/CON"}, {}, 422, "name_refused"),
        ({"path": "/\u202egpj.exe"}, {}, 422, "name_refused"),
        ({"path": "/" + "x" * 256}, {}, 422, "name_refused"),
        ({}, {"x-file-name": "%ff"}, 400, "bad_request"),
        ({}, {"x-file-name": "a%00b"}, 422, "name_refused"),
        ({}, {"x-file-name": "..%2fup"}, 422, "name_refused"),
        ({"path": "/a"}, {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"path": "/a"}, {"content-encoding": "zstd"}, 415, "unsupported_media_type"),
        ({"path": "/a"}, {"if-match": "abc"}, 400, "bad_request"),
        ({"path": "/a"}, {"if-none-match": ""}, 400, "bad_request"),
        ({"path": "/a"}, {"idempotency-key": ""}, 400, "bad_request"),
        ({"path": "/a"}, {"idempotency-key": "x" * 256}, 400, "bad_request"),
        ({"path": "/a"}, {"idempotency-key": "with space"}, 400, "bad_request"),
        ({"path": "/a"}, {"idempotency-key": "é"}, 400, "bad_request"),
        ({"path": "/a", "namespace": "mine"}, {}, 400, "bad_request"),
        ({"path": "/a", "namespace": "0" * 32}, {}, 404, "not_found"),
    ],
)
async def test_a_refused_upload_stores_nothing(
    site: Site, ann: User, params: dict[str, str], headers: dict[str, str], status: int, code: str
) -> None:
    before = site.rows()
    response = await ann.call("upload_file", noise("refused", 5000), params=params, headers=headers)
    assert refusal(response) == (status, code)
    assert site.rows() == before
    assert site.memory.blobs == {}


async def test_an_upload_over_the_quota_takes_up_no_room(site: Site, ann: User) -> None:
    """Blocks of it that would fit must not be leased: the next upload would find the store full."""
    user = await site.sign_up("small")
    with site.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE namespaces SET quota = 6000000 WHERE owner_id = ?", (user.tokens["user_id"],)
        )
    object.__setattr__(site.app.settings, "max_upload_bytes", 20_000_000)
    before = site.rows()
    response = await user.call("upload_file", noise("too much", 9_000_000), params={"path": "/too-much"})
    assert refusal(response) == (507, "quota_exceeded")
    assert (json(response)["quota"], json(response)["used"]) == (6_000_000, 0)
    assert site.rows() == before
    await user.upload("/fits", noise("fits", 5_900_000))


async def test_conditions(site: Site, ann: User) -> None:
    done = await ann.call("upload_file", b"one", params={"path": "/f"}, headers={"if-none-match": "*"})
    assert done.status_code == 201
    tag = done.headers["etag"]
    for headers in (
        {"if-none-match": "*"},
        {"if-none-match": tag},
        {"if-match": '"other"'},
        {"if-match": f"W/{tag}"},
        {"if-match": '"*"'},
    ):
        refused = await ann.call("upload_file", b"two", params={"path": "/f"}, headers=headers)
        assert refusal(refused) == (412, "precondition_failed"), headers
    missing = await ann.call("upload_file", b"two", params={"path": "/not-there"}, headers={"if-match": "*"})
    assert refusal(missing) == (412, "precondition_failed")
    second = await ann.call(
        "upload_file", b"two", params={"path": "/f"}, headers={"if-match": f'"a,b", {tag}'}
    )
    assert (second.status_code, json(second)["version"]) == (201, 2)
    assert json(second)["file_id"] == json(done)["file_id"]


async def test_a_key_that_is_sent_twice(site: Site, ann: User, bob: User) -> None:
    key = {"idempotency-key": "k" * 255}
    first = await ann.call("upload_file", b"one", params={"path": "/f"}, headers=key)
    before = site.rows("nodes", "versions", "changes", "blocks")
    again = await ann.call("upload_file", b"one", params={"path": "/f"}, headers=key)
    assert again.status_code == first.status_code == 201
    assert json(again) == json(first)
    assert site.rows("nodes", "versions", "changes", "blocks") == before
    for body, path in ((b"two", "/f"), (b"one", "/g")):
        other = await ann.call("upload_file", body, params={"path": path}, headers=key)
        assert refusal(other) == (422, "idempotency_key_reused")
    theirs = await bob.call("upload_file", b"three", params={"path": "/h"}, headers=key)
    assert theirs.status_code == 201, "a key is its user's own"

    commit = {"path": "/c", "blocks": []}
    made = await ann.call("commit_file", commit, headers={"idempotency-key": "commit"})
    replayed = await ann.call("commit_file", commit, headers={"idempotency-key": "commit"})
    assert (replayed.status_code, json(replayed)) == (201, json(made))

    file_id = json(first)["file_id"]
    for _ in range(2):
        gone = await ann.call(
            "delete_file", method="DELETE", file_id=file_id, headers={"idempotency-key": "del"}
        )
        assert (gone.status_code, json(gone)) == (200, {"message": "File deleted successfully"})
    without = await ann.call("delete_file", method="DELETE", file_id=file_id)
    assert refusal(without) == (404, "file_not_found")


async def test_what_an_upload_answers(ann: User) -> None:
    done = await ann.upload("/a/b.txt", b"x" * MAX_UPLOAD)
    assert done["message"] == "File uploaded successfully"
    assert (done["path"], done["version"], done["size_bytes"], done["unchanged"]) == (
        "/a/b.txt",
        1,
        MAX_UPLOAD,
        False,
    )
    assert done["file_url"].startswith(f"{PUBLIC_URL}/api/files/download/{done['file_id']}?grant=")
    again = await ann.upload("/a/b.txt", b"x" * MAX_UPLOAD)
    assert (again["version_id"], again["unchanged"]) == (done["version_id"], True)
    taken = await ann.call("upload_file", b"x", params={"path": "/A/b.txt"})
    assert refusal(taken) == (409, "name_exists")
    assert (json(taken)["entry"], json(taken)["kind"]) == ("a", "folder")
    assert QUOTA > MAX_UPLOAD
