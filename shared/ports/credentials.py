"""Passwords and tokens: obligations that keep an account its owner's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from shared.domain.accounts import Caller
from shared.domain.ids import FamilyId


class Passwords(Protocol):
    """Both calls cost the same work whatever they are given, and at most a bounded number run at once.

    Raises Busy when too many are waiting.
    """

    async def hash(self, password: str) -> str:
        """An encoded hash with its salt and parameters, at most 255 characters."""
        ...

    async def matches(self, password: str, encoded: str | None) -> bool:
        """Whether `password` made `encoded`; None stands for an unknown user, is always False, costs the same."""
        ...


class Tokens(Protocol):
    """Access tokens are signed, refresh tokens are secrets; neither is ever stored as it is."""

    def issue_access(self, caller: Caller, *, now: datetime, expires_at: datetime) -> str: ...

    def verify_access(self, token: str, *, now: datetime) -> Caller:
        """Raises InvalidToken for everything but an unexpired access token that a current key signed."""
        ...

    def refresh_token(self, family: FamilyId, generation: int) -> str:
        """The secret of one generation: always the same for the same arguments, so it need not be stored."""
        ...

    def refresh_hash(self, token: str) -> str:
        """What a refresh token is found by: 64 hexadecimal digits that don't reveal it."""
        ...

    def public_keys(self) -> Mapping[str, Any]:
        """The JSON Web Key Set of all keys whose signatures are accepted (RFC 7517)."""
        ...


class Seals(Protocol):
    """Marks on what clients carry for us, page cursors and grants, so that a changed one is refused."""

    def seal(self, purpose: str, content: bytes) -> str:
        """`content` as URL-safe text that only this application can have made for `purpose`."""
        ...

    def unseal(self, purpose: str, text: str) -> bytes:
        """The content again; raises Malformed for everything that `seal` did not make for `purpose`."""
        ...
