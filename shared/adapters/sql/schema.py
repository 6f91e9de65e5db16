"""The tables, with the keys and checks that make the rules the database's own.

References are edges, never counters, and every id is random. Four keys do the heavy work:

* `versions (node_id, base_version)` is unique: two commits on one base can't both exist.
* `version_blocks -> blocks` refuses an edge to a block that is gone, and the deletion of one that has an edge.
* `blocks -> blobs (blob_id, referable)` refuses a block in a blob that is not stored, and the retirement of a
  blob that a block is in: `referable` is 1 exactly while the blob is STORED.
* `nodes (ns_id, parent_id, name_key)` is unique among the living.

Migrations under migrations/ make these tables; a test holds both together.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Unicode,
    UnicodeText,
    UniqueConstraint,
    text,
)

from shared.adapters.sql.columns import BIG, BLAKE3, ID, SHA256, UtcTime, ascii_key, unicode_key

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("username", Unicode(128), nullable=False),
    Column("username_key", unicode_key(256), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("token_epoch", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("device_id", ID, primary_key=True),
    Column("user_id", ID, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("name", Unicode(128), nullable=False),
    Column("platform", Unicode(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    # Since when a hint waits for it on the bus.
    Column("hinted_at", UtcTime),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", SHA256, primary_key=True),
    Column("family_id", ID, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("user_id", ID, ForeignKey("users.user_id"), nullable=False),
    Column("device_id", ID, ForeignKey("devices.device_id"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("used_at", UtcTime),
    Column("revoked_at", UtcTime),
    UniqueConstraint("family_id", "generation"),
    Index(None, "user_id", "device_id"),
)

namespaces = Table(
    "namespaces",
    metadata,
    Column("ns_id", ID, primary_key=True),
    Column("owner_id", ID, ForeignKey("users.user_id"), nullable=False),
    Column("kind", ascii_key(8), nullable=False),
    Column("seq", BIG, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("upkeep", Integer, nullable=False, server_default="0"),
    Column("quota", BIG, nullable=False),
    Column("used", BIG, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    CheckConstraint("kind IN ('personal', 'shared')", name="kind"),
    CheckConstraint("used >= 0", name="used"),
    # A user has one personal namespace.
    Index(
        "uq_namespaces_personal",
        "owner_id",
        unique=True,
        sqlite_where=text("kind = 'personal'"),
        mssql_where=text("kind = 'personal'"),
    ),
)

members = Table(
    "members",
    metadata,
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), primary_key=True),
    Column("user_id", ID, ForeignKey("users.user_id"), primary_key=True),
    Column("role", ascii_key(8), nullable=False),
    CheckConstraint("role IN ('owner', 'editor', 'viewer')", name="role"),
    Index(None, "user_id"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("node_id", ID, primary_key=True),
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), nullable=False),
    Column("parent_id", ID),
    Column("kind", ascii_key(8), nullable=False),
    Column("name", Unicode(255), nullable=False),
    # Folding can make three characters of one that has two bytes: at most 382 from 255 bytes.
    Column("name_key", unicode_key(400), nullable=False),
    Column("head_version", ID),
    Column("created_seq", BIG, nullable=False),
    Column("created_position", Integer, nullable=False),
    Column("deleted_seq", BIG),
    Column("purged_at", UtcTime),
    UniqueConstraint("ns_id", "node_id"),
    # A parent is in the same namespace.
    ForeignKeyConstraint(["ns_id", "parent_id"], ["nodes.ns_id", "nodes.node_id"]),
    CheckConstraint("kind IN ('file', 'folder')", name="kind"),
    Index(
        "uq_nodes_living_names",
        "ns_id",
        "parent_id",
        "name_key",
        unique=True,
        sqlite_where=text("deleted_seq IS NULL"),
        mssql_where=text("deleted_seq IS NULL"),
    ),
    UniqueConstraint("ns_id", "created_seq", "created_position"),
    Index(
        "ix_nodes_trash",
        "ns_id",
        "deleted_seq",
        sqlite_where=text("deleted_seq IS NOT NULL"),
        mssql_where=text("deleted_seq IS NOT NULL"),
    ),
    # A page of a folder in order, whatever its length; and all its entries, the deleted too, for a purge to walk.
    Index(None, "ns_id", "parent_id", "kind", "name_key"),
)

versions = Table(
    "versions",
    metadata,
    Column("version_id", ID, primary_key=True),
    Column("ns_id", ID, nullable=False),
    Column("node_id", ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("base_version", ID, nullable=False),
    Column("size", BIG, nullable=False),
    Column("root_hash", SHA256, nullable=False),
    Column("author_id", ID, ForeignKey("users.user_id"), nullable=False),
    Column("device_id", ID, ForeignKey("devices.device_id"), nullable=False),
    Column("seq", BIG, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("modified_at", UtcTime, nullable=False),
    Column("purged_at", UtcTime),
    ForeignKeyConstraint(["ns_id", "node_id"], ["nodes.ns_id", "nodes.node_id"]),
    UniqueConstraint("ns_id", "version_id"),
    # Compare-and-swap by key: a version is the base of at most one other.
    UniqueConstraint("node_id", "base_version"),
    UniqueConstraint("node_id", "number"),
    CheckConstraint("size >= 0", name="size"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("blob_id", ID, primary_key=True),
    Column("container", ascii_key(16), nullable=False),
    Column("size", BIG, nullable=False),
    Column("etag", ascii_key(64)),
    Column("state", ascii_key(8), nullable=False),
    Column("referable", Integer, nullable=False),
    Column("bad_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("blob_id", "referable"),
    CheckConstraint("state IN ('WRITING', 'STORED', 'RETIRING', 'GONE')", name="state"),
    CheckConstraint(
        "(state = 'STORED' AND referable = 1) OR (state <> 'STORED' AND referable = 0)", name="referable"
    ),
    Index(None, "container", "state"),
    Index(
        "ix_blobs_bad",
        "bad_at",
        sqlite_where=text("bad_at IS NOT NULL"),
        mssql_where=text("bad_at IS NOT NULL"),
    ),
)

blocks = Table(
    "blocks",
    metadata,
    Column("block_key", ID, primary_key=True),
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("size", Integer, nullable=False),
    Column("codec", ascii_key(8), nullable=False),
    Column("blob_id", ID, nullable=False),
    Column("blob_referable", Integer, nullable=False),
    Column("offset", Integer, nullable=False),
    Column("stored_size", Integer, nullable=False),
    Column("blake3", BLAKE3),
    Column("condemned_at", UtcTime),
    UniqueConstraint("ns_id", "sha256"),
    UniqueConstraint("ns_id", "block_key"),
    ForeignKeyConstraint(["blob_id", "blob_referable"], ["blobs.blob_id", "blobs.referable"]),
    CheckConstraint("size BETWEEN 1 AND 4194304", name="size"),
    CheckConstraint("codec IN ('none', 'zstd')", name="codec"),
    CheckConstraint("blob_referable = 1", name="blob_referable"),
    Index(None, "blob_id", "blob_referable"),
)

version_blocks = Table(
    "version_blocks",
    metadata,
    Column("version_id", ID, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("ns_id", ID, nullable=False),
    Column("block_key", ID, nullable=False),
    ForeignKeyConstraint(["ns_id", "version_id"], ["versions.ns_id", "versions.version_id"]),
    ForeignKeyConstraint(["ns_id", "block_key"], ["blocks.ns_id", "blocks.block_key"]),
    Index(None, "ns_id", "block_key"),
)

staging = Table(
    "staging",
    metadata,
    Column("staging_id", ID, primary_key=True),
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), nullable=False),
    Column("user_id", ID, ForeignKey("users.user_id"), nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", ascii_key(8), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    CheckConstraint("size BETWEEN 1 AND 4194304", name="size"),
    CheckConstraint("state IN ('GRANTED', 'ADMITTED', 'REFUSED', 'EXPIRED')", name="state"),
    # Covers the sum of what a user has reserved.
    Index(None, "user_id", "state", "size"),
    Index(None, "state", "created_at", "staging_id"),
)

leases = Table(
    "leases",
    metadata,
    Column("block_key", ID, primary_key=True),
    Column("user_id", ID, ForeignKey("users.user_id"), primary_key=True),
    Column("ns_id", ID, nullable=False),
    Column("size", Integer, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    ForeignKeyConstraint(["ns_id", "block_key"], ["blocks.ns_id", "blocks.block_key"]),
    Index(None, "ns_id", "block_key"),
    # Covers the sum of what a user has uploaded and not committed.
    Index(None, "user_id", "expires_at", "size"),
)

changes = Table(
    "changes",
    metadata,
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), primary_key=True),
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", ascii_key(16), nullable=False),
    Column("node_id", ID, nullable=False),
    Column("version_id", ID),
    Column("device_id", ID, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # Of what was moved or restored: where it was before.
    Column("from_parent", ID),
    Column("from_name", Unicode(255)),
    Index(None, "ns_id", "device_id", "created_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("ns_id", ID, ForeignKey("namespaces.ns_id"), primary_key=True),
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("created_at", UtcTime, nullable=False),
    Index(None, "created_at", "ns_id", "seq"),
)

replies = Table(
    "idempotency",
    metadata,
    Column("user_id", ID, ForeignKey("users.user_id"), primary_key=True),
    Column("key", ascii_key(255), primary_key=True),
    Column("route", ascii_key(64), nullable=False),
    Column("body_hash", SHA256, nullable=False),
    Column("response", UnicodeText, nullable=False),
    Column("expires_at", UtcTime, nullable=False, index=True),
)

assemblies = Table(
    "assemblies",
    metadata,
    Column("version_id", ID, ForeignKey("versions.version_id"), primary_key=True),
    Column("blob_id", ID, ForeignKey("blobs.blob_id"), nullable=False, index=True),
    Column("expires_at", UtcTime, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job", ascii_key(32), primary_key=True),
    Column("fence", BIG, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("cursor", ascii_key(128)),
    Column("last_success_at", UtcTime),
)
