"""A block store in memory, as strict as the real one: for tests that need no network."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from shared.domain.blocks import hash_of
from shared.domain.ids import BlobId
from shared.ports.block_store import Arrived, BlobChanged, BlobExists, BlobMissing, Container, Disposition


class MemoryBlockStore:
    """Implements the BlockStore port; `blobs` holds what a test may look at."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[Container, BlobId], bytes] = {}

    async def prepare(self, *, origins: Sequence[str] = ()) -> None:
        return None

    async def put(self, blob: BlobId, stored: bytes) -> str:
        self._create(Container.BLOCKS, blob, stored)
        return f'"{blob}"'

    async def get(self, blob: BlobId, *, offset: int, length: int) -> bytes:
        content = self.blobs.get((Container.BLOCKS, blob), b"")[offset : offset + length]
        if len(content) != length:
            raise BlobMissing(blob)
        return content

    async def assemble(self, blob: BlobId, parts: AsyncIterator[bytes]) -> None:
        content = b"".join([part async for part in parts])
        self._create(Container.ASSEMBLED, blob, content)

    async def delete(self, container: Container, blob: BlobId) -> None:
        self.blobs.pop((container, blob), None)

    async def read_url(
        self,
        container: Container,
        blob: BlobId,
        *,
        expires_at: datetime,
        disposition: Disposition | None = None,
    ) -> str:
        return f"memory://{container}/{blob}?until={int(expires_at.timestamp())}"

    async def put_url(self, blob: BlobId, *, expires_at: datetime) -> str:
        return f"memory://{Container.STAGING}/{blob}?until={int(expires_at.timestamp())}"

    async def arrived(self, blob: BlobId) -> Arrived:
        content = self._staged(blob)
        return Arrived(len(content), _tag(content), plain_kind=True)

    async def read_arrived(self, blob: BlobId, arrived: Arrived) -> bytes:
        content = self._staged(blob)
        if _tag(content) != arrived.etag:
            raise BlobChanged(blob)
        return content

    def _staged(self, blob: BlobId) -> bytes:
        content = self.blobs.get((Container.STAGING, blob))
        if content is None:
            raise BlobMissing(blob)
        return content

    async def exists(self, container: Container, blob: BlobId) -> bool:
        return (container, blob) in self.blobs

    async def names(self, container: Container) -> AsyncIterator[BlobId]:
        for room, blob in sorted(self.blobs):
            if room is container:
                yield blob

    async def close(self) -> None:
        return None

    def _create(self, container: Container, blob: BlobId, content: bytes) -> None:
        if (container, blob) in self.blobs:
            raise BlobExists(blob)
        self.blobs[container, blob] = bytes(content)


def _tag(content: bytes) -> str:
    return f'"{hash_of(content)}"'
