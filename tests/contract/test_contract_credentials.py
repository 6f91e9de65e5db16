"""What passwords, tokens and seals owe: nothing that was not made here, for this, and now, is ever accepted."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.passwords import Argon2Passwords
from shared.adapters.tokens import AUDIENCE, HmacSeals, JwtTokens
from shared.domain.accounts import Caller
from shared.domain.errors import Busy, InvalidToken, Malformed
from shared.domain.ids import DeviceId, FamilyId, UserId
from tests.support.doubles import START
from tests.support.world import ISSUER, SECRET, private_key, public_key

CALLER = Caller(UserId("a" * 32), DeviceId("b" * 32), 3)
LATER = START + timedelta(minutes=15)
NOW = int(START.timestamp())
FAMILY = FamilyId("c" * 32)


@cache
def our_tokens() -> JwtTokens:
    return JwtTokens(signing_key=private_key(), issuer=ISSUER, secret=SECRET)


@pytest.fixture(scope="module")
def tokens() -> JwtTokens:
    return our_tokens()


def kid(tokens: JwtTokens) -> str:
    return str(tokens.public_keys()["keys"][0]["kid"])


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a token that would be accepted, with changes; None leaves one out."""
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": CALLER.user_id,
        "did": CALLER.device_id,
        "epoch": CALLER.epoch,
        "iat": NOW,
        "exp": NOW + 900,
    }
    return {name: value for name, value in (whole | changed).items() if value is not None}


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: object, header: dict[str, Any], key: str = "current") -> str:
    """A token that is signed with RS256 whatever its header says, and whatever its claims are."""
    private = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(private.sign(text.encode(), private.prepare_key(private_key(key))))}"


def test_an_issued_token_names_its_caller(tokens: JwtTokens) -> None:
    token = tokens.issue_access(CALLER, now=START, expires_at=LATER)
    assert tokens.verify_access(token, now=START) == CALLER
    assert tokens.verify_access(token, now=LATER - timedelta(seconds=1)) == CALLER
    with pytest.raises(InvalidToken, match="expired"):
        tokens.verify_access(token, now=LATER)


def test_what_the_claims_below_change_is_accepted_unchanged(tokens: JwtTokens) -> None:
    header = {"alg": "RS256", "kid": kid(tokens), "typ": "JWT"}
    assert tokens.verify_access(signed(claims(), header), now=START) == CALLER
    assert tokens.verify_access(signed(claims(nbf=NOW), header), now=START) == CALLER


BAD_CLAIMS: dict[str, Any] = {
    "another audience": claims(aud="other"),
    "no audience": claims(aud=None),
    "another issuer": claims(iss="http://evil.example"),
    "no issuer": claims(iss=None),
    "expired": claims(exp=NOW - 1),
    "expires now": claims(exp=NOW),
    "expiry as text": claims(exp=str(NOW + 900)),
    "expiry as a fraction": claims(exp=NOW + 900.5),
    "expiry NaN": claims(exp=float("nan")),
    "expiry infinite": claims(exp=float("inf")),
    "expiry true": claims(exp=True),
    "expiry a list": claims(exp=[NOW + 900]),
    "no expiry": claims(exp=None),
    "issued in the future": claims(iat=NOW + 3600),
    "issued in the year 9999": claims(iat=253_370_764_800, exp=253_370_764_900),
    "issued as text": claims(iat=str(NOW)),
    "no time of issue": claims(iat=None),
    "not before an hour": claims(nbf=NOW + 3600),
    "not before as text": claims(nbf="0"),
    "no user": claims(sub=None),
    "a user that is no id": claims(sub="ann"),
    "a user that is no text": claims(sub=7),
    "no device": claims(did=None),
    "no epoch": claims(epoch=None),
    "epoch as text": claims(epoch="3"),
    "epoch true": claims(epoch=True),
    "a list": [1, 2],
    "no JSON": b"{",
}


@pytest.mark.parametrize("why", BAD_CLAIMS)
def test_claims_that_are_signed_and_wrong(tokens: JwtTokens, why: str) -> None:
    token = signed(BAD_CLAIMS[why], {"alg": "RS256", "kid": kid(tokens)})
    with pytest.raises(InvalidToken):
        tokens.verify_access(token, now=START)


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "no key": {"alg": "RS256"},
    "unknown key": {"alg": "RS256", "kid": "x" * 43},
    "a file": {"alg": "RS256", "kid": "../../../../dev/null"},
    "a statement": {"alg": "RS256", "kid": "' OR 1=1 --"},
    "a number": {"alg": "RS256", "kid": 1},
    "a list": {"alg": "RS256", "kid": ["x"]},
    "no algorithm": {},
    "another algorithm": {"alg": "RS512"},
    "an algorithm of another case": {"alg": "rs256"},
    "an algorithm that is no text": {"alg": ["RS256"]},
    "must be understood": {"alg": "RS256", "crit": ["b64"], "b64": False},
}


@pytest.mark.parametrize("why", BAD_HEADERS)
def test_headers_that_are_signed_and_wrong(tokens: JwtTokens, why: str) -> None:
    header = BAD_HEADERS[why]
    if why in ("no algorithm", "another algorithm", "must be understood") or why.startswith("an algorithm"):
        header = header | {"kid": kid(tokens)}
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), header), now=START)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_unsigned_tokens_are_refused(tokens: JwtTokens, algorithm: str, signature: str) -> None:
    header = {"alg": algorithm, "kid": kid(tokens)}
    with pytest.raises(InvalidToken):
        tokens.verify_access(f"{part(header)}.{part(claims())}.{signature}", now=START)


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_public_key_is_no_secret_to_sign_with(tokens: JwtTokens, end: str) -> None:
    text = f"{part({'alg': 'HS256', 'kid': kid(tokens)})}.{part(claims())}"
    secret = (public_key().rstrip("\n") + end).encode()
    with pytest.raises(InvalidToken):
        tokens.verify_access(f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}", now=START)


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_keys_that_a_token_brings_along_are_not_looked_at(tokens: JwtTokens, name: str) -> None:
    theirs = json.loads(
        jwt.algorithms.RSAAlgorithm.to_jwk(
            jwt.algorithms.RSAAlgorithm("SHA256").prepare_key(public_key("theirs"))  # type: ignore[arg-type]
        )
    )
    brought = {
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1/cert",
        "jwk": theirs,
        "x5c": ["AAAA"],
    }
    header = {"alg": "RS256", "kid": kid(tokens), name: brought[name]}
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(claims(), header, key="theirs"), now=START)
    # And beside a good signature they change nothing.
    assert tokens.verify_access(signed(claims(), header), now=START) == CALLER


@pytest.mark.parametrize(
    "token",
    [
        *(
            "",
            ".",
            "..",
            "a.b.c",
            "a.b",
            "\ud800.a.b",
            "é.é.é",
            "\0",
            "x" * 60_000,
            "e30.e30.",
            "e30.e30.e30",
        ),
        part(b"[" * 5000) + ".e30.x",
        part(b'{"a":' * 1500) + ".e30.x",
        part({"alg": "RS256"}) + "." + part(b"[" * 5000) + ".x",
    ],
)
def test_nonsense_is_refused_in_our_own_words(tokens: JwtTokens, token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify_access(token, now=START)


def test_a_signed_payload_that_is_nested_too_deeply(tokens: JwtTokens) -> None:
    header = {"alg": "RS256", "kid": kid(tokens)}
    with pytest.raises(InvalidToken):
        tokens.verify_access(signed(b'{"a":' * 5000, header), now=START)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_a_token_can_be_changed(place: int, change: int) -> None:
    tokens = our_tokens()
    token = tokens.issue_access(CALLER, now=START, expires_at=LATER)
    # The last character has bits that mean nothing, so it is left alone.
    place %= len(token) - 1
    changed = token[:place] + chr(ord(token[place]) ^ change) + token[place + 1 :]
    with pytest.raises(InvalidToken):
        tokens.verify_access(changed, now=START)


def test_tokens_of_a_previous_key_are_accepted_until_it_is_taken_away() -> None:
    before = JwtTokens(signing_key=private_key("before"), issuer=ISSUER, secret=SECRET)
    token = before.issue_access(CALLER, now=START, expires_at=LATER)
    both = JwtTokens(
        signing_key=private_key(), previous_keys=[public_key("before")], issuer=ISSUER, secret=SECRET
    )
    only = JwtTokens(signing_key=private_key(), issuer=ISSUER, secret=SECRET)
    assert both.verify_access(token, now=START) == CALLER
    assert before.verify_access(token, now=START) == CALLER
    with pytest.raises(InvalidToken):
        only.verify_access(token, now=START)
    with pytest.raises(InvalidToken):
        before.verify_access(both.issue_access(CALLER, now=START, expires_at=LATER), now=START)


def test_another_library_can_check_our_tokens_by_the_published_keys() -> None:
    # PyJWT looks at the machine's clock, so the times are real here.
    now = datetime.now(UTC)
    both = JwtTokens(
        signing_key=private_key(), previous_keys=[public_key("before")], issuer=ISSUER, secret=SECRET
    )
    token = both.issue_access(CALLER, now=now, expires_at=now + timedelta(minutes=5))
    published = jwt.PyJWKSet.from_dict(json.loads(json.dumps(both.public_keys())))
    assert len(published.keys) == 2
    key = published[jwt.get_unverified_header(token)["kid"]]
    read = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
    assert read["sub"] == CALLER.user_id
    assert not {"d", "p", "q", "dp", "dq", "qi"} & {
        name for jwk in both.public_keys()["keys"] for name in jwk
    }


def test_keys_that_are_too_weak_or_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)pem"):
        JwtTokens(signing_key="no key", issuer=ISSUER, secret=SECRET)
    with pytest.raises(ValueError, match="key"):
        JwtTokens(signing_key=public_key(), issuer=ISSUER, secret=SECRET)


def test_refresh_tokens_are_the_same_for_the_same_and_different_for_all_else(tokens: JwtTokens) -> None:
    made = {
        tokens.refresh_token(FAMILY, 1),
        tokens.refresh_token(FAMILY, 2),
        tokens.refresh_token(FamilyId("d" * 32), 1),
        JwtTokens(signing_key=private_key(), issuer=ISSUER, secret=SECRET[::-1]).refresh_token(FAMILY, 1),
    }
    assert len(made) == 4
    assert tokens.refresh_token(FAMILY, 1) in made
    assert all(FAMILY not in token and len(token) == 43 for token in made)


@given(st.text(max_size=50))
def test_any_text_has_a_refresh_hash(token: str) -> None:
    tokens = our_tokens()
    found = tokens.refresh_hash(token + "\ud800")
    assert len(found) == 64
    assert found == tokens.refresh_hash(token + "\ud800") != tokens.refresh_hash(token)


@given(st.binary(max_size=200), st.text(max_size=10))
def test_what_is_sealed_comes_back(content: bytes, purpose: str) -> None:
    seals = HmacSeals(SECRET)
    sealed = seals.seal(purpose, content)
    assert seals.unseal(purpose, sealed) == content
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in sealed)
    for other, kind in ((seals, purpose + "x"), (HmacSeals(SECRET[::-1]), purpose)):
        with pytest.raises(Malformed):
            other.unseal(kind, sealed)


@given(st.binary(max_size=60), st.integers(0, 100), st.characters())
def test_a_changed_seal_gives_the_sealed_content_or_nothing(content: bytes, place: int, put: str) -> None:
    seals = HmacSeals(SECRET)
    sealed = seals.seal("page", content)
    place %= len(sealed)
    changed = sealed[:place] + put + sealed[place + 1 :]
    try:
        # Another spelling of the same bits is the same seal.
        assert seals.unseal("page", changed) == content
    except Malformed:
        assert changed != sealed


@pytest.mark.parametrize(
    "text", ["", "=", "a", "AAAA", "é", "\ud800", "A" * 21, "A" * 22, "A" * 100_000, "a b", "====", "%3D"]
)
def test_what_was_never_sealed_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        HmacSeals(SECRET).unseal("page", text)


@pytest.fixture
async def passwords() -> AsyncIterator[Argon2Passwords]:
    passwords = Argon2Passwords(threads=2, waiting=4)
    yield passwords
    await passwords.close()


@pytest.mark.parametrize(
    "password", ["correct horse", " spaces ", "päßwörd", "😀" * 100, "a\0b", "x" * 1024, "\ud800"]
)
async def test_a_password_matches_only_itself(passwords: Argon2Passwords, password: str) -> None:
    encoded = await passwords.hash(password)
    assert len(encoded) <= 255
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches(password, encoded)
    for other in (password + " ", password[:-1], password.upper() + "x", ""):
        assert not await passwords.matches(other, encoded)


async def test_the_same_password_is_never_hashed_to_the_same(passwords: Argon2Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_nobody_s_password_never_matches(passwords: Argon2Passwords) -> None:
    for password in ("", "the password of nobody", "correct horse"):
        assert not await passwords.matches(password, None)


async def test_an_unknown_user_costs_the_same_work(
    passwords: Argon2Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = await passwords.hash("correct horse")
    await passwords.matches("warm up", None)
    checked: list[str] = []
    hasher = passwords._hasher
    verify: Callable[..., bool] = hasher.verify

    class Counting:
        def verify(self, hashed: str, password: bytes) -> bool:
            checked.append(hashed.rpartition("$")[0].rpartition("$")[0])
            return verify(hashed, password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    await passwords.matches("wrong horse", encoded)
    await passwords.matches("wrong horse", None)
    assert len(checked) == 2
    assert checked[0] == checked[1], "the parameters, and so the cost, differ"


async def test_too_many_at_once_are_told_to_wait_and_the_next_are_served(passwords: Argon2Passwords) -> None:
    asked = await asyncio.gather(
        *(passwords.hash("correct horse") for _ in range(20)), return_exceptions=True
    )
    busy = [each for each in asked if isinstance(each, Busy)]
    assert len(busy) == 20 - 6
    assert all(each.retry_after > 0 for each in busy)
    assert await passwords.matches("correct horse", await passwords.hash("correct horse"))


def test_a_refresh_token_is_found_by_its_digest(tokens: JwtTokens) -> None:
    secret = tokens.refresh_token(FAMILY, 1)
    assert tokens.refresh_hash(secret) == hashlib.sha256(secret.encode()).hexdigest()
