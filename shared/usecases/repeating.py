"""Writes that may be sent twice: what makes two requests the same one.

A client that loses an answer can't know whether its request was carried out. It sends the request again with
the same Idempotency-Key, and gets the first answer; the same key with another request is a mistake, and is refused.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

from shared.domain.errors import Malformed
from shared.domain.ids import UserId
from shared.ports.tables_namespaces import Repeatable

MAX_KEY = 255


def parse_key(raw: str | None) -> str | None:
    """The key to use; raises Malformed unless it is 1 to 255 visible ASCII characters."""
    if raw is not None and not (
        0 < len(raw) <= MAX_KEY and all("!" <= character <= "~" for character in raw)
    ):
        raise Malformed(f"Idempotency-Key must have 1 to {MAX_KEY} visible ASCII characters")
    return raw


def describe_request(
    user: UserId, key: str, route: str, asked: Sequence[object], *, expires_at: datetime
) -> Repeatable:
    """The request that `asked` (JSON values) stands for."""
    body = json.dumps(asked, separators=(",", ":")).encode()
    return Repeatable(user, key, route, hashlib.sha256(body).hexdigest(), expires_at)
