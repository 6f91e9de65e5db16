"""A second hash of each block, by which large downloads are verified.

Blocks that were here before have none: they are verified by the hash that names them.
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.sql.columns import BLAKE3

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("blocks", sa.Column("blake3", BLAKE3, nullable=True))
