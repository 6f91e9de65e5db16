"""What undoing a device's changes needs: where something was before it was moved, and whose changes are whose."""

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
