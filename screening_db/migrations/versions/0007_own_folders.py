"""A database records its id, its folders, who holds a campaign, and how long its leases last."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    identity = op.create_table(
        "database_identity",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_database_identity_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_database_identity")),
    )
    op.bulk_insert(identity, [{"one": 1, "id": uuid.uuid4().hex}])
    op.create_table(
        "database_folder",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "kind in ('lake', 'work', 'models')", name=op.f("ck_database_folder_kind_known")
        ),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_database_folder")),
    )
    op.create_table(
        "campaign_holder",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", name=op.f("pk_campaign_holder")),
    )
    # leases of before have none, and are waited for as long as those of who waits
    op.add_column("queue", sa.Column("lease_s", sa.Double(), nullable=True))
    op.add_column("calculation", sa.Column("reported_at", sa.Double(), nullable=True))
    op.execute("UPDATE calculation SET reported_at = ended_at")


def downgrade() -> None:
    op.drop_column("calculation", "reported_at")
    op.drop_column("queue", "lease_s")
    for table in ("campaign_holder", "database_folder", "database_identity"):
        op.drop_table(table)
