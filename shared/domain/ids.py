"""Kinds of identifiers. Each is a type of its own, so that one can't be passed where another is meant.

Ids that the server makes are 32 lower-case hexadecimal digits (128 random bits). They are never ordered
or paged by, and never reused. A block is known to clients by the SHA-256 of its plain bytes instead.
"""

import re
from typing import NewType

from shared.domain.errors import Malformed

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
NamespaceId = NewType("NamespaceId", str)
NodeId = NewType("NodeId", str)
VersionId = NewType("VersionId", str)
BlobId = NewType("BlobId", str)
BlockKey = NewType("BlockKey", str)
FamilyId = NewType("FamilyId", str)

NO_VERSION = VersionId("0" * 32)
"""The base of a file's first version: a value, not NULL, so that a unique key covers it."""

_ID = re.compile(r"[0-9a-f]{32}")


def parse_id(text: str, what: str) -> str:
    """Return `text` if it has the form of an id, else raise Malformed, naming `what` it should identify."""
    if not _ID.fullmatch(text):
        raise Malformed(f"{what} must be 32 lower-case hexadecimal digits")
    return text
