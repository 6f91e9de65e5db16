"""Tokens: signed ones by PyJWT, secret ones and seals by HMAC.

Access tokens are RS256 JSON Web Tokens: API Management can check them with the public key
alone, and no other algorithm is ever accepted, whatever a token's header says. A refresh token is an HMAC of its family
and generation, so the successor of a token can be given out again when the first answer was lost,
without a secret in the database.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from shared.domain.accounts import Caller
from shared.domain.errors import InvalidToken, Malformed, StrataError
from shared.domain.ids import DeviceId, FamilyId, UserId, parse_id

ALGORITHM = "RS256"
AUDIENCE = "strata"
_LEEWAY = timedelta(seconds=30)


class JwtTokens:
    """Implements the Tokens port.

    `signing_key` is a PEM private RSA key, `previous_keys` PEM public keys that are still accepted while tokens
    that they signed live. `issuer` is the public address of the application.
    """

    def __init__(
        self, *, signing_key: str, previous_keys: Sequence[str] = (), issuer: str, secret: bytes
    ) -> None:
        private = serialization.load_pem_private_key(signing_key.encode(), password=None)
        if not isinstance(private, RSAPrivateKey) or private.key_size < 2048:
            raise ValueError("the signing key must be an RSA key of at least 2048 bits")
        self._private, self._issuer, self._secret = private, issuer, secret
        # A client sends the same token many times, and its signature never changes. Whether it still counts is asked
        # each time: the end below, the rest of the database.
        self._signed = lru_cache(maxsize=1024)(self._verified)
        self._jwks: dict[str, dict[str, Any]] = {}
        self._public: dict[str, RSAPublicKey] = {}
        self._kid = self._accept(private.public_key())
        for pem in previous_keys:
            public = serialization.load_pem_public_key(pem.encode())
            if not isinstance(public, RSAPublicKey):
                raise ValueError("previous keys must be RSA public keys")
            self._accept(public)

    def issue_access(self, caller: Caller, *, now: datetime, expires_at: datetime) -> str:
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": caller.user_id,
            "did": caller.device_id,
            "epoch": caller.epoch,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self._kid})

    def verify_access(self, token: str, *, now: datetime) -> Caller:
        claims = self._signed(token)
        _check_times(claims, now)
        return _caller(claims)

    def _verified(self, token: str) -> Mapping[str, Any]:
        """What a token of ours says, whatever the time; raises InvalidToken."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._public.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise InvalidToken("the token was not issued here; please log in")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                # The times are checked below, against the clock that the caller was given.
                options={
                    "require": ["exp", "iat", "sub", "aud", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, UnicodeError) as error:
            raise InvalidToken("the token is not valid; please log in again") from error
        return claims

    def refresh_token(self, family: FamilyId, generation: int) -> str:
        return _text(_mac(self._secret, "refresh", f"{family}:{generation}".encode()))

    def refresh_hash(self, token: str) -> str:
        return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()

    def public_keys(self) -> Mapping[str, Any]:
        return {"keys": list(self._jwks.values())}

    def _accept(self, public: RSAPublicKey) -> str:
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
        # The thumbprint of RFC 7638: the required members, in alphabetic order, without white space.
        required = json.dumps({name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
        kid = _text(hashlib.sha256(required.encode()).digest())
        self._public[kid] = public
        self._jwks[kid] = {
            "kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": jwk["n"], "e": jwk["e"]
        }  # fmt: skip
        return kid


class HmacSeals:
    """Implements the Seals port; a seal ends with the first 16 bytes of an HMAC-SHA-256."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, purpose: str, content: bytes) -> str:
        return _text(content + _mac(self._secret, f"seal:{purpose}", content)[:16])

    def unseal(self, purpose: str, text: str) -> bytes:
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise Malformed(f"the {purpose} was not issued here") from error
        # The last letter has bits to spare: without this, one seal could be written in several ways.
        if _text(sealed) != text:
            raise Malformed(f"the {purpose} was not issued here")
        content, mark = sealed[:-16], sealed[-16:]
        if not hmac.compare_digest(mark, _mac(self._secret, f"seal:{purpose}", content)[:16]):
            raise Malformed(f"the {purpose} was not issued here")
        return content


def _mac(secret: bytes, purpose: str, content: bytes) -> bytes:
    # A key for each purpose, so that what one part makes is worth nothing to another.
    key = hmac.digest(secret, purpose.encode(), "sha256")
    return hmac.digest(key, content, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    issued, expires, begins = claims["iat"], claims["exp"], claims.get("nbf", 0)
    if any(type(moment) is not int for moment in (issued, expires, begins)):
        raise InvalidToken("the token's times are not whole seconds")
    stamp = now.timestamp()
    if expires <= stamp:
        raise InvalidToken("the token has expired; refresh it, or log in again")
    if max(issued, begins) > stamp + _LEEWAY.total_seconds():
        raise InvalidToken("the token is not valid yet")


def _caller(claims: Mapping[str, Any]) -> Caller:
    epoch = claims.get("epoch")
    if type(epoch) is not int:
        raise InvalidToken("the token lacks its epoch")
    return Caller(UserId(_id(claims, "sub")), DeviceId(_id(claims, "did")), epoch)


def _id(claims: Mapping[str, Any], name: str) -> str:
    try:
        return parse_id(str(claims.get(name)), name)
    except StrataError as error:
        raise InvalidToken(f"the token lacks its {name}") from error
