"""Every way in which Strata refuses, and nothing about how a protocol says it.

    StrataError
    ├── Malformed                 the request can't be read
    ├── Unacceptable              it can be read, but what it says can't be
    │   ├── NameRefused           a name that some system could not store or show safely
    │   ├── HashMismatch          the bytes are not the ones that were announced
    │   └── KeyReused             an idempotency key came back with another request
    ├── Unauthenticated           who calls is not known
    │   ├── InvalidCredentials    user name and password don't belong together
    │   └── InvalidToken          a token that is forged, expired or revoked
    ├── Forbidden                 known, may read, may not do this
    ├── NotFound                  not there, or not the caller's to know about: one answer for both
    │   └── FileNotFound
    ├── Conflict                  true when it was sent, not any more
    │   ├── UsernameTaken
    │   ├── NameExists            another entry has the place
    │   ├── FolderCycle           a folder can't be moved into itself
    │   ├── VersionConflict       the head is not the base
    │   └── MissingBlocks         a manifest names blocks that the caller has yet to upload
    ├── CursorReset               a cursor that can't be followed any more
    ├── PreconditionFailed        If-Match or If-None-Match does not hold
    ├── TooLarge                  more bytes or items than a limit allows
    ├── UnsupportedMedia          a content type or encoding that isn't understood
    ├── UnsatisfiableRange        a byte range outside of the file
    ├── TooManyRequests           more than a fair share at once
    ├── QuotaExceeded             the owner of the namespace has no room left
    └── Unavailable               a part that is needed is away; the same call may work later
        ├── Busy                  more work is waiting than can be done in time
        └── ContentUnavailable    the bytes of a version can't be read now

A message says what is wrong and, where there is one, the next step. It never holds a secret.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class StrataError(Exception):
    """Root of the tree. `code` is for programs, `title` for people, the message for this one case."""

    code: ClassVar[str]
    title: ClassVar[str]

    def members(self) -> Mapping[str, Any]:
        """What a program needs to go on, by name: JSON values only."""
        return {}


class Malformed(StrataError):
    code = "bad_request"
    title = "Bad request"


class Unacceptable(StrataError):
    code = "unacceptable"
    title = "Request can't be carried out as it stands"


class NameRefused(Unacceptable):
    code = "name_refused"
    title = "Name refused"


class HashMismatch(Unacceptable):
    code = "hash_mismatch"
    title = "Bytes don't match the stated hash"


class KeyReused(Unacceptable):
    code = "idempotency_key_reused"
    title = "Idempotency key was used for another request"


class Unauthenticated(StrataError):
    code = "unauthenticated"
    title = "Authentication required"


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    title = "Invalid credentials"


class InvalidToken(Unauthenticated):
    code = "invalid_token"
    title = "Invalid token"


class Forbidden(StrataError):
    code = "forbidden"
    title = "Not allowed"


class NotFound(StrataError):
    code = "not_found"
    title = "Not found"


class FileNotFound(NotFound):
    code = "file_not_found"
    title = "File not found"


class Conflict(StrataError):
    code = "conflict"
    title = "Conflict"


class UsernameTaken(Conflict):
    code = "username_taken"
    title = "Username is taken"


class NameExists(Conflict):
    """`entry` is the name that has the place, spelled as it is stored; `kind` is file or folder."""

    code = "name_exists"
    title = "Name exists"

    def __init__(self, message: str, *, entry: str, kind: str) -> None:
        super().__init__(message)
        self.entry, self.kind = entry, kind

    def members(self) -> Mapping[str, Any]:
        return {"entry": self.entry, "kind": self.kind}


class FolderCycle(Conflict):
    code = "cycle"
    title = "Folder can't be moved into itself"


class VersionConflict(Conflict):
    """`head` describes the file's current version, None when the file is gone."""

    code = "version_conflict"
    title = "File has changed"

    def __init__(self, message: str, *, head: Mapping[str, Any] | None) -> None:
        super().__init__(message)
        self.head = head

    def members(self) -> Mapping[str, Any]:
        return {"head": self.head}


class MissingBlocks(Conflict):
    """`missing` are the hashes to upload, in the manifest's order, each once."""

    code = "missing_blocks"
    title = "Blocks are missing"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"{len(missing)} block(s) of the manifest must be uploaded first")
        self.missing = tuple(missing)

    def members(self) -> Mapping[str, Any]:
        return {"missing": list(self.missing)}


class CursorReset(StrataError):
    code = "cursor_reset"
    title = "Cursor can't be followed any more"


class PreconditionFailed(StrataError):
    code = "precondition_failed"
    title = "Precondition failed"


class TooLarge(StrataError):
    """`limit` is in the unit that the message names."""

    code = "too_large"
    title = "Too large"

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit

    def members(self) -> Mapping[str, Any]:
        return {"limit": self.limit}


class UnsupportedMedia(StrataError):
    code = "unsupported_media_type"
    title = "Unsupported media type"


class UnsatisfiableRange(StrataError):
    """`size` is the file's, in bytes."""

    code = "range_not_satisfiable"
    title = "Range not satisfiable"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size

    def members(self) -> Mapping[str, Any]:
        return {"size": self.size}


class TooManyRequests(StrataError):
    """`retry_after` is in seconds."""

    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(StrataError):
    """`quota` and `used` are in bytes."""

    code = "quota_exceeded"
    title = "Not enough storage left"

    def __init__(self, message: str, *, quota: int, used: int) -> None:
        super().__init__(message)
        self.quota, self.used = quota, used

    def members(self) -> Mapping[str, Any]:
        return {"quota": self.quota, "used": self.used}


class Unavailable(StrataError):
    """`retry_after` is in seconds: before then, another try is useless."""

    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Unavailable):
    code = "busy"
    title = "Too busy"


class ContentUnavailable(Unavailable):
    code = "content_unavailable"
    title = "Content can't be read now"
