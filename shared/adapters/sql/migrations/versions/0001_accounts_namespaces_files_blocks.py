"""Accounts, namespaces, files and blocks: the first schema."""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import BIG, ID, SHA256, UtcTime, ascii_key, unicode_key

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("blob_id", ID, nullable=False),
        sa.Column("container", ascii_key(16), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("etag", ascii_key(64), nullable=True),
        sa.Column("state", ascii_key(8), nullable=False),
        sa.Column("referable", sa.Integer(), nullable=False),
        sa.Column("bad_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "(state = 'STORED' AND referable = 1) OR (state <> 'STORED' AND referable = 0)",
            name=op.f("ck_blobs_referable"),
        ),
        sa.CheckConstraint("state IN ('WRITING', 'STORED', 'RETIRING', 'GONE')", name=op.f("ck_blobs_state")),
        sa.PrimaryKeyConstraint("blob_id", name="pk_blobs"),
        sa.UniqueConstraint("blob_id", "referable", name="uq_blobs_blob_id_referable"),
    )
    op.create_index(
        "ix_blobs_bad",
        "blobs",
        ["bad_at"],
        unique=False,
        sqlite_where=sa.text("bad_at IS NOT NULL"),
        mssql_where=sa.text("bad_at IS NOT NULL"),
    )
    op.create_index("ix_blobs_container_state", "blobs", ["container", "state"], unique=False)

    op.create_table(
        "users",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("username", sa.Unicode(length=128), nullable=False),
        sa.Column("username_key", unicode_key(256), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("token_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        sa.UniqueConstraint("username_key", name="uq_users_username_key"),
    )
    op.create_table(
        "devices",
        sa.Column("device_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.Unicode(length=128), nullable=False),
        sa.Column("platform", sa.Unicode(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_seen_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_devices_user_id_users"),
        sa.PrimaryKeyConstraint("device_id", name="pk_devices"),
    )
    op.create_index("ix_devices_user_id", "devices", ["user_id"], unique=False)

    op.create_table(
        "idempotency",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("key", ascii_key(255), nullable=False),
        sa.Column("route", ascii_key(64), nullable=False),
        sa.Column("body_hash", SHA256, nullable=False),
        sa.Column("response", sa.UnicodeText(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_idempotency_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"], unique=False)

    op.create_table(
        "namespaces",
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("owner_id", ID, nullable=False),
        sa.Column("kind", ascii_key(8), nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("quota", BIG, nullable=False),
        sa.Column("used", BIG, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("kind IN ('personal', 'shared')", name=op.f("ck_namespaces_kind")),
        sa.CheckConstraint("used >= 0", name=op.f("ck_namespaces_used")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.user_id"], name="fk_namespaces_owner_id_users"),
        sa.PrimaryKeyConstraint("ns_id", name="pk_namespaces"),
    )
    op.create_index(
        "uq_namespaces_personal",
        "namespaces",
        ["owner_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'personal'"),
        mssql_where=sa.text("kind = 'personal'"),
    )

    op.create_table(
        "blocks",
        sa.Column("block_key", ID, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("sha256", SHA256, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("codec", ascii_key(8), nullable=False),
        sa.Column("blob_id", ID, nullable=False),
        sa.Column("blob_referable", sa.Integer(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("stored_size", sa.Integer(), nullable=False),
        sa.Column("condemned_at", UtcTime(), nullable=True),
        sa.CheckConstraint("codec IN ('none', 'zstd')", name=op.f("ck_blocks_codec")),
        sa.CheckConstraint("blob_referable = 1", name=op.f("ck_blocks_blob_referable")),
        sa.CheckConstraint("size BETWEEN 1 AND 4194304", name=op.f("ck_blocks_size")),
        sa.ForeignKeyConstraint(
            ["blob_id", "blob_referable"],
            ["blobs.blob_id", "blobs.referable"],
            name="fk_blocks_blob_id_blobs",
        ),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_blocks_ns_id_namespaces"),
        sa.PrimaryKeyConstraint("block_key", name="pk_blocks"),
        sa.UniqueConstraint("ns_id", "block_key", name="uq_blocks_ns_id_block_key"),
        sa.UniqueConstraint("ns_id", "sha256", name="uq_blocks_ns_id_sha256"),
    )
    op.create_index("ix_blocks_blob_id_blob_referable", "blocks", ["blob_id", "blob_referable"], unique=False)

    op.create_table(
        "changes",
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("seq", BIG, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", ascii_key(16), nullable=False),
        sa.Column("node_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_changes_ns_id_namespaces"),
        sa.PrimaryKeyConstraint("ns_id", "seq", "position", name="pk_changes"),
    )
    op.create_table(
        "members",
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", ascii_key(8), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'editor', 'viewer')", name=op.f("ck_members_role")),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_members_ns_id_namespaces"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_members_user_id_users"),
        sa.PrimaryKeyConstraint("ns_id", "user_id", name="pk_members"),
    )
    op.create_index("ix_members_user_id", "members", ["user_id"], unique=False)

    op.create_table(
        "nodes",
        sa.Column("node_id", ID, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("kind", ascii_key(8), nullable=False),
        sa.Column("name", sa.Unicode(length=255), nullable=False),
        sa.Column("name_key", unicode_key(400), nullable=False),
        sa.Column("head_version", ID, nullable=True),
        sa.Column("created_seq", BIG, nullable=False),
        sa.Column("created_position", sa.Integer(), nullable=False),
        sa.Column("deleted_seq", BIG, nullable=True),
        sa.CheckConstraint("kind IN ('file', 'folder')", name=op.f("ck_nodes_kind")),
        sa.ForeignKeyConstraint(
            ["ns_id", "parent_id"], ["nodes.ns_id", "nodes.node_id"], name="fk_nodes_ns_id_nodes"
        ),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_nodes_ns_id_namespaces"),
        sa.PrimaryKeyConstraint("node_id", name="pk_nodes"),
        sa.UniqueConstraint(
            "ns_id", "created_seq", "created_position", name="uq_nodes_ns_id_created_seq_created_position"
        ),
        sa.UniqueConstraint("ns_id", "node_id", name="uq_nodes_ns_id_node_id"),
    )
    op.create_index(
        "uq_nodes_living_names",
        "nodes",
        ["ns_id", "parent_id", "name_key"],
        unique=True,
        sqlite_where=sa.text("deleted_seq IS NULL"),
        mssql_where=sa.text("deleted_seq IS NULL"),
    )

    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", SHA256, nullable=False),
        sa.Column("family_id", ID, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("used_at", UtcTime(), nullable=True),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.device_id"], name="fk_refresh_tokens_device_id_devices"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_refresh_tokens_user_id_users"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_refresh_tokens"),
        sa.UniqueConstraint("family_id", "generation", name="uq_refresh_tokens_family_id_generation"),
    )
    op.create_index(
        "ix_refresh_tokens_user_id_device_id", "refresh_tokens", ["user_id", "device_id"], unique=False
    )

    op.create_table(
        "leases",
        sa.Column("block_key", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ns_id", "block_key"], ["blocks.ns_id", "blocks.block_key"], name="fk_leases_ns_id_blocks"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_leases_user_id_users"),
        sa.PrimaryKeyConstraint("block_key", "user_id", name="pk_leases"),
    )
    op.create_index("ix_leases_ns_id_block_key", "leases", ["ns_id", "block_key"], unique=False)
    op.create_index(
        "ix_leases_user_id_expires_at_size", "leases", ["user_id", "expires_at", "size"], unique=False
    )

    op.create_table(
        "versions",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("node_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("base_version", ID, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("root_hash", SHA256, nullable=False),
        sa.Column("author_id", ID, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("seq", BIG, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("modified_at", UtcTime(), nullable=False),
        sa.Column("purged_at", UtcTime(), nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_versions_size")),
        sa.ForeignKeyConstraint(["author_id"], ["users.user_id"], name="fk_versions_author_id_users"),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name="fk_versions_device_id_devices"),
        sa.ForeignKeyConstraint(
            ["ns_id", "node_id"], ["nodes.ns_id", "nodes.node_id"], name="fk_versions_ns_id_nodes"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_versions"),
        sa.UniqueConstraint("node_id", "base_version", name="uq_versions_node_id_base_version"),
        sa.UniqueConstraint("node_id", "number", name="uq_versions_node_id_number"),
        sa.UniqueConstraint("ns_id", "version_id", name="uq_versions_ns_id_version_id"),
    )
    op.create_table(
        "assemblies",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("blob_id", ID, nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.blob_id"], name="fk_assemblies_blob_id_blobs"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.version_id"], name="fk_assemblies_version_id_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_assemblies"),
    )
    op.create_index("ix_assemblies_blob_id", "assemblies", ["blob_id"], unique=False)

    op.create_table(
        "version_blocks",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("block_key", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["ns_id", "block_key"],
            ["blocks.ns_id", "blocks.block_key"],
            name="fk_version_blocks_ns_id_blocks",
        ),
        sa.ForeignKeyConstraint(
            ["ns_id", "version_id"],
            ["versions.ns_id", "versions.version_id"],
            name="fk_version_blocks_ns_id_versions",
        ),
        sa.PrimaryKeyConstraint("version_id", "position", name="pk_version_blocks"),
    )
    op.create_index(
        "ix_version_blocks_ns_id_block_key", "version_blocks", ["ns_id", "block_key"], unique=False
    )
