"""User names, passwords and roles: what is accepted, and what two names have in common.

A user name that looks like another's is an attack, so names are compared by a key that folds case and
compatibility forms, and a name whose key is not a fixed point of that folding is refused: folding twice must
never reach somebody else's account.
"""

import enum
import unicodedata
from dataclasses import dataclass

from shared.domain.errors import Malformed, Unacceptable
from shared.domain.ids import DeviceId, UserId

MAX_USERNAME = 64
"""Characters; the specification names no limit, and a key column needs one."""

MIN_PASSWORD, MAX_PASSWORD = 8, 1024
"""Characters and bytes of UTF-8: NIST SP 800-63B asks for at least 8, and to accept at least 64."""

_EXTRA = frozenset("._-@+")


class Role(enum.StrEnum):
    """What a member may do in a namespace; each role may do all that the ones after it may."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"

    @property
    def may_write(self) -> bool:
        return self is not Role.VIEWER

    @property
    def may_purge(self) -> bool:
        return self is Role.OWNER


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified access token speaks for. Whether it still may is read from the database, each time."""

    user_id: UserId
    device_id: DeviceId
    epoch: int


@dataclass(frozen=True, slots=True)
class Username:
    """A user name as given (composed), and the key that it is found by."""

    text: str
    key: str


def parse_username(raw: str) -> Username:
    """Return the user name; raises Malformed for what can't be a name, Unacceptable for what may not be."""
    if not raw or len(raw) > MAX_USERNAME:
        raise Malformed(f"username must have 1 to {MAX_USERNAME} characters")
    text = unicodedata.normalize("NFC", raw)
    for character in text:
        if character not in _EXTRA and unicodedata.category(character)[0] not in "LNM":
            raise Malformed("username may contain letters, digits and . _ - @ + only")
    key = _fold(text)
    if _fold(key) != key or len(key) > 2 * MAX_USERNAME:
        raise Unacceptable("this username can be confused with others; please choose another")
    return Username(text, key)


def check_password(password: str) -> None:
    """Raise Unacceptable for a password that is too short or too long; every character counts as given."""
    if len(password) < MIN_PASSWORD:
        raise Unacceptable(f"password must have at least {MIN_PASSWORD} characters")
    if len(password.encode(errors="surrogatepass")) > MAX_PASSWORD:
        raise Unacceptable(f"password may have at most {MAX_PASSWORD} bytes")


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
