"""A process on a server keeps the name of its last write, to ask later whether it was stored."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "last_write",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_last_write")),
    )


def downgrade() -> None:
    op.drop_table("last_write")
