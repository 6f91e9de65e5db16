"""Bytes out: validators, ranges, HEAD, grants, redirects, and headers that keep content from being run."""

import pytest

from tests.functions.serving import INLINE, Site, User, json, refusal

CONTENT = b"0123456789"
INERT = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
async def file(ann: User) -> str:
    return str((await ann.upload("/a/b.txt", CONTENT))["file_id"])


async def test_the_whole(ann: User, file: str) -> None:
    whole = await ann.download(file)
    assert (whole.status_code, whole.get_body()) == (200, CONTENT)
    assert whole.mimetype == "application/octet-stream"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["last-modified"] == "Sat, 31 Jan 2026 12:00:00 GMT"
    assert whole.headers["cache-control"] == "private, no-cache"
    assert {name: whole.headers[name] for name in INERT} == INERT
    head = await ann.download(file, method="HEAD")
    assert (head.status_code, head.get_body(), head.headers["content-length"]) == (200, b"", "10")
    same = ("etag", "last-modified", "content-disposition")
    assert [head.headers[name] for name in same] == [whole.headers[name] for name in same]


@pytest.mark.parametrize(
    ("range", "status", "content", "stated"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=3-99", 206, CONTENT[3:], "bytes 3-9/10"),
        ("bytes=0-1,3-4", 200, CONTENT, None),
        ("bytes=4-2", 200, CONTENT, None),
        ("nonsense", 200, CONTENT, None),
    ],
)
async def test_ranges(
    ann: User, file: str, range: str, status: int, content: bytes, stated: str | None
) -> None:
    part = await ann.download(file, range=range)
    assert (part.status_code, part.get_body(), part.headers.get("content-range")) == (status, content, stated)
    assert {name: part.headers[name] for name in INERT} == INERT


async def test_ranges_that_are_not_there(ann: User, file: str) -> None:
    refused = await ann.download(file, range="bytes=10-")
    assert refusal(refused) == (416, "range_not_satisfiable")
    assert (refused.headers["content-range"], json(refused)["size"]) == ("bytes */10", 10)
    empty = (await ann.upload("/empty", b""))["file_id"]
    assert (await ann.download(empty)).get_body() == b""
    assert (await ann.download(empty, range="bytes=-5")).status_code == 200
    assert refusal(await ann.download(empty, range="bytes=0-"))[0] == 416


async def test_head_knows_no_ranges(ann: User, file: str) -> None:
    for range in ("bytes=2-3", "bytes=99-"):
        head = await ann.download(file, method="HEAD", range=range)
        assert (head.status_code, head.headers["content-length"]) == (200, "10")
        assert "content-range" not in head.headers


async def test_validators(ann: User, file: str) -> None:
    tag = (await ann.download(file)).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*", f'"a,b",{tag}'):
        fresh = await ann.download(file, if_none_match=known)
        assert (fresh.status_code, fresh.get_body(), fresh.headers["etag"]) == (304, b"", tag), known
    for known in ('"x"', '"*"', '""'):
        assert (await ann.download(file, if_none_match=known)).status_code == 200, known
    for wrong in ("x", "", '"', f"{tag} {tag}"):
        assert refusal(await ann.download(file, if_none_match=wrong)) == (400, "bad_request"), wrong
    assert (await ann.download(file, range="bytes=0-1", if_range=tag)).status_code == 206
    for other in ('"x"', f"W/{tag}", "Sat, 31 Jan 2026 12:00:00 GMT"):
        assert (await ann.download(file, range="bytes=0-1", if_range=other)).status_code == 200, other


@pytest.mark.parametrize("name", ["naïve.html", "a'b;c%41.svg", "x" * 255, "ß" * 127, "\u05e9.pdf"])
async def test_content_is_saved_and_never_shown(ann: User, name: str) -> None:
    done = await ann.upload("/" + name, b"<script>alert(1)</script>", **{"content-type": "text/html"})
    got = await ann.download(done["file_id"])
    assert got.mimetype == "application/octet-stream"
    assert got.headers["content-disposition"].isascii()
    assert got.headers["content-disposition"].startswith('attachment; filename="')
    assert {header: got.headers[header] for header in INERT} == INERT


async def test_the_stored_name_wins(ann: User, file: str) -> None:
    asked = await ann.call(
        "download_file", method="GET", file_id=file, params={"filename": "../\r\nevil.exe", "rscd": "inline"}
    )
    assert asked.headers["content-disposition"] == "attachment; filename=\"b.txt\"; filename*=UTF-8''b.txt"


async def test_above_the_inline_limit_storage_answers(ann: User) -> None:
    file = (await ann.upload("/large", bytes(INLINE + 1)))["file_id"]
    sent = await ann.download(file)
    assert (sent.status_code, sent.get_body(), sent.headers["cache-control"]) == (302, b"", "no-store")
    assert sent.headers["location"].startswith("memory://assembled/")
    assert (await ann.download(file, method="HEAD")).headers["content-length"] == str(INLINE + 1)
    part = await ann.download(file, range=f"bytes=0-{INLINE - 1}")
    assert (part.status_code, len(part.get_body())) == (206, INLINE)


async def test_versions(ann: User, file: str) -> None:
    old = json(await ann.call("get_file", method="GET", file_id=file))["version_id"]
    await ann.upload("/a/b.txt", b"second")
    params = {"version": old}
    got = await ann.call("download_file", method="GET", file_id=file, params=params)
    assert got.get_body() == CONTENT
    other = (await ann.upload("/other", b"other"))["version_id"]
    for function in ("download_file", "get_file", "get_manifest"):
        for version in (other, "f" * 32):
            missing = await ann.call(function, method="GET", file_id=file, params={"version": version})
            assert refusal(missing) == (404, "file_not_found")
        for version in ("latest", "F" * 32, old + "0"):
            bad = await ann.call(function, method="GET", file_id=file, params={"version": version})
            assert refusal(bad) == (400, "bad_request")
        for bad_id in ("x", "F" * 32, "..", file + "0"):
            assert refusal(await ann.call(function, method="GET", file_id=bad_id)) == (400, "bad_request")


async def test_grants(site: Site, ann: User, bob: User, file: str) -> None:
    done = await ann.upload("/a/b.txt", b"granted")
    grant = done["file_url"].partition("?grant=")[2]

    async def opened(file_id: str = file, **params: str) -> tuple[int, bytes]:
        got = await site.call("download_file", method="GET", file_id=file_id, params=params)
        return got.status_code, got.get_body()

    assert await opened(grant=grant) == (200, b"granted")
    # One letter changed anywhere, the last one included, whose spare bits would else be nobody's.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = [grant[:-1] + letter for letter in letters if letter != grant[-1]]
    first = [letter + grant[1:] for letter in letters if letter != grant[0]]
    for forged in (
        *last,
        *first,
        grant + "=",
        grant[:-1],
        grant + "A",
        "é",
        "a b",
        " " + grant,
        "." * 60_000,
    ):
        assert (await opened(grant=forged))[0] == 401, forged[:100]
    other = await ann.upload("/other", b"other")
    assert (await opened(other["file_id"], grant=grant))[0] == 404
    assert (await opened(grant=grant, version=other["version_id"]))[0] == 404
    # A token that is there counts, so that a page can't lend its reader's link to somebody else's name.
    stranger = await bob.call("download_file", method="GET", file_id=file, params={"grant": grant})
    assert refusal(stranger) == (404, "file_not_found")
    await ann.call("logout")
    assert (await opened(grant=grant))[0] == 401
