"""Grants into the staging container, and the leases of timers."""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import BIG, ID, SHA256, UtcTime, ascii_key

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job", ID, nullable=False),
        sa.Column("fence", BIG, nullable=False),
        sa.Column("lease_until", UtcTime(), nullable=False),
        sa.Column("cursor", ascii_key(128), nullable=True),
        sa.Column("last_success_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("job", name="pk_jobs"),
    )
    op.create_table(
        "staging",
        sa.Column("staging_id", ID, nullable=False),
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("sha256", SHA256, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("state", ascii_key(8), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('GRANTED', 'ADMITTED', 'REFUSED', 'EXPIRED')", name=op.f("ck_staging_state")
        ),
        sa.CheckConstraint("size BETWEEN 1 AND 4194304", name=op.f("ck_staging_size")),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_staging_ns_id_namespaces"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_staging_user_id_users"),
        sa.PrimaryKeyConstraint("staging_id", name="pk_staging"),
    )
    op.create_index(
        "ix_staging_state_created_at_staging_id",
        "staging",
        ["state", "created_at", "staging_id"],
        unique=False,
    )
    op.create_index("ix_staging_user_id_state_size", "staging", ["user_id", "state", "size"], unique=False)
