"""Where bytes live: an object store of immutable, write-once blobs.

A blob's name is a fresh random id, never a hash: a name that is used once can't be overwritten, and
deleting it can't hit bytes that came later. Stores know nothing of blocks, files or users.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.ids import BlobId


class Container(StrEnum):
    """The rooms of the store."""

    BLOCKS = "blocks"
    STAGING = "staging"
    ASSEMBLED = "assembled"


class BlobExists(Exception):
    """A blob of this name is there; nothing was written."""


class BlobMissing(Exception):
    """No blob of this name is there, or it has fewer bytes than asked for."""


class BlobChanged(Exception):
    """The blob is not the one whose ETag was given."""


class BlobUnreadable(Exception):
    """The blob is there and the store gives nobody its bytes: it is archived, or encrypted by a key of the sender's."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a client put into the staging container, before anybody has read it; `size` in bytes.

    `plain_kind` says that it is a block blob: append and page blobs have no business there.
    """

    size: int
    etag: str
    plain_kind: bool


@dataclass(frozen=True, slots=True)
class Disposition:
    """How a download by read grant presents itself: the complete Content-Disposition, and the media type."""

    content_disposition: str
    content_type: str


class BlockStore(Protocol):
    """Every call may raise Unavailable when the store is away; then nothing half done is visible."""

    async def prepare(self, *, origins: Sequence[str] = ()) -> None:
        """Make the containers where they are missing, and let pages of these origins put and get. May be repeated.

        A store whose settings are not this application's to write leaves the origins to whoever writes them.
        """
        ...

    async def put(self, blob: BlobId, stored: bytes) -> str:
        """Create the blob in one step and return its ETag; raises BlobExists, and never overwrites."""
        ...

    async def get(self, blob: BlobId, *, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raises BlobMissing."""
        ...

    async def assemble(self, blob: BlobId, parts: AsyncIterator[bytes]) -> None:
        """Create an assembled blob of all parts, in order, at most a few of them in memory.

        It appears whole or not at all; raises BlobExists.
        """
        ...

    async def delete(self, container: Container, blob: BlobId) -> None:
        """Delete the blob; that it is gone already is no error."""
        ...

    async def read_url(
        self,
        container: Container,
        blob: BlobId,
        *,
        expires_at: datetime,
        disposition: Disposition | None = None,
    ) -> str:
        """An address that gives anybody who has it the right to read this one blob until `expires_at`."""
        ...

    async def put_url(self, blob: BlobId, *, expires_at: datetime) -> str:
        """An address that lets anybody who has it create this one blob in STAGING, once, until `expires_at`."""
        ...

    async def arrived(self, blob: BlobId) -> Arrived:
        """What is under this name in STAGING, without reading it; raises BlobMissing, BlobUnreadable."""
        ...

    async def read_arrived(self, blob: BlobId, arrived: Arrived) -> bytes:
        """The bytes of exactly what `arrived` tells, as they were sent, whatever encoding the sender claims.

        Raises BlobChanged, BlobMissing, BlobUnreadable.
        """
        ...

    async def exists(self, container: Container, blob: BlobId) -> bool: ...

    def names(self, container: Container) -> AsyncIterator[BlobId]:
        """The names of all blobs in the container, ascending."""
        ...

    async def close(self) -> None:
        """Release connections; the store is not used afterwards."""
        ...
