"""A count of what the journal doesn't tell.

The journal tells of files and folders. That a block lies elsewhere since it was healed changes no file, but it changes
what a manifest says; whoever remembers manifests has to see it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("namespaces", sa.Column("upkeep", sa.Integer(), nullable=False, server_default="0"))
