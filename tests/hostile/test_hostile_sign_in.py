"""Attacks on accounts and tokens: names that look like others', passwords, and tokens that were never given out."""

import base64
import hashlib
import hmac
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.hostile.raw import Target
from tests.support.system import PASSWORD, Api

BODIES: list[tuple[str, bytes, str, int]] = [
    ("empty", b"", "application/json", 400),
    ("not JSON", b"username=a&password=b", "application/json", 400),
    ("a form", b"username=a&password=b", "application/x-www-form-urlencoded", 415),
    ("text", b'{"username": "form", "password": "long enough"}', "text/plain", 415),
    ("trailing garbage", b'{"username": "tail", "password": "long enough"}}', "application/json", 400),
    ("UTF-16", '{"username": "wide", "password": "long enough"}'.encode("utf-16"), "application/json", 400),
    ("no UTF-8", b'{"username": "\xff", "password": "long enough"}', "application/json", 400),
    ("a lone surrogate", b'{"username": "a\\ud800", "password": "long enough"}', "application/json", 400),
    ("NaN", b'{"username": NaN, "password": "long enough"}', "application/json", 400),
    ("1e400", b'{"username": 1e400, "password": "long enough"}', "application/json", 400),
    ("2^63", b'{"username": 9223372036854775808, "password": "long enough"}', "application/json", 400),
    ("10,000 levels", b'{"username": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "application/json", 400),
    ("10,000 open levels", b"[" * 10_000, "application/json", 400),
    ("a list", b'["ann", "long enough"]', "application/json", 400),
    ("no password", b'{"username": "nopass"}', "application/json", 400),
    ("17 MB", b'{"username": "' + b"x" * 17_000_000 + b'"}', "application/json", 413),
]


@pytest.mark.parametrize("route", ["register", "login", "token/refresh"])
@pytest.mark.parametrize(
    ("body", "kind", "status"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_bodies(target: Target, route: str, body: bytes, kind: str, status: int) -> None:
    with target.nothing_stored():
        answer = httpx.post(
            f"{target.url}/api/{route}", content=body, headers={"Content-Type": kind}, timeout=30
        )
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("username", "status"),
    [
        ("", 400),
        ("x" * 65, 400),
        ("nul\x00", 400),
        ("line\r\nend", 400),
        ("<script>", 400),
        ("a b", 400),
        ("\u202enna", 400),
        ("\U0001f600", 400),
        ("../ann", 400),
        # Each of these folds to a name that is there.
        ("ANN", 409),
        ("Ann", 409),
        ("ａｎｎ", 409),
        ("\U0001d41a\U0001d427\U0001d427", 409),
        ("aⁿn", 409),
    ],
)
def test_usernames(target: Target, ann: Api, username: str, status: int) -> None:
    with target.nothing_stored():
        body = {"username": username, "password": "long enough"}
        assert httpx.post(f"{target.url}/api/register", json=body).status_code == status


@pytest.mark.parametrize(
    "password", ["ends in blanks   ", "\x00" * 8, "\U0001f600" * 200, "x" * 1024, " " * 8, "e\u0301" * 8]
)
def test_passwords_count_to_the_last_character(target: Target, password: str) -> None:
    name = f"pw-{hashlib.sha256(password.encode()).hexdigest()[:12]}"
    assert (
        httpx.post(f"{target.url}/api/register", json={"username": name, "password": password}).status_code
        == 201
    )
    for tried, status in (
        (password, 200),
        (password[:-1], 401),
        (password + " ", 401),
        (password.strip() + "\n", 401),
    ):
        answer = httpx.post(f"{target.url}/api/login", json={"username": name, "password": tried})
        assert answer.status_code == status


@pytest.mark.parametrize("password", ["", "short", "1234567", "x" * 1025, "\U0001f600" * 300])
def test_passwords_that_are_none(target: Target, password: str) -> None:
    with target.nothing_stored():
        answer = httpx.post(f"{target.url}/api/register", json={"username": "new", "password": password})
        assert (answer.status_code, answer.json()["code"]) == (422, "unacceptable")


def test_nobody_makes_themselves_more_than_a_user(target: Target) -> None:
    asked = {
        "username": "climber",
        "password": PASSWORD,
        "is_admin": True,
        "quota": 2**60,
        "user_id": "0" * 32,
    }
    made = httpx.post(f"{target.url}/api/register", json=asked | {"role": "owner", "token_epoch": 9})
    assert made.status_code == 201
    assert made.json()["user_id"] != "0" * 32
    assert len(target.query("SELECT DISTINCT quota FROM namespaces")) == 1
    assert target.query("SELECT token_epoch FROM users WHERE username = 'climber'") == [(1,)]


def test_unknown_users_and_wrong_passwords_look_alike(target: Target, ann: Api) -> None:
    bodies = set()
    for username, password in (
        ("ann", "wrong password"),
        ("nobody", PASSWORD),
        ("\x00", "x"),
        ("x" * 4000, ""),
    ):
        answer = httpx.post(f"{target.url}/api/login", json={"username": username, "password": password})
        assert answer.status_code == 401
        assert answer.json()["error"] == "Invalid credentials"
        bodies.add(json.dumps({**answer.json(), "request_id": ""}))
    assert len(bodies) == 1


def test_a_crowd_at_the_door(target: Target, ann: Api) -> None:
    def log_in(number: int) -> int:
        body = {"username": "ann" if number % 2 else f"nobody{number}", "password": "wrong password"}
        return httpx.post(f"{target.url}/api/login", json=body, timeout=60).status_code

    before = target.forget_peak()
    with ThreadPoolExecutor(32) as crowd:
        answers = set(crowd.map(log_in, range(96)))
    assert 401 in answers
    assert answers <= {401, 503, 429}
    # Each hash takes 19 MiB: all at once would be 1.8 GiB.
    assert target.memory("VmHWM") < before + 200


# --- access tokens


def encoded(document: object) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def key(target: Target) -> Any:
    pem = target.system.environment["TOKEN_SIGNING_KEY"].replace("\\n", "\n")
    return serialization.load_pem_private_key(pem.encode(), password=None)


@pytest.fixture(scope="module")
def token(ann: Api) -> str:
    return str(ann.client.headers["Authorization"]).removeprefix("Bearer ")


def check_refused(target: Target, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    commit = b'{"path": "/refused", "blocks": []}'
    for method, path, body in (
        ("GET", "files/list", b""),
        ("POST", "files/commit", commit),
        ("POST", "logout", b""),
        ("POST", "upload", b"x"),
    ):
        answer = httpx.request(method, f"{target.url}/api/{path}", headers=bearer, content=body)
        assert answer.status_code == 401, f"{path}: {answer.text}"
        assert answer.headers["www-authenticate"].startswith("Bearer")


NOW = int(time.time())

CLAIMS: list[dict[str, object]] = [
    {"aud": "other"},
    {"aud": ["other"]},
    {"aud": None},
    {"iss": "http://evil.example"},
    {"iss": None},
    {"exp": NOW - 1},
    {"exp": 0},
    {"exp": str(NOW + 900)},
    {"exp": NOW + 900.5},
    {"exp": True},
    {"exp": None},
    {"iat": NOW + 3600},
    {"iat": 253402300799},
    {"iat": "now"},
    {"nbf": NOW + 3600},
    {"nbf": "0"},
    {"sub": "0" * 32},
    {"sub": "ann"},
    {"sub": None},
    {"did": "0" * 32},
    {"did": None},
    {"epoch": 0},
    {"epoch": 99},
    {"epoch": "1"},
    {"epoch": None},
]


def resigned(token: str, key: Any, changed: dict[str, object]) -> str:
    claims = jwt.decode(token, options={"verify_signature": False}) | changed
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(
        claims, key, algorithm="RS256", headers={"kid": jwt.get_unverified_header(token)["kid"]}
    )


def test_the_forger_of_these_tests_can_make_a_good_one(target: Target, key: Any, token: str) -> None:
    good = {"Authorization": f"Bearer {resigned(token, key, {})}"}
    assert httpx.get(f"{target.url}/api/files/list", headers=good).status_code == 200


# By number: what names a test must be the same in each process that runs some of them, and times aren't.
@pytest.mark.parametrize("changed", CLAIMS, ids=range(len(CLAIMS)))
def test_claims_that_are_signed_and_wrong(
    target: Target, key: Any, token: str, changed: dict[str, object]
) -> None:
    with target.nothing_stored():
        check_refused(target, resigned(token, key, changed))


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "HS256", "RS512", "", None, 5])
def test_algorithms(target: Target, key: Any, token: str, algorithm: object) -> None:
    _, payload, signature = token.split(".")
    kid = jwt.get_unverified_header(token)["kid"]
    forged = encoded({"alg": algorithm, "typ": "JWT", "kid": kid}) + "." + payload
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mark = encoded(hmac.digest(public, forged.encode(), "sha256"))
    for end in ("", signature, mark):
        check_refused(target, f"{forged}.{end}")


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "unknown", "", None, 7, ["a"], "x" * 4000])
def test_keys_that_are_not_ours(target: Target, key: Any, token: str, kid: object) -> None:
    _, payload, _ = token.split(".")
    signed = encoded({"alg": "RS256", "kid": kid}) + "." + payload
    mark = encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
    check_refused(target, f"{signed}.{mark}")


def test_a_token_can_t_bring_its_own_key(target: Target, token: str) -> None:
    """Nothing is fetched: the attacker's server would see a connection."""
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(token, options={"verify_signature": False})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/keys"
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(mine.public_key()))
        for more in ({"jku": address}, {"x5u": address}, {"jwk": jwk}, {"kid": address, "jku": address}):
            kid = {"kid": jwt.get_unverified_header(token)["kid"]}
            check_refused(target, jwt.encode(claims, mine, algorithm="RS256", headers=kid | more))
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "." * 8000,
        "x" * 9000,
        encoded(b"[" * 6000) + ".e30.AA",
        "\u00e9.b.c",
    ],
)
def test_what_is_no_token(target: Target, token: str) -> None:
    raw = f"GET /api/files/list HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    reply = target.exchange(raw.encode())
    assert reply is not None and (reply.status, reply.code) in ((401, "invalid_token"), (400, None))


# --- refresh tokens


def test_refreshing_twice_at_once_makes_one_successor(target: Target, ann: Api) -> None:
    login = httpx.post(f"{target.url}/api/login", json={"username": "ann", "password": PASSWORD}).json()

    def refresh(_: int) -> httpx.Response:
        body = {"refresh_token": login["refresh_token"]}
        return httpx.post(f"{target.url}/api/token/refresh", json=body, timeout=60)

    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(refresh, range(8)))
    assert {each.status_code for each in answers} == {200}
    assert len({each.json()["refresh_token"] for each in answers}) == 1
    device = target.query("SELECT COUNT(*) FROM refresh_tokens WHERE device_id = ?", login["device_id"])
    assert device == [(2,)]


def test_what_is_no_refresh_token(target: Target, ann: Api, token: str) -> None:
    login = httpx.post(f"{target.url}/api/login", json={"username": "ann", "password": PASSWORD}).json()
    good = login["refresh_token"]
    with target.nothing_stored():
        for forged in ("", "x", good[:-1], good + "A", good.swapcase(), token, "\x00", "x" * 4096):
            answer = httpx.post(f"{target.url}/api/token/refresh", json={"refresh_token": forged})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
        as_access = httpx.get(f"{target.url}/api/files/list", headers={"Authorization": f"Bearer {good}"})
        assert as_access.status_code == 401
    ended = httpx.post(
        f"{target.url}/api/logout", headers={"Authorization": f"Bearer {login['access_token']}"}
    )
    assert ended.status_code == 200
    check_refused(target, login["access_token"])
    assert httpx.post(f"{target.url}/api/token/refresh", json={"refresh_token": good}).status_code == 401


def test_a_new_password_ends_every_token(target: Target) -> None:
    body = {"username": "changer", "password": PASSWORD}
    httpx.post(f"{target.url}/api/register", json=body).raise_for_status()
    logins = [httpx.post(f"{target.url}/api/login", json=body).json() for _ in range(2)]
    bearer = {"Authorization": f"Bearer {logins[0]['access_token']}"}
    wrong = httpx.post(
        f"{target.url}/api/password",
        json={"password": "wrong one", "new_password": "new password"},
        headers=bearer,
    )
    assert (wrong.status_code, wrong.json()["error"]) == (401, "Invalid credentials")
    changed = httpx.post(
        f"{target.url}/api/password",
        json={"password": PASSWORD, "new_password": "new password"},
        headers=bearer,
    )
    assert changed.status_code == 200
    for login in logins:
        check_refused(target, login["access_token"])
        old = httpx.post(f"{target.url}/api/token/refresh", json={"refresh_token": login["refresh_token"]})
        assert old.status_code == 401
    assert httpx.post(f"{target.url}/api/login", json=body).status_code == 401
