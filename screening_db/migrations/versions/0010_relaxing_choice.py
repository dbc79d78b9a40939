"""A placement says whether the relaxing stage of its campaign was to relax it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "to_relax", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("stored_placement", column)
    # Every campaign that the stage ended has relaxed what was queued at its level.
    op.execute(
        "UPDATE stored_placement SET to_relax = true WHERE EXISTS (SELECT 1 FROM campaign m "
        "JOIN stored_candidate c ON c.key = stored_placement.candidate_key "
        "JOIN queue q ON q.item = c.id AND q.level = m.relaxing_level AND q.campaign = m.name "
        "WHERE m.key = stored_placement.campaign_key AND m.relaxing_level <> '')"
    )


def downgrade() -> None:
    op.drop_column("stored_placement", "to_relax")
