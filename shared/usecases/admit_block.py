"""The one door for bytes.

A block is admitted in three steps, and a crash between any two leaves nothing that can be read or trusted:

1. A row says that a blob is being written, under a fresh random name.
2. One create-only write puts the bytes there.
3. One transaction marks the blob stored, makes the block of it, and leases it to the caller until the commit.

Only then is it acknowledged. Bytes that the namespace has already need no second copy; bytes that only others
have are stored again, so that nobody learns from an answer what others have.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller
from shared.domain.blocks import BLOCK_SIZE, BlockRef, Sha256, hash_of
from shared.domain.codecs import Codec, pack, pays, unpack
from shared.domain.errors import HashMismatch, QuotaExceeded, Unacceptable, Unavailable
from shared.domain.ids import BlobId, BlockKey, NamespaceId
from shared.ports.block_store import BlobExists, BlockStore, Container
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_blocks import Placement
from shared.usecases.authority import Uploader, reader, writer


@dataclass(frozen=True, slots=True)
class _Block:
    """A block whose bytes the server has hashed itself."""

    ref: BlockRef
    codec: Codec
    stored: bytes


@dataclass(frozen=True)
class AdmitBlock:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    ids: Ids
    lease: timedelta

    async def __call__(
        self,
        caller: Caller,
        namespace: NamespaceId | None,
        body: bytes,
        *,
        codec: Codec = Codec.NONE,
        stated: Sha256 | None = None,
    ) -> BlockRef:
        """Admit the block that `body` holds in `codec`, and lease it to the caller.

        Raises TooLarge over 4 MiB of plain bytes, Unacceptable for none, HashMismatch when they are not
        `stated`, Malformed for a broken stream, QuotaExceeded, Unavailable, and what `writer` raises.
        """
        return await self.admit(
            lambda tx: writer(tx, caller, namespace), body, codec=codec, stated=stated, reserved=False
        )

    async def admit(
        self,
        authorize: Callable[[Transaction], Uploader],
        body: bytes,
        *,
        codec: Codec,
        stated: Sha256 | None,
        reserved: bool,
    ) -> BlockRef:
        """Admit a block for whom `authorize` names, asked in each transaction.

        `reserved` says that quota was set aside for it when its upload was granted. Raises as the call does.
        """
        block = await asyncio.to_thread(_examine, body, codec, stated)
        blob = BlobId(self.ids.new())
        if await self.metadata.write(lambda tx: self._begin(tx, authorize(tx), block, blob, reserved)):
            return block.ref
        try:
            etag = await self.store.put(blob, block.stored)
        except BlobExists as error:
            # A lost answer made the SDK write twice. The name is given up, as after any failed write.
            raise Unavailable("the block store's answer was lost; please send the block again") from error
        key = BlockKey(self.ids.new())
        await self.metadata.write(lambda tx: self._finish(tx, authorize(tx), block, blob, etag, key))
        return block.ref

    def _begin(
        self, tx: Transaction, uploader: Uploader, block: _Block, blob: BlobId, reserved: bool
    ) -> bool:
        """Whether the namespace has the block, and nothing is to be written."""
        key = tx.blocks.good_copy(uploader.namespace, block.ref.sha256)
        if key is not None:
            tx.blocks.keep([key])
            self._lease(tx, uploader, key, block.ref.size)
            return True
        if not reserved:
            check_room(tx, uploader, block.ref.size, now=self.clock.now())
        tx.blocks.start_blob(blob, Container.BLOCKS, len(block.stored), now=self.clock.now())
        return False

    def _finish(
        self, tx: Transaction, uploader: Uploader, block: _Block, blob: BlobId, etag: str, key: BlockKey
    ) -> None:
        if not tx.blocks.finish_blob(blob, etag):
            raise Unavailable("the upload took too long; please send the block again")
        place = Placement(blob, 0, len(block.stored), block.codec)
        placed = tx.blocks.place_block(uploader.namespace, key, block.ref, place)
        self._lease(tx, uploader, placed, block.ref.size)

    def _lease(self, tx: Transaction, uploader: Uploader, key: BlockKey, size: int) -> None:
        until = self.clock.now() + self.lease
        tx.blocks.lease(uploader.namespace, key, size, uploader.user_id, expires_at=until)


def check_room(tx: Transaction, uploader: Uploader, size: int, *, now: datetime) -> None:
    """Raise QuotaExceeded unless `size` more bytes fit beside what is stored, uploaded and granted.

    Whoever uploads without committing is stopped here, until the leases end: then their bytes are the sweep's.
    """
    usage = tx.namespaces.usage(uploader.namespace)
    pending = (
        tx.blocks.leased_bytes(uploader.user_id, now=now) + tx.staging.outstanding(uploader.user_id).bytes
    )
    if usage.used + pending + size > usage.quota:
        raise QuotaExceeded(
            f"{size} more bytes don't fit: {usage.used} of {usage.quota} bytes are used, "
            f"and {pending} are uploaded and wait for their commit",
            quota=usage.quota,
            used=usage.used,
        )


@dataclass(frozen=True)
class CheckBlocks:
    metadata: Metadata
    clock: Clock
    lease: timedelta

    async def __call__(
        self, caller: Caller, namespace: NamespaceId | None, hashes: list[Sha256]
    ) -> list[Sha256]:
        """Those of `hashes` that the caller must upload, in their order, each once; renews the caller's leases."""

        def check(tx: Transaction) -> list[Sha256]:
            member = reader(tx, caller, namespace)
            usable = tx.blocks.usable(member.namespace, hashes, member.user_id)
            tx.blocks.renew_leases(
                member.namespace, hashes, member.user_id, expires_at=self.clock.now() + self.lease
            )
            return [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in usable]

        return await self.metadata.write(check)


def _examine(body: bytes, codec: Codec, stated: Sha256 | None) -> _Block:
    plain = unpack(codec, body, limit=BLOCK_SIZE)
    if not plain:
        raise Unacceptable("a block must have at least one byte; an empty file has no blocks")
    sha256 = hash_of(plain)
    if stated is not None and stated != sha256:
        raise HashMismatch(f"the bytes have the SHA-256 {sha256}; they were damaged on the way, or not these")
    ref = BlockRef(sha256, len(plain))
    if codec is not Codec.NONE and pays(body, plain):
        return _Block(ref, codec, body)
    return _Block(ref, *pack(plain))
