"""The server's answers, as far as the command reads them.

Each is decoded into one of these types at the edge, so that a field which is absent or of another type is found
where the answer arrives and not three layers later. Unknown fields are passed over: the server may add some.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from client.errors import Unexpected


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Registered(Answer, frozen=True):
    user_id: str


class LoggedIn(Answer, frozen=True):
    """`expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    expires_in: float
    device_id: str
    user_id: str = ""


class Missing(Answer, frozen=True):
    missing: Sequence[str]


class Committed(Answer, frozen=True):
    """`unchanged` when the head had this content already and no version was made."""

    file_id: str
    version_id: str
    version: int
    path: str = ""
    unchanged: bool = False


class Batched(Answer, frozen=True):
    """A result for each file: as its commit alone would have been answered, with the status as a member."""

    results: Sequence[msgspec.Raw]


class RemoteFile(Answer, frozen=True):
    """A file as lists show it: `size_bytes` in bytes, `modified_at` in ISO 8601, `version` counts from 1."""

    file_id: str
    path: str
    size_bytes: int
    version_id: str
    version: int
    root_hash: str
    modified_at: str


class RemoteFolder(Answer, frozen=True):
    path: str
    folder_id: str = ""


class RemoteDevice(Answer, frozen=True):
    """A device that is logged in; `current` for the one that asks."""

    device_id: str
    name: str
    platform: str
    created_at: str
    last_seen_at: str
    current: bool


class Devices(Answer, frozen=True):
    devices: Sequence[RemoteDevice]


class Renamed(Answer, frozen=True):
    name: str


class Moved(Answer, frozen=True):
    path: str


class RemoteVersion(Answer, frozen=True):
    """An old or the current state of a file; `size_bytes` in bytes, `version` counts from 1."""

    version_id: str
    version: int
    size_bytes: int
    root_hash: str
    created_at: str
    modified_at: str


class Versions(Answer, frozen=True):
    versions: Sequence[RemoteVersion]
    next_before: int | None = None


class TrashedEntry(Answer, frozen=True):
    """Something deleted that can be brought back; `size_bytes` is None for folders."""

    id: str
    kind: str
    name: str
    size_bytes: int | None
    deleted_at: str


class TrashPage(Answer, frozen=True):
    trash: Sequence[TrashedEntry]
    next_before: int | None = None


class Purged(Answer, frozen=True):
    files: int
    bytes: int


class UndoneEntry(Answer, frozen=True):
    """What was put back: `was` its path before the undo, `path` the one since; null for the trash."""

    id: str
    kind: str
    did: Sequence[str]
    was: str | None = None
    path: str | None = None


class KeptEntry(Answer, frozen=True):
    id: str
    reason: str
    path: str | None = None


class Undone(Answer, frozen=True):
    """What an undo did, or would do; the lists are cut, the counts are not."""

    undone: Sequence[UndoneEntry]
    undone_count: int
    kept: Sequence[KeptEntry]
    kept_count: int


class Page(Answer, frozen=True):
    files: Sequence[RemoteFile]
    folders: Sequence[RemoteFolder] = ()
    next_cursor: str | None = None


class BlockPlace(Answer, frozen=True):
    """A block of a manifest and where its bytes are: `stored_size` bytes at `offset` behind `url`.

    `blake3` is None where the server has none, or doesn't tell.
    """

    sha256: str
    size: int
    url: str
    offset: int
    stored_size: int
    codec: str
    blake3: str | None = None

    @property
    def stop(self) -> int:
        """Where the bytes behind it begin."""
        return self.offset + self.stored_size


class PackedPlace(Answer, frozen=True):
    """As a block's place, with the number of its address `at` in a list of them."""

    sha256: str
    size: int
    at: int
    offset: int
    stored_size: int
    codec: str


class PackedManifest(Answer, frozen=True):
    """As a manifest, with addresses by number."""

    file_id: str
    version_id: str
    size: int
    root_hash: str
    modified_at: str
    blocks: Sequence[PackedPlace]

    def unpacked(self, urls: Sequence[str]) -> "Manifest":
        """The manifest with its addresses; raises IndexError for a number that there is no address for."""
        return Manifest(
            file_id=self.file_id,
            version_id=self.version_id,
            size=self.size,
            root_hash=self.root_hash,
            modified_at=self.modified_at,
            blocks=[
                BlockPlace(
                    sha256=block.sha256,
                    size=block.size,
                    url=urls[block.at],
                    offset=block.offset,
                    stored_size=block.stored_size,
                    codec=block.codec,
                )
                for block in self.blocks
            ],
        )


class ManyManifests(Answer, frozen=True):
    """A manifest for each version that was asked for, or a problem document."""

    manifests: Sequence[msgspec.Raw]
    urls: Sequence[str]


class Outcome(Answer, frozen=True):
    """What each answer among many has: the status that it would have had alone."""

    status: int


class Grant(Answer, frozen=True):
    """The right to put the plain bytes of one block behind `url`, once, with these headers."""

    sha256: str
    size: int
    url: str
    headers: Mapping[str, str]
    method: Literal["PUT"] = "PUT"


class Grants(Answer, frozen=True):
    grants: Sequence[Grant]


class Manifest(Answer, frozen=True):
    file_id: str
    version_id: str
    size: int
    root_hash: str
    modified_at: str
    blocks: Sequence[BlockPlace]


class Change(Answer, frozen=True):
    """One entry of the journal: what happened to `file_id` (a file or a folder), and its state as it is now.

    Without `type` it is gone itself; without `path` it hangs below a deleted folder. `size` is in bytes.
    """

    namespace: str
    kind: str
    file_id: str
    type: Literal["file", "folder"] | None = None
    parent_id: str | None = None
    name: str | None = None
    path: str | None = None
    version_id: str | None = None
    size: int | None = None
    root_hash: str | None = None
    modified_at: str | None = None


class Changes(Answer, frozen=True):
    changes: Sequence[Change]
    cursor: str
    has_more: bool


class Told(Answer, frozen=True):
    """What came of waiting; `superseded` when another wait of the same device has ended this one."""

    changed: bool
    superseded: bool = False


class FolderMade(Answer, frozen=True):
    folder_id: str
    path: str = ""


class Head(Answer, frozen=True):
    version_id: str


class Problem(Answer, frozen=True):
    """What the command reads of application/problem+json; the rest depends on `code`."""

    code: str = ""
    title: str = ""
    error: str = ""
    detail: str | None = None
    request_id: str = ""
    missing: Sequence[str] = ()
    head: Head | None = None
    entry: str = ""
    kind: str = ""


T = TypeVar("T", bound=Answer)


def decode(body: bytes, kind: type[T], *, what: str) -> T:
    """Return `body` as a `kind`; raises Unexpected, naming `what` was asked, when it is something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unexpected(
            f"{what}: the server's answer can't be understood ({error})", code="bad_answer"
        ) from None
