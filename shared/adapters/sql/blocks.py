"""Blobs, blocks and leases in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, or_, select, update

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import blobs, blocks, leases, namespaces, version_blocks
from shared.domain.blocks import Sha256
from shared.domain.codecs import Codec
from shared.domain.ids import BlobId, BlockKey, NamespaceId, UserId, VersionId
from shared.ports.tables_blocks import NewBlock, PlacedBlock, Placement, Usable

# Statements of the way that every block takes, built once: building one costs more than running it on SQLite.
_START_BLOB = insert(blobs)
_FINISH_BLOB = (
    update(blobs)
    .where(blobs.c.blob_id == bindparam("b_blob"), blobs.c.state == "WRITING")
    .values(state="STORED", referable=1, etag=bindparam("b_etag"))
)
_FIND_BLOCKS = (
    select(blocks.c.sha256, blocks.c.block_key, blobs.c.bad_at)
    .join(blobs, blobs.c.blob_id == blocks.c.blob_id)
    .where(blocks.c.ns_id == bindparam("b_ns"), blocks.c.sha256.in_(bindparam("b_hashes", expanding=True)))
)
_MOVE_BLOCK = update(blocks).where(blocks.c.block_key == bindparam("b_key"))
_NOTE_UPKEEP = (
    update(namespaces).where(namespaces.c.ns_id == bindparam("b_ns")).values(upkeep=namespaces.c.upkeep + 1)
)
_ADD_BLOCK = insert(blocks)
_PROLONG_LEASE = (
    update(leases)
    .where(leases.c.block_key == bindparam("b_key"), leases.c.user_id == bindparam("b_user"))
    .values(expires_at=bindparam("b_until"))
)
_ADD_LEASE = insert(leases)
_LEASED_BYTES = select(func.coalesce(func.sum(leases.c.size), 0)).where(
    leases.c.user_id == bindparam("b_user"), leases.c.expires_at > bindparam("b_now")
)
_OF_VERSIONS = and_(
    version_blocks.c.ns_id == bindparam("b_ns"),
    version_blocks.c.version_id.in_(bindparam("b_versions", expanding=True)),
)
_PLACED = (
    select(
        version_blocks.c.version_id,
        blocks.c.block_key,
        blocks.c.sha256,
        blocks.c.size,
        blocks.c.blob_id,
        blocks.c.offset,
        blocks.c.stored_size,
        blocks.c.codec,
        blocks.c.blake3,
    )
    .join(version_blocks, version_blocks.c.block_key == blocks.c.block_key)
    .where(_OF_VERSIONS)
    .order_by(version_blocks.c.version_id, version_blocks.c.position)
)
_COUNT_OF = (
    select(version_blocks.c.version_id, func.count().label("blocks"))
    .where(_OF_VERSIONS)
    .group_by(version_blocks.c.version_id)
)


class SqlBlocks:
    """Implements the Blocks port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start_blob(self, blob: BlobId, container: str, size: int, *, now: datetime) -> None:
        self._connection.execute(
            _START_BLOB,
            {
                "blob_id": blob,
                "container": container,
                "size": size,
                "state": "WRITING",
                "referable": 0,
                "created_at": now,
            },
        )

    def finish_blob(self, blob: BlobId, etag: str) -> bool:
        return self._connection.execute(_FINISH_BLOB, {"b_blob": blob, "b_etag": etag}).rowcount == 1

    def place_blocks(self, namespace: NamespaceId, new: Sequence[NewBlock]) -> Mapping[Sha256, BlockKey]:
        known = self._find(namespace, [block.ref.sha256 for block in new])
        added, kept, moved = [], [], False
        keys: dict[Sha256, BlockKey] = {}
        for block in new:
            where = {
                "codec": block.place.codec.value,
                "blob_id": block.place.blob,
                "offset": block.place.offset,
                "stored_size": block.place.stored_size,
            }
            key, bad = known.get(block.ref.sha256, (block.key, False))
            keys[block.ref.sha256] = key
            if block.ref.sha256 not in known:
                row = {
                    "block_key": key,
                    "ns_id": namespace,
                    "sha256": block.ref.sha256,
                    "size": block.ref.size,
                    "blake3": block.blake3,
                    "blob_referable": 1,
                }
                added.append(row | where)
            elif bad:
                # Only what says where the bytes lie is new: were these other bytes, the hashes would tell.
                blake3 = func.coalesce(blocks.c.blake3, block.blake3)
                move = _MOVE_BLOCK.values(condemned_at=None, blake3=blake3, **where)
                self._connection.execute(move, {"b_key": key})
                moved = True
            else:
                kept.append(key)
        if added:
            self._connection.execute(_ADD_BLOCK, added)
        if moved:
            self._connection.execute(_NOTE_UPKEEP, {"b_ns": namespace})
        self.keep(kept)
        return keys

    def good_copies(self, namespace: NamespaceId, hashes: Sequence[Sha256]) -> Mapping[Sha256, BlockKey]:
        return {sha256: key for sha256, (key, bad) in self._find(namespace, hashes).items() if not bad}

    def _find(
        self, namespace: NamespaceId, hashes: Sequence[Sha256]
    ) -> Mapping[Sha256, tuple[BlockKey, bool]]:
        """The namespace's blocks of these hashes: the key of each, and whether its blob is bad."""
        found: dict[Sha256, tuple[BlockKey, bool]] = {}
        for some in slices(hashes):
            rows = self._connection.execute(_FIND_BLOCKS, {"b_ns": namespace, "b_hashes": some})
            found.update({row.sha256: (row.block_key, row.bad_at is not None) for row in rows})
        return found

    def lease(
        self, namespace: NamespaceId, key: BlockKey, size: int, user: UserId, *, expires_at: datetime
    ) -> None:
        prolonged = self._connection.execute(
            _PROLONG_LEASE, {"b_key": key, "b_user": user, "b_until": expires_at}
        )
        if prolonged.rowcount == 0:
            row = {
                "block_key": key,
                "user_id": user,
                "ns_id": namespace,
                "size": size,
                "expires_at": expires_at,
            }
            self._connection.execute(_ADD_LEASE, row)

    def leased_bytes(self, user: UserId, *, now: datetime) -> int:
        wanted = {"b_user": user, "b_now": now}
        return int(self._connection.execute(_LEASED_BYTES, wanted).scalar_one())

    def renew_leases(
        self, namespace: NamespaceId, hashes: Sequence[Sha256], user: UserId, *, expires_at: datetime
    ) -> None:
        for some in slices(hashes):
            keys = select(blocks.c.block_key).where(blocks.c.ns_id == namespace, blocks.c.sha256.in_(some))
            mine = update(leases).where(leases.c.user_id == user, leases.c.block_key.in_(keys))
            self._connection.execute(mine.values(expires_at=expires_at))

    def end_leases(self, keys: Sequence[BlockKey], user: UserId) -> None:
        for some in slices(keys):
            self._connection.execute(
                delete(leases).where(leases.c.user_id == user, leases.c.block_key.in_(some))
            )

    def usable(
        self, namespace: NamespaceId, hashes: Sequence[Sha256], user: UserId
    ) -> Mapping[Sha256, Usable]:
        # A lease counts for as long as its row stands: the sweep removes it before it looks at the block.
        leased = exists().where(leases.c.block_key == blocks.c.block_key, leases.c.user_id == user)
        referred = exists().where(
            version_blocks.c.ns_id == blocks.c.ns_id, version_blocks.c.block_key == blocks.c.block_key
        )
        found: dict[Sha256, Usable] = {}
        for some in slices(hashes):
            rows = self._connection.execute(
                select(blocks.c.sha256, blocks.c.block_key, blocks.c.size)
                .join(blobs, blobs.c.blob_id == blocks.c.blob_id)
                .where(
                    blocks.c.ns_id == namespace,
                    blocks.c.sha256.in_(some),
                    blobs.c.bad_at.is_(None),
                    or_(leased, referred),
                )
            )
            found.update({row.sha256: Usable(row.block_key, row.size) for row in rows})
        return found

    def keep(self, keys: Sequence[BlockKey]) -> None:
        for some in slices(keys):
            self._connection.execute(
                update(blocks)
                .where(blocks.c.block_key.in_(some), blocks.c.condemned_at.is_not(None))
                .values(condemned_at=None)
            )

    def of_version(self, namespace: NamespaceId, version: VersionId) -> Sequence[PlacedBlock]:
        return self.of_versions(namespace, [version]).get(version, [])

    def of_versions(
        self, namespace: NamespaceId, versions: Sequence[VersionId]
    ) -> Mapping[VersionId, Sequence[PlacedBlock]]:
        found: dict[VersionId, list[PlacedBlock]] = {}
        for some in slices(versions):
            for row in self._connection.execute(_PLACED, {"b_ns": namespace, "b_versions": some}):
                place = Placement(row.blob_id, row.offset, row.stored_size, Codec(row.codec))
                block = PlacedBlock(row.block_key, row.sha256, row.size, place, row.blake3)
                found.setdefault(row.version_id, []).append(block)
        return found

    def count_of_versions(
        self, namespace: NamespaceId, versions: Sequence[VersionId]
    ) -> Mapping[VersionId, int]:
        counts: dict[VersionId, int] = {}
        for some in slices(versions):
            rows = self._connection.execute(_COUNT_OF, {"b_ns": namespace, "b_versions": some})
            counts.update({row.version_id: row.blocks for row in rows})
        return counts

    def mark_bad(self, blob_ids: Sequence[BlobId], *, now: datetime) -> int:
        marked = 0
        for some in slices(blob_ids):
            change = update(blobs).where(blobs.c.blob_id.in_(some), blobs.c.bad_at.is_(None))
            marked += self._connection.execute(change.values(bad_at=now)).rowcount
        return marked

    def not_bad(self, blob_ids: Sequence[BlobId]) -> Sequence[BlobId]:
        good: list[BlobId] = []
        for some in slices(blob_ids):
            found = select(blobs.c.blob_id).where(blobs.c.blob_id.in_(some), blobs.c.bad_at.is_(None))
            good += self._connection.execute(found).scalars()
        return good

    def stored_blobs(self, container: str, *, after: BlobId | None, limit: int) -> Sequence[BlobId]:
        # The ids are text of one case, compared byte by byte in both databases, so their order is one order.
        page = select(blobs.c.blob_id).where(blobs.c.container == container, blobs.c.state == "STORED")
        if after is not None:
            page = page.where(blobs.c.blob_id > after)
        return list(self._connection.execute(page.order_by(blobs.c.blob_id).limit(limit)).scalars())

    def bad_blocks(self) -> int:
        referred = exists().where(
            version_blocks.c.ns_id == blocks.c.ns_id, version_blocks.c.block_key == blocks.c.block_key
        )
        count = (
            select(func.count())
            .select_from(blocks)
            .join(blobs, blobs.c.blob_id == blocks.c.blob_id)
            .where(blobs.c.bad_at.is_not(None), referred)
        )
        return self._connection.execute(count).scalar_one()
