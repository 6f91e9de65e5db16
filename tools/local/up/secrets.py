"""The two secrets of a local system, made at its first start and kept.

STRATA_SECRET is 32 random bytes in base64url; TOKEN_SIGNING_KEY is an RSA key of 2048 bits, as PKCS #8 PEM. New ones at
each start would sign everybody out, so they lie in a file that only its owner may read.
"""

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tools.local.host.keys import write_private


class SecretsUnreadable(Exception):
    """The file is there but isn't what this module wrote; it is left alone."""


def load_secrets(path: Path) -> dict[str, str]:
    """Return the secrets by the name of their setting, making those that are missing."""
    stored: dict[str, str] = {}
    if path.exists():
        try:
            stored = dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise SecretsUnreadable(f"{path} holds no secrets ({error}): repair or delete it") from None
    complete = stored | {name: make() for name, make in _MAKERS.items() if name not in stored}
    if complete != stored:
        write_private(path, json.dumps(complete, indent=2))
    return complete


def _random_secret() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


_MAKERS: dict[str, Callable[[], str]] = {"STRATA_SECRET": _random_secret, "TOKEN_SIGNING_KEY": _signing_key}
