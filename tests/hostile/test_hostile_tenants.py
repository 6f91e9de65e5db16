"""Two tenants: whatever one asks about what is the other's, the answer is the one for what does not exist."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.hostile.raw import Target
from tests.support.samples import noise
from tests.support.system import Api

SECRET = noise("of ann alone", 2000)
UNKNOWN = hashlib.sha256(b"unknown").hexdigest()


@dataclass(frozen=True)
class Belongings:
    """Ids and a hash: somebody's, or nobody's."""

    file: str
    version: str
    namespace: str
    sha256: str


NOBODYS = Belongings("1a" * 16, "2b" * 16, "3c" * 16, UNKNOWN)


@pytest.fixture(scope="module")
def anns(target: Target, ann: Api) -> Belongings:
    done = ann.upload("/tenants/secret.txt", SECRET)
    (found,) = target.query("SELECT ns_id FROM namespaces WHERE owner_id = ?", ann.user_id)
    return Belongings(done["file_id"], done["version_id"], found[0], hashlib.sha256(SECRET).hexdigest())


@pytest.fixture(scope="module")
def eves(eve: Api) -> Iterator[str]:
    yield eve.upload("/own.txt", b"eve's own")["file_id"]


UNDO = '{"device": "{version}", "from": "2026-01-01T00:00:00Z"}'

# Method, address and body; {own} is a file of the one who asks.
ROUTES: list[tuple[str, str, str]] = [
    ("GET", "files/{file}", ""),
    ("GET", "files/{file}?version={version}", ""),
    ("GET", "files/{own}?version={version}", ""),
    ("GET", "files/{file}/manifest", ""),
    ("GET", "files/{file}/manifest?version={version}", ""),
    ("GET", "files/{own}/manifest?version={version}", ""),
    ("GET", "files/download/{file}", ""),
    ("HEAD", "files/download/{file}", ""),
    ("GET", "files/download/{file}?version={version}", ""),
    ("GET", "files/download/{own}?version={version}", ""),
    ("DELETE", "files/delete/{file}", ""),
    ("GET", "files/list?namespace={namespace}", ""),
    ("GET", "files/list?namespace={namespace}&folder=/tenants", ""),
    ("GET", "files/list?namespace={namespace}&path=/tenants/secret.txt", ""),
    ("POST", "upload?namespace={namespace}", "a block"),
    ("POST", "files/upload?namespace={namespace}&path=/tenants/secret.txt", "other bytes"),
    ("POST", "files/commit?namespace={namespace}", '{"path": "/tenants/secret.txt", "blocks": []}'),
    ("POST", "files/commit", '{"file_id": "{file}", "base_version": "{version}", "blocks": []}'),
    ("POST", "files/commit", '{"file_id": "{own}", "base_version": "{version}", "blocks": []}'),
    ("POST", "files/commit", '{"path": "/own.txt", "base_version": "{version}", "blocks": []}'),
    ("POST", "files/commit", '{"path": "/stolen", "blocks": [{"sha256": "{sha256}", "size": 2000}]}'),
    (
        "POST",
        "files/commit?namespace={namespace}",
        '{"path": "/x", "blocks": [{"sha256": "{sha256}", "size": 2000}]}',
    ),
    ("POST", "blocks/check", '{"hashes": ["{sha256}"]}'),
    ("POST", "blocks/check?namespace={namespace}", '{"hashes": ["{sha256}"]}'),
    ("POST", "blocks/grants?namespace={namespace}", '{"blocks": [{"sha256": "{sha256}", "size": 2000}]}'),
    ("PATCH", "files/{file}", '{"path": "/stolen"}'),
    ("PATCH", "folders/{namespace}", '{"path": "/stolen"}'),
    ("POST", "folders?namespace={namespace}", '{"path": "/made"}'),
    ("DELETE", "folders/{namespace}", ""),
    ("GET", "search?namespace={namespace}&q=secret", ""),
    ("GET", "files/{file}/versions", ""),
    ("POST", "files/{file}/restore", '{"version_id": "{version}"}'),
    ("POST", "files/{own}/restore", '{"version_id": "{version}"}'),
    ("GET", "trash?namespace={namespace}", ""),
    ("POST", "trash/{file}/restore", '{"path": "/stolen"}'),
    ("DELETE", "trash/{file}", ""),
    ("POST", "files/manifests?namespace={namespace}", '{"files": []}'),
    ("POST", "undo?namespace={namespace}", UNDO),
]


def asked(
    api: Api, route: tuple[str, str, str], things: Belongings, own: str
) -> tuple[int, dict[str, str], str]:
    """The answer, with the ids that were sent in and the names of the request taken out."""
    method, address, body = route
    names = {**things.__dict__, "own": own}
    for name, value in names.items():
        address, body = address.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}", value)
    answer: httpx.Response = api.client.request(method, f"/api/{address}", content=body.encode())
    text, request = answer.text, answer.headers.get("x-request-id", "")
    for name, value in (*names.items(), ("request", request)):
        text = text.replace(value, name) if value else text
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, text


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]} {route[2][:24]}")
def test_another_s_things_are_like_nobody_s(
    target: Target, eve: Api, anns: Belongings, eves: str, route: tuple[str, str, str]
) -> None:
    with target.nothing_stored():
        theirs, nobodys = (asked(eve, route, things, eves) for things in (anns, NOBODYS))
    assert theirs == nobodys
    assert theirs[0] in (404, 409) or route[1].startswith("blocks/check")


def test_the_owner_is_answered_differently(ann: Api, anns: Belongings) -> None:
    """Without this, the test above could compare mistakes of its own."""
    for route in ROUTES[:9]:
        if "{own}" not in route[1]:
            assert asked(ann, route, anns, anns.file)[0] == 200, route
    assert asked(ann, ROUTES[11], anns, anns.file)[0] == 200
    assert ann.download(anns.file) == SECRET


def test_grants_for_another_s_bytes_say_nothing(eve: Api, anns: Belongings) -> None:
    for sha256 in (anns.sha256, UNKNOWN):
        answer = eve.client.post("/api/blocks/grants", json={"blocks": [{"sha256": sha256, "size": 2000}]})
        (grant,) = answer.json()["grants"]
        assert (grant["sha256"], grant["size"]) == (sha256, 2000)
        assert sha256 not in grant["url"]


def test_the_same_bytes_are_stored_anew_for_each_tenant(target: Target, eve: Api, anns: Belongings) -> None:
    answer = eve.client.post("/api/upload", content=SECRET)
    assert answer.status_code == 201
    rows = target.query("SELECT ns_id, blob_id FROM blocks WHERE sha256 = ?", anns.sha256)
    assert len(rows) == len({blob for _, blob in rows}) == 2


def test_addresses_are_for_one_file_and_one_version(
    target: Target, ann: Api, eve: Api, anns: Belongings, eves: str
) -> None:
    grant = ann.upload("/tenants/lent.txt", b"lent")["file_url"].partition("?grant=")[2]
    for file in (anns.file, eves, UNKNOWN[:32]):
        answer = httpx.get(f"{target.url}/api/files/download/{file}", params={"grant": grant})
        assert answer.status_code == 404, "a grant opens the one file that it was made for"
    mine = ann.client.get("/api/files/list", params={"limit": 1}).json()["next_cursor"]
    assert eve.client.get("/api/files/list", params={"cursor": mine}).status_code == 400


@pytest.mark.parametrize(
    "bad", ["x", "%00", "..%2f..%2f", "A" * 32, "g" * 32, "0" * 31, "0" * 33, "'--", "%F0%9F%98%80"]
)
def test_ids_that_are_none(target: Target, eve: Api, bad: str) -> None:
    with target.nothing_stored():
        for method, address in (
            ("GET", f"files/{bad}"),
            ("GET", f"files/{bad}/manifest"),
            ("GET", f"files/download/{bad}"),
            ("DELETE", f"files/delete/{bad}"),
            ("GET", f"files/list?namespace={bad}"),
        ):
            answer = eve.client.request(method, f"/api/{address}")
            assert answer.status_code in (400, 404, 405), answer.text


def test_open_addresses_tell_nothing_of_tenants(target: Target, anns: Belongings) -> None:
    """Every address that answers without a token, and none of them names anybody or anything of theirs."""
    for address in ("api/health/live", "api/health/ready", "api/version", ".well-known/jwks.json"):
        answer = httpx.get(f"{target.url}/{address}")
        assert answer.status_code == 200
        assert not re.search(r"sqlite|Account|/tmp|ann|PRIVATE", answer.text)
        assert "d" not in json.loads(answer.text).get("keys", [{}])[0], "a private key's member"
