"""Undo, and folders of any length.

Undoing needs where something was before it was moved, and whose changes are whose. A page of a folder needs an index
in the page's order: with one that ends before the name, the database sorts the whole folder for each page.
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import ID

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("changes", sa.Column("from_parent", ID, nullable=True))
    op.add_column("changes", sa.Column("from_name", sa.Unicode(255), nullable=True))
    op.create_index(
        "ix_changes_ns_id_device_id_created_at", "changes", ["ns_id", "device_id", "created_at"], unique=False
    )
    op.drop_index("ix_nodes_ns_id_parent_id", table_name="nodes")
    op.create_index(
        "ix_nodes_ns_id_parent_id_kind_name_key",
        "nodes",
        ["ns_id", "parent_id", "kind", "name_key"],
        unique=False,
    )
