"""Attacks by commits, names and downloads: blocks one never had, twins, deceptions, and the edge of the quota."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.hostile.raw import QUOTA, Target
from tests.support.samples import noise
from tests.support.system import Api

MIB = 2**20
HASH = "0" * 64
ID = "0" * 32


def commit(api: Api, **changed: object) -> httpx.Response:
    return api.client.post("/api/files/commit", json={"path": "/c", "blocks": [], **changed}, timeout=60)


NAMES: list[tuple[str, str, int]] = [
    *(
        (f"{name!r}", f"/{name}", 422)
        for name in (".", "..", "a\\b", "a/../b", "a//b", "nul\x00", "line\r\n", "\x7f", "\u2028")
    ),
    *(
        (f"{name!r}", f"/{name}", 422)
        for name in ("CON", "nul.txt", "COM1", "lpt9.a.b", "COM¹", "CONIN$", "conout$.x")
    ),
    *(
        (f"{name!r}", f"/{name}", 422)
        for name in ("a:b", "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b", "dot.", "blank ")
    ),
    *((f"U+{code:04X}", f"/a{chr(code)}b", 422) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *((f"U+{code:04X}", f"/a{chr(code)}b", 422) for code in (0xFFFE, 0xFFFF, 0xFDD0, 0x1FFFF, 0x10FFFF)),
    ("256 bytes", "/" + "x" * 256, 422),
    ("258 bytes", "/" + "ß" * 129, 422),
    ("65 levels", "/a" * 65, 422),
    ("4097 characters", "/" + "a/" * 2048 + "a", 400),
    ("the root", "/", 422),
]


@pytest.mark.parametrize(("path", "status"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_names(target: Target, ann: Api, path: str, status: int) -> None:
    with target.nothing_stored():
        assert commit(ann, path=path).status_code == status
        if status == 422 and path.isprintable():
            uploaded = ann.client.post("/api/files/upload", params={"path": path}, content=noise(path, 5000))
            assert uploaded.status_code == status
            assert ann.client.get("/api/files/list", params={"path": path}).status_code in (200, 422)


@pytest.mark.parametrize(
    ("first", "twin"),
    [
        ("case.txt", "CASE.txt"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "CAFE\u0301"),
        ("kelvin", "\u212aelvin"),
        ("\u0130stanbul", "i\u0307stanbul"),
        ("\ufb01le", "file"),
        ("\u03c3igma\u03c2", "\u03a3IGMA\u03a3"),
    ],
)
def test_twins(target: Target, ann: Api, first: str, twin: str) -> None:
    ann.upload(f"/twins/{first}", b"first")
    with target.nothing_stored():
        answer = commit(ann, path=f"/twins/{twin}")
        assert (answer.status_code, answer.json()["code"]) == (409, "name_exists")
        assert commit(ann, path=f"/twins/{first}/below").status_code == 409, "a file has nothing below it"


@pytest.mark.parametrize("size", [0, -1, 4 * MIB + 1, 2**63, 2**64, 1.5, "5", None, True, [1]])
def test_sizes(target: Target, ann: Api, size: object) -> None:
    with target.nothing_stored():
        assert commit(ann, blocks=[{"sha256": HASH, "size": size}]).status_code == 400


def test_manifests_that_are_too_much(target: Target, ann: Api) -> None:
    with target.nothing_stored():
        for count, size in ((100_001, 1), (25_601, 4 * MIB)):
            answer = commit(ann, blocks=[{"sha256": HASH, "size": size}] * count)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        million = (
            b'{"path":"/m","blocks":[' + b'{"sha256":"%b","size":1},' % HASH.encode() * 1_000_000 + b"]}"
        )
        assert ann.client.post("/api/files/commit", content=million).status_code == 413


def test_what_a_hash_is_not_worth(target: Target, ann: Api, eve: Api) -> None:
    """Knowing the hash of another's bytes gives neither the bytes nor word of them (the Dropship attack)."""
    secret = noise("ann's secret", 3000)
    ann.upload("/secret", secret)
    theirs = {"sha256": hashlib.sha256(secret).hexdigest(), "size": len(secret)}
    nobodys = {"sha256": hashlib.sha256(b"nobody's").hexdigest(), "size": len(secret)}
    with target.nothing_stored():
        for block in (theirs, nobodys):
            answer = commit(eve, blocks=[block])
            assert (answer.status_code, answer.json()["missing"]) == (409, [block["sha256"]])
            checked = eve.client.post("/api/blocks/check", json={"hashes": [block["sha256"]]})
            assert checked.json() == {"missing": [block["sha256"]]}


def test_sizes_that_the_block_has_not(target: Target, ann: Api) -> None:
    block = noise("sized", 500)
    sha256 = ann.client.post("/api/upload", content=block).json()["block_id"]
    with target.nothing_stored():
        assert commit(ann, blocks=[{"sha256": sha256, "size": 499}]).status_code == 422
        two = [{"sha256": sha256, "size": 500}, {"sha256": sha256, "size": 499}]
        assert commit(ann, blocks=two).status_code == 422
        # One bad block of two: nothing of the commit is done.
        one = [{"sha256": sha256, "size": 500}, {"sha256": HASH, "size": 500}]
        assert commit(ann, path="/half/done", blocks=one).status_code == 409


def test_bases(target: Target, ann: Api, eve: Api) -> None:
    mine, other = ann.upload("/based", b"one"), ann.upload("/other-base", b"two")
    theirs = eve.upload("/their-base", b"three")
    with target.nothing_stored():
        stale = commit(ann, path="/based")
        assert (stale.status_code, stale.json()["head"]["version_id"]) == (409, mine["version_id"])
        for base in (other["version_id"], theirs["version_id"], "f" * 32):
            assert commit(ann, path="/based", base_version=base).status_code == 404
        for base in ("", "latest", mine["version_id"].upper(), 7):
            assert commit(ann, path="/based", base_version=base).status_code == 400


def test_keys(target: Target, ann: Api) -> None:
    key = {"Idempotency-Key": "hostile"}
    body = {"path": "/keyed", "blocks": []}
    assert ann.client.post("/api/files/commit", json=body, headers=key).status_code == 201
    with target.nothing_stored():
        assert ann.client.post("/api/files/commit", json=body, headers=key).status_code == 201
        other = ann.client.post("/api/files/commit", json={**body, "path": "/other"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        for bad in ("x" * 300, "a b", ""):
            answer = ann.client.post("/api/files/commit", json=body, headers={"Idempotency-Key": bad})
            assert answer.status_code == 400


def test_a_block_ten_thousand_times_is_charged_ten_thousand_times(target: Target, ann: Api) -> None:
    block = noise("repeated", 100_000)
    sha256 = ann.client.post("/api/upload", content=block).json()["block_id"]
    with target.nothing_stored():
        answer = commit(ann, path="/vast", blocks=[{"sha256": sha256, "size": len(block)}] * 10_000)
        assert (answer.status_code, answer.json()["code"]) == (507, "quota_exceeded")


def test_eight_commits_at_the_edge_of_the_quota(target: Target) -> None:
    with Api.sign_up(target.url, "edge") as api:
        sha256 = api.client.post("/api/upload", content=noise("edge", 4 * MIB)).json()["block_id"]
        blocks = [{"sha256": sha256, "size": 4 * MIB}] * 5
        fit = QUOTA // (20 * MIB)
        with httpx.Client(base_url=target.url, headers=api.client.headers, timeout=60) as client:

            def send(number: int) -> int:
                body = {"path": f"/edge/{number}", "blocks": blocks}
                return client.post("/api/files/commit", json=body).status_code

            with ThreadPoolExecutor(8) as crowd:
                answers = sorted(crowd.map(send, range(8)))
        assert answers == [201] * fit + [507] * (8 - fit)
        used = target.query("SELECT used FROM namespaces WHERE owner_id = ?", api.user_id)
        assert used == [(fit * 20 * MIB,)]
        assert len(api.client.get("/api/files/list").json()["files"]) == fit
        too_much = api.client.post(
            "/api/files/upload", params={"path": "/more"}, content=noise("more", 9 * MIB)
        )
        assert too_much.status_code == 507
        # What did not fit takes up no room: what fits still does.
        api.upload("/little", noise("little", MIB))


@pytest.mark.parametrize(
    "name",
    ["page.html", "image.svg", "feed.xml", "script.js", "paper.pdf", "gzip.html.gz", "ﬁ'\u05e9;%41.html"],
)
def test_active_content_is_inert(ann: Api, name: str) -> None:
    content = b"\xff\xd8<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg onload=alert(1)>&a;</svg>%PDF-1.4"
    done = ann.client.post(
        "/api/files/upload",
        params={"path": f"/inert/{name}"},
        content=content,
        headers={"Content-Type": "text/html"},
    ).json()
    for address in (f"/api/files/download/{done['file_id']}?filename=..%2F%0d%0aevil.html", done["file_url"]):
        got = ann.client.get(address)
        assert got.content == content
        assert got.headers["content-type"] == "application/octet-stream"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]
        assert got.headers["content-disposition"].startswith("attachment;")
        assert "evil" not in got.headers["content-disposition"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 400),
        ("limit=-1", 400),
        ("limit=abc", 400),
        ("limit=1e9", 400),
        ("limit=1000000000", 200),
        ("cursor=x", 400),
        ("cursor=" + "A" * 4000, 400),
        ("folder=/nothing", 404),
        ("folder=/&path=/", 400),
        ("namespace=x", 400),
        (f"namespace={ID}", 404),
        ("path=%ed%a0%80", 200),
        ("path=%00", 422),
    ],
)
def test_lists(target: Target, ann: Api, query: str, status: int) -> None:
    with target.nothing_stored():
        assert ann.client.get(f"/api/files/list?{query}").status_code == status


def test_deleting_twice_ends_alike(target: Target, ann: Api) -> None:
    file = ann.upload("/twice", b"gone")["file_id"]
    with ThreadPoolExecutor(8) as crowd:
        answers = sorted(
            crowd.map(lambda _: ann.client.delete(f"/api/files/delete/{file}").status_code, range(8))
        )
    assert answers == [200] + [404] * 7
    with target.nothing_stored():
        assert ann.client.delete(f"/api/files/delete/{file}").status_code == 404
        assert commit(ann, path=None, file_id=file).status_code == 404
