"""What finding, restoring and purging deleted nodes needs."""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("purged_at", UtcTime(), nullable=True))
    op.create_index("ix_nodes_ns_id_parent_id", "nodes", ["ns_id", "parent_id"], unique=False)
    op.create_index(
        "ix_nodes_trash",
        "nodes",
        ["ns_id", "deleted_seq"],
        unique=False,
        sqlite_where=sa.text("deleted_seq IS NOT NULL"),
        mssql_where=sa.text("deleted_seq IS NOT NULL"),
    )
