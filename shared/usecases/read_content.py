"""Bytes of a version: a range read and verified here, or the whole assembled into one blob to be fetched.

Every block is checked against its hash before a byte of it leaves. A blob that is gone or damaged is noted as bad, so
that the next upload of the same bytes heals it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain.blocks import hash_of
from shared.domain.codecs import decode
from shared.domain.errors import ContentUnavailable, StrataError, Unavailable
from shared.domain.ids import BlobId, VersionId
from shared.ports.block_store import BlobMissing, BlockStore, Container, Disposition
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_blocks import PlacedBlock
from shared.ports.tables_files import Assembly
from shared.usecases.get_file import File, blocks_of

_log = logging.getLogger(__name__)

SIDE_BY_SIDE = 4
"""Blocks read ahead for one download."""


@dataclass(frozen=True)
class ReadContent:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    ids: Ids
    grant: timedelta
    keep: timedelta
    assembling: dict[VersionId, asyncio.Task[BlobId]] = field(default_factory=dict, init=False, repr=False)

    async def range(self, file: File, start: int, stop: int) -> bytes:
        """The bytes `start` to `stop` (exclusive) of the file's version.

        Raises ContentUnavailable, Unavailable, and FileNotFound when the version was purged meanwhile.
        """
        placed = await self._blocks(file)
        wanted: list[tuple[PlacedBlock, int, int]] = []
        offset = 0
        for block in placed:
            if offset < stop and offset + block.size > start:
                wanted.append((block, max(0, start - offset), min(block.size, stop - offset)))
            offset += block.size
        parts: list[bytes] = []
        async for position, plain in self._plain([block for block, _, _ in wanted]):
            _, begin, end = wanted[position]
            parts.append(plain if (begin, end) == (0, len(plain)) else plain[begin:end])
        return b"".join(parts)

    async def assembled(self, file: File, disposition: Disposition) -> str:
        """A short-lived address of the version's bytes in one blob, which is made unless it is there.

        Raises as `range`.
        """
        now = self.clock.now()
        expires_at = now + self.grant
        found = await self.metadata.read(lambda tx: tx.files.assembly(file.version.id))
        blob = found.blob if found else await self._assemble_once(file)
        return await self.store.read_url(
            Container.ASSEMBLED, blob, expires_at=expires_at, disposition=disposition
        )

    async def _assemble_once(self, file: File) -> BlobId:
        """Assemble, or wait for who is at it already: everybody who asks for a large file at once gets one blob."""
        version = file.version.id
        if version not in self.assembling:
            task = asyncio.create_task(self._assemble(file))
            self.assembling[version] = task
            task.add_done_callback(lambda _: self.assembling.pop(version, None))
        # One who goes away must not end it for the others.
        return await asyncio.shield(self.assembling[version])

    async def _assemble(self, file: File) -> BlobId:
        blob = BlobId(self.ids.new())
        now = self.clock.now()
        placed = await self._blocks(file)
        size = file.version.size
        await self.metadata.write(lambda tx: tx.blocks.start_blob(blob, Container.ASSEMBLED, size, now=now))

        async def parts() -> AsyncIterator[bytes]:
            async for _, plain in self._plain(placed):
                yield plain

        await self.store.assemble(blob, parts())
        assembly = Assembly(blob, now + self.keep)

        def keep(tx: Transaction) -> BlobId:
            # Of two that assembled at once, the first one's blob is used; the other's is never referred to.
            first = tx.files.assembly(file.version.id)
            if not tx.blocks.finish_blob(blob, ""):
                raise Unavailable("assembling took too long; please try again")
            if first is not None:
                return first.blob
            tx.files.set_assembly(file.version.id, assembly)
            return blob

        return await self.metadata.write(keep)

    async def _blocks(self, file: File) -> Sequence[PlacedBlock]:
        return await self.metadata.read(lambda tx: blocks_of(tx, file))

    async def _plain(self, blocks: Sequence[PlacedBlock]) -> AsyncIterator[tuple[int, bytes]]:
        """The plain bytes of each block, in order, with its position; a few are fetched ahead."""
        ahead: list[asyncio.Task[bytes]] = []
        upcoming = iter(blocks)
        try:
            for block in upcoming:
                ahead.append(asyncio.create_task(self._read(block)))
                if len(ahead) == SIDE_BY_SIDE:
                    break
            for position in range(len(blocks)):
                plain = await ahead[0]
                ahead.pop(0)
                following = next(upcoming, None)
                if following is not None:
                    ahead.append(asyncio.create_task(self._read(following)))
                yield position, plain
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _read(self, block: PlacedBlock) -> bytes:
        place = block.placement
        try:
            stored = await self.store.get(place.blob, offset=place.offset, length=place.stored_size)
        except BlobMissing as error:
            raise await self._bad(block, "its blob is missing") from error
        plain = await asyncio.to_thread(_verified, block, stored)
        if plain is None:
            raise await self._bad(block, "its bytes don't match its hash")
        return plain

    async def _bad(self, block: PlacedBlock, why: str) -> ContentUnavailable:
        _log.error("block %s in blob %s can't be read: %s", block.sha256, block.placement.blob, why)
        now = self.clock.now()
        await self.metadata.write(lambda tx: tx.blocks.mark_bad([block.placement.blob], now=now))
        return ContentUnavailable(
            "a block of this file can't be read; uploading the same content again repairs it", retry_after=60
        )


def _verified(block: PlacedBlock, stored: bytes) -> bytes | None:
    try:
        plain = decode(block.placement.codec, stored, limit=block.size)
    except StrataError:
        return None
    return plain if hash_of(plain) == block.sha256 else None
