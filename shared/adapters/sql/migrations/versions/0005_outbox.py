"""The outbox of events, and notes of the hints that wait for devices."""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import BIG, ID, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("ns_id", ID, nullable=False),
        sa.Column("seq", BIG, autoincrement=False, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["ns_id"], ["namespaces.ns_id"], name="fk_outbox_ns_id_namespaces"),
        sa.PrimaryKeyConstraint("ns_id", "seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_created_at_ns_id_seq", "outbox", ["created_at", "ns_id", "seq"], unique=False)
    op.add_column("devices", sa.Column("hinted_at", UtcTime(), nullable=True))
