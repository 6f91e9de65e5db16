"""The one door for bytes.

A block is admitted in three steps, and a crash between any two leaves nothing that can be read or trusted:

1. A row says that a blob is being written, under a fresh random name.
2. One create-only write puts the bytes there.
3. One transaction marks the blob stored, makes the block of it, and leases it to the caller until the commit.

Blocks that arrive together share blobs, and take the steps together.

Only then is it acknowledged. Bytes that the namespace has already need no second copy; bytes that only others
have are stored again, so that nobody learns from an answer what others have.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from shared.domain.accounts import Caller
from shared.domain.blocks import BLOCK_SIZE, BlockRef, Sha256, hash_of
from shared.domain.codecs import Codec, decode, encode, pays
from shared.domain.digests import Blake3, blake3_of
from shared.domain.errors import HashMismatch, QuotaExceeded, Unacceptable, Unavailable
from shared.domain.ids import BlobId, BlockKey, NamespaceId
from shared.domain.packing import plan_packs
from shared.ports.block_store import BlobExists, BlockStore, Container
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_blocks import NewBlock, Placement, Usable
from shared.usecases.authority import Uploader, reader, writer
from shared.usecases.side_by_side import gathered


@dataclass(frozen=True, slots=True)
class Examined:
    """A block whose bytes were hashed here, with what is to be stored of them."""

    ref: BlockRef
    blake3: Blake3
    codec: Codec
    stored: bytes


@dataclass(frozen=True, slots=True)
class _Pack:
    """A blob to be, holding the stored bytes of its blocks one behind the other."""

    blob: BlobId
    blocks: Sequence[Examined]
    etag: str = ""

    @property
    def size(self) -> int:
        return sum(len(block.stored) for block in self.blocks)

    def content(self) -> bytes:
        return self.blocks[0].stored if len(self.blocks) == 1 else b"".join(b.stored for b in self.blocks)


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that are in the store and stand for nothing yet, and blocks that the namespace had before."""

    packs: Sequence[_Pack]
    known: Mapping[Sha256, Usable]


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
        block = await asyncio.to_thread(examine, body, codec, stated)
        await self.admit_examined(authorize, [block], reserved=reserved)
        return block.ref

    async def admit_examined(
        self, authorize: Callable[[Transaction], Uploader], blocks: Sequence[Examined], *, reserved: bool
    ) -> None:
        """Admit blocks of different hashes, all or none of those that are new. Raises as `write` does."""
        written = await self.write(authorize, blocks, reserved=reserved)

        def finish(tx: Transaction) -> None:
            uploader = authorize(tx)
            self.hold(tx, uploader, self.place(tx, uploader.namespace, written))

        if written.packs:
            await self.metadata.write(finish)

    async def write(
        self, authorize: Callable[[Transaction], Uploader], blocks: Sequence[Examined], *, reserved: bool
    ) -> Written:
        """Steps 1 and 2 for blocks of different hashes: those that the namespace lacks are in the store, packed.

        The others are leased to the uploader. Raises QuotaExceeded, Unavailable, and what `authorize` raises.
        """

        def begin(tx: Transaction) -> Written:
            uploader = authorize(tx)
            sizes = {block.ref.sha256: block.ref.size for block in blocks}
            known = {
                sha256: Usable(key, sizes[sha256])
                for sha256, key in tx.blocks.good_copies(uploader.namespace, list(sizes)).items()
            }
            tx.blocks.keep([usable.key for usable in known.values()])
            self.hold(tx, uploader, known)
            new = [block for block in blocks if block.ref.sha256 not in known]
            if new and not reserved:
                check_room(tx, uploader, sum(block.ref.size for block in new), now=self.clock.now())
            runs = plan_packs([len(block.stored) for block in new])
            packs = [_Pack(BlobId(self.ids.new()), new[run.start : run.stop]) for run in runs]
            for pack in packs:
                tx.blocks.start_blob(pack.blob, Container.BLOCKS, pack.size, now=self.clock.now())
            return Written(packs, known)

        begun = await self.metadata.write(begin)
        return replace(begun, packs=await gathered(partial(self._put, pack) for pack in begun.packs))

    async def _put(self, pack: _Pack) -> _Pack:
        try:
            return replace(pack, etag=await self.store.put(pack.blob, pack.content()))
        except BlobExists as error:
            # A lost answer made the SDK write twice. The name is given up, as after any failed write.
            raise Unavailable("the block store's answer was lost; please send the block again") from error

    def place(self, tx: Transaction, namespace: NamespaceId, written: Written) -> Mapping[Sha256, Usable]:
        """Step 3: make blocks of what was written; returns all that `write` was given. The namespace is locked.

        Raises Unavailable when the bytes are no longer awaited.
        """
        new: list[NewBlock] = []
        for pack in written.packs:
            if not tx.blocks.finish_blob(pack.blob, pack.etag):
                raise Unavailable("the upload took too long; please send the block again")
            offset = 0
            for block in pack.blocks:
                place = Placement(pack.blob, offset, len(block.stored), block.codec)
                new.append(NewBlock(BlockKey(self.ids.new()), block.ref, place, block.blake3))
                offset += len(block.stored)
        sizes = {block.ref.sha256: block.ref.size for block in new}
        keys = tx.blocks.place_blocks(namespace, new) if new else {}
        return {**written.known, **{sha256: Usable(key, sizes[sha256]) for sha256, key in keys.items()}}

    def hold(self, tx: Transaction, uploader: Uploader, blocks: Mapping[Sha256, Usable]) -> None:
        """Lease blocks to the uploader until they are committed, or for so long."""
        until = self.clock.now() + self.lease
        for block in blocks.values():
            tx.blocks.lease(uploader.namespace, block.key, block.size, uploader.user_id, expires_at=until)


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

        def known(tx: Transaction) -> bool:
            member = reader(tx, caller, namespace)
            return bool(tx.blocks.usable(member.namespace, hashes, member.user_id))

        def check(tx: Transaction) -> list[Sha256]:
            member = reader(tx, caller, namespace)
            usable = tx.blocks.usable(member.namespace, hashes, member.user_id)
            tx.blocks.renew_leases(
                member.namespace, hashes, member.user_id, expires_at=self.clock.now() + self.lease
            )
            return [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in usable]

        # Where none is there, as in every first upload, no lease is to be renewed and nothing has to be written.
        if not await self.metadata.read(known):
            return list(dict.fromkeys(hashes))
        return await self.metadata.write(check)


def examine(body: bytes, codec: Codec, stated: Sha256 | None) -> Examined:
    """Hash a block's bytes and decide how they are stored; raises as `AdmitBlock` does for bad ones."""
    plain = decode(codec, body, limit=BLOCK_SIZE)
    if not plain:
        raise Unacceptable("a block must have at least one byte; an empty file has no blocks")
    sha256 = hash_of(plain)
    if stated is not None and stated != sha256:
        raise HashMismatch(f"the bytes have the SHA-256 {sha256}; they were damaged on the way, or not these")
    ref, blake3 = BlockRef(sha256, len(plain)), blake3_of(plain)
    if codec is not Codec.NONE and pays(body, plain):
        return Examined(ref, blake3, codec, body)
    return Examined(ref, blake3, *encode(plain))
