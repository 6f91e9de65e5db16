"""Blobs, the blocks in them, and the leases that hold a block until its commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.blocks import BlockRef, Sha256
from shared.domain.codecs import Codec
from shared.domain.digests import Blake3
from shared.domain.ids import BlobId, BlockKey, NamespaceId, UserId, VersionId


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a block's stored bytes are; `offset` and `stored_size` in bytes."""

    blob: BlobId
    offset: int
    stored_size: int
    codec: Codec


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block of a version, in order, with the place to read it from; `size` in plain bytes.

    `blake3` is None for one that was stored before there were such.
    """

    key: BlockKey
    sha256: Sha256
    size: int
    placement: Placement
    blake3: Blake3 | None


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block whose bytes are at `place`, to be known under `key` where the namespace doesn't have it."""

    key: BlockKey
    ref: BlockRef
    place: Placement
    blake3: Blake3


@dataclass(frozen=True, slots=True)
class Usable:
    """A block that a commit by the asking user may refer to."""

    key: BlockKey
    size: int


class Blocks(Protocol):
    """A block is *usable* for a user when its blob is stored and not bad, and the user holds a lease on it or
    some version in the namespace has it. To everybody else it is missing, like one that never was."""

    def start_blob(self, blob: BlobId, container: str, size: int, *, now: datetime) -> None:
        """Note that a blob of `size` bytes is about to be written."""
        ...

    def finish_blob(self, blob: BlobId, etag: str) -> bool:
        """Note that it was; False when it is no longer awaited, and then nothing may refer to it."""
        ...

    def place_blocks(self, namespace: NamespaceId, new: Sequence[NewBlock]) -> Mapping[Sha256, BlockKey]:
        """Make blocks of different hashes, or, where the namespace has one in a bad blob, move it to its new place.

        A good copy that is there already stays, and the new place is not referred to. Clears `condemned_at` and
        returns the key of each. The namespace is locked, and its `upkeep` counts a move.
        """
        ...

    def good_copies(self, namespace: NamespaceId, hashes: Sequence[Sha256]) -> Mapping[Sha256, BlockKey]:
        """The namespace's blocks of these hashes, but for those whose blobs are bad."""
        ...

    def lease(
        self, namespace: NamespaceId, key: BlockKey, size: int, user: UserId, *, expires_at: datetime
    ) -> None:
        """Give the user a lease on a block of `size` plain bytes, or prolong it."""
        ...

    def leased_bytes(self, user: UserId, *, now: datetime) -> int:
        """Plain bytes of the blocks that the user holds unexpired leases on: uploaded, and not yet committed."""
        ...

    def renew_leases(
        self, namespace: NamespaceId, hashes: Sequence[Sha256], user: UserId, *, expires_at: datetime
    ) -> None:
        """Prolong the leases that the user has on these blocks; makes none."""
        ...

    def end_leases(self, keys: Sequence[BlockKey], user: UserId) -> None:
        """The user's leases on these blocks have done their work."""
        ...

    def usable(
        self, namespace: NamespaceId, hashes: Sequence[Sha256], user: UserId
    ) -> Mapping[Sha256, Usable]:
        """Those of the blocks that are usable for the user."""
        ...

    def keep(self, keys: Sequence[BlockKey]) -> None:
        """Clear `condemned_at`: these are wanted again."""
        ...

    def of_version(self, namespace: NamespaceId, version: VersionId) -> Sequence[PlacedBlock]:
        """The version's blocks, in order."""
        ...

    def of_versions(
        self, namespace: NamespaceId, versions: Sequence[VersionId]
    ) -> Mapping[VersionId, Sequence[PlacedBlock]]:
        """The blocks of each version that has any, in order."""
        ...

    def count_of_versions(
        self, namespace: NamespaceId, versions: Sequence[VersionId]
    ) -> Mapping[VersionId, int]:
        """How many blocks each version has, those with none left out."""
        ...

    def mark_bad(self, blobs: Sequence[BlobId], *, now: datetime) -> int:
        """Note that these can't be read; returns how many were not known to be bad before."""
        ...

    def not_bad(self, blobs: Sequence[BlobId]) -> Sequence[BlobId]:
        """Those of the blobs that are not known to be bad."""
        ...

    def stored_blobs(self, container: str, *, after: BlobId | None, limit: int) -> Sequence[BlobId]:
        """A page of the names of stored blobs, ascending."""
        ...

    def bad_blocks(self) -> int:
        """How many blocks some version has whose bytes can't be read: 0 in a healthy store."""
        ...
