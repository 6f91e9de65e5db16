"""What is read from a request before any use case runs: the token, the body, its type and its size, and numbers."""

import base64

import pytest

from functions._http import COMMIT_JSON
from tests.functions.serving import MAX_UPLOAD, QUOTA, Site, User, json, refusal
from tests.support.samples import noise

HASH = "0" * 64


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "unauthenticated"),
        ("", 401, "unauthenticated"),
        ("Bearer", 401, "unauthenticated"),
        ("Bearer  ", 401, "unauthenticated"),
        ("Basic YTpi", 401, "unauthenticated"),
        ("Bearer a,Bearer b", 400, "bad_request"),
        ("Bearer a.b.c", 401, "invalid_token"),
        ("Bearer é", 401, "invalid_token"),
        ("Bearer " + "x" * 60_000, 401, "invalid_token"),
        # A header that is nested 6,000 deep: what parses JSON must not fall over it.
        (f"Bearer {base64.urlsafe_b64encode(b'[' * 6000).decode()}.e30.AA", 401, "invalid_token"),
        (f"Bearer {base64.urlsafe_b64encode(b'9' * 6000).decode()}.e30.AA", 401, "invalid_token"),
    ],
)
async def test_tokens(site: Site, header: str | None, status: int, code: str) -> None:
    headers = {} if header is None else {"authorization": header}
    assert refusal(await site.call("list_files", method="GET", headers=headers)) == (status, code)


async def test_the_scheme_has_no_case(site: Site, ann: User) -> None:
    token = {"authorization": f"bEARER   {ann.tokens['access_token']}"}
    assert (await site.call("list_files", method="GET", headers=token)).status_code == 200


GOOD = b'{"path": "/new", "blocks": []}'

BODIES: list[tuple[str, bytes, int]] = [
    ("empty", b"", 400),
    ("blanks", b" \r\n", 400),
    ("not JSON", b"path=/new", 400),
    ("an array", b"[]", 400),
    ("null", b"null", 400),
    ("trailing garbage", GOOD + b"x", 400),
    ("a second document", GOOD + GOOD, 400),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD, 400),
    ("UTF-16", GOOD.decode().encode("utf-16"), 400),
    ("bytes that are no UTF-8", b'{"path": "/\xff", "blocks": []}', 400),
    ("a lone surrogate", b'{"path": "/\\ud800", "blocks": []}', 400),
    ("NaN", b'{"path": "/new", "blocks": [], "x": NaN}', 400),
    ("Infinity", b'{"path": "/new", "blocks": [], "x": -Infinity}', 400),
    ("10,000 levels", b'{"path": "/new", "blocks": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    (
        "10,000 levels unasked",
        b'{"path": "/n", "blocks": [], "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        400,
    ),
    ("a member of another type", b'{"path": 5, "blocks": []}', 400),
    ("blocks that are none", b'{"path": "/new", "blocks": {}}', 400),
    ("no blocks", b'{"path": "/new"}', 400),
    ("path and file_id", b'{"path": "/new", "file_id": "' + b"0" * 32 + b'", "blocks": []}', 400),
    ("neither", b'{"blocks": []}', 400),
    ("a long path", b'{"path": "/' + b"x" * 5000 + b'", "blocks": []}', 400),
    ("a bad base", b'{"path": "/new", "base_version": "latest", "blocks": []}', 400),
    ("the root", b'{"path": "/", "blocks": []}', 422),
    ("a refused name", b'{"path": "/nul.txt", "blocks": []}', 422),
]
SIZES = [
    "0",
    "-1",
    "4194305",
    "9223372036854775808",
    "1.5",
    '"5"',
    "1e400",
    "NaN",
    "null",
    "true",
    "[]",
    "-0",
]
TIMES = [
    "yesterday",
    "2026-01-31",
    "2026-01-31T12:00:00",
    "2026-02-30T12:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "99999-01-01T00:00:00Z",
    "",
]
CASES = [
    *BODIES,
    *(
        (
            f"size {size}",
            b'{"path":"/n","blocks":[{"sha256":"%s","size":%s}]}' % (HASH.encode(), size.encode()),
            400,
        )
        for size in SIZES
    ),
    *(
        (f"time {time}", b'{"path":"/n","blocks":[],"modified_at":"%s"}' % time.encode(), 400)
        for time in TIMES
    ),
    *(
        (f"hash {hash[:8]}", b'{"path":"/n","blocks":[{"sha256":"%s","size":1}]}' % hash.encode(), 400)
        for hash in ("", "A" * 64, "0" * 63, "0" * 65, "g" * 64, "../" + "0" * 61, HASH + "\\n")
    ),
]


@pytest.mark.parametrize(("body", "status"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_bodies_of_a_commit(site: Site, ann: User, body: bytes, status: int) -> None:
    before = site.rows()
    response = await ann.call("commit_file", body)
    assert refusal(response)[0] == status, json(response)
    assert site.rows() == before


async def test_unknown_members_are_never_stored(site: Site, ann: User) -> None:
    asked = {
        "username": "eve",
        "password": "long enough",
        "user_id": "0" * 32,
        "quota": 2**60,
        "is_admin": True,
    }
    made = json(await site.call("register", asked))
    assert made["user_id"] != "0" * 32
    with site.engine.connect() as connection:
        quotas = connection.exec_driver_sql("SELECT DISTINCT quota FROM namespaces").scalars().all()
    assert quotas == [QUOTA]
    posted = {"path": "/n", "blocks": [], "seq": 99, "version_id": "0" * 32, "version": 99}
    done = json(await ann.call("commit_file", posted))
    assert (done["seq"], done["version"]) == (1, 1)
    assert done["version_id"] != "0" * 32


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""]
)
async def test_only_json_is_json(ann: User, kind: str) -> None:
    response = await ann.call("commit_file", GOOD, headers={"content-type": kind})
    assert refusal(response) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", " application/json "]
)
async def test_spellings_of_json(ann: User, kind: str) -> None:
    assert (await ann.call("commit_file", GOOD, headers={"content-type": kind})).status_code == 201


async def test_bodies_have_limits_by_what_they_say_and_by_what_they_have(site: Site, ann: User) -> None:
    before = site.rows()
    for function, limit in (
        ("upload_block", 4 * 2**20),
        ("upload_file", MAX_UPLOAD),
        ("commit_file", COMMIT_JSON),
    ):
        stated = await ann.call(function, b"x", headers={"content-length": str(limit + 1)})
        assert refusal(stated) == (413, "too_large")
        assert json(stated)["limit"] == limit
        assert refusal(await ann.call(function, bytes(limit + 1))) == (413, "too_large")
        chunked = await ann.call(function, b"", headers={"transfer-encoding": "chunked"})
        assert refusal(chunked) == (411, "length_required")
    assert site.rows() == before


async def test_lists_have_limits(ann: User) -> None:
    block = {"sha256": HASH, "size": 1}
    for function, body, limit in (
        ("check_blocks", {"hashes": [HASH] * 1001}, 1000),
        ("grant_blocks", {"blocks": [block] * 101}, 100),
        ("commit_file", {"path": "/n", "blocks": [block] * 100_001}, 100_000),
    ):
        response = await ann.call(function, body)
        assert refusal(response) == (413, "too_large")
        assert json(response)["limit"] == limit
    huge = await ann.call("commit_file", {"path": "/n", "blocks": [{"sha256": HASH, "size": 2**22}] * 25_601})
    assert refusal(huge) == (413, "too_large"), "over 100 GiB"
    assert json(await ann.call("check_blocks", {"hashes": [HASH] * 1000}))["missing"] == [HASH]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"content-encoding": "zstd, gzip"}, 415, "unsupported_media_type"),
        ({"content-encoding": "zstd"}, 400, "bad_request"),
        ({"x-content-sha256": ""}, 400, "bad_request"),
        ({"x-content-sha256": "A" * 64}, 400, "bad_request"),
        ({"x-content-sha256": "..%2f" + "0" * 59}, 400, "bad_request"),
        ({"x-content-sha256": HASH}, 422, "hash_mismatch"),
    ],
)
async def test_blocks_that_are_not_what_they_say(
    site: Site, ann: User, headers: dict[str, str], status: int, code: str
) -> None:
    before = site.rows()
    assert refusal(await ann.call("upload_block", b"a block", headers=headers)) == (status, code)
    assert refusal(await ann.call("upload_block", b"")) == (422, "unacceptable")
    assert site.rows() == before


async def test_a_block_of_exactly_four_mebibytes(ann: User, site: Site) -> None:
    with site.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE namespaces SET quota = {2**30}")
    done = await ann.call("upload_block", noise("full", 4 * 2**20))
    assert (done.status_code, json(done)["size"]) == (201, 4 * 2**20)


async def test_labels_of_devices_are_harmless_and_fit(site: Site, ann: User) -> None:
    login = {"username": "ann", "password": "correct horse battery"}
    for label in ("\u202eknird\x00\r\n", "\U0001f600" * 100, " ", ""):
        assert (
            await site.call("login", {**login, "device_name": label, "platform": label[:50]})
        ).status_code == 200
    with site.engine.connect() as connection:
        labels = [tuple(row) for row in connection.exec_driver_sql("SELECT name, platform FROM devices")]
    assert len(labels) == 5
    for name, platform in labels:
        assert name.isprintable() and name
        # What the columns hold is counted in UTF-16 units.
        assert len(name.encode("utf-16-le")) <= 2 * 128
        assert len(platform.encode("utf-16-le")) <= 2 * 64
    for field in ("device_name", "platform"):
        assert refusal(await site.call("login", {**login, field: "x" * 101}))[0] == 400
    assert refusal(await site.call("login", {**login, "device_id": "mine"}))[0] == 400
