"""Which checkpoint serves, fine-tunings and rounds; a campaign may be ranked by another checkpoint.

Placements that were kept or queued become contenders: another checkpoint predicts them alone.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# {standing} is filled in; the rest is as in 0002.
PAIR_MINIMUM = """
CREATE VIEW pair_minimum AS
SELECT campaign, pair_id, slab_id, adsorbate, candidate_id, energy_ev, sigma_ev, n_placements
FROM (
    SELECT i.campaign, c.pair_id, c.slab_id, c.adsorbate, p.candidate_id, p.energy_ev, p.sigma_ev,
        count(*) OVER (PARTITION BY i.campaign, c.pair_id) AS n_placements,
        row_number() OVER (
            PARTITION BY i.campaign, c.pair_id ORDER BY p.energy_ev, p.candidate_id
        ) AS place
    FROM campaign_item i
    JOIN campaign m ON m.name = i.campaign
    JOIN candidate c ON c.id = i.item_id
    JOIN prediction p ON p.candidate_id = c.id AND p.level = m.level
        AND p.checkpoint_sha256 = m.checkpoint_sha256
    WHERE i.stage = 'placement' AND {standing}
) AS placed
WHERE place = 1
"""
FORMER_STANDING = "i.state NOT IN ('refused', 'out_of_domain')"
# In the domain of the present checkpoint, whatever the one before said. Placements that were passed
# over may have a prediction of it too, from another campaign: they stay out, or what another
# campaign did would change this ranking.
STANDING = (
    "i.state <> 'refused' AND p.in_domain "
    "AND (i.contender OR m.checkpoint_sha256 = m.screened_with)"
)


def upgrade() -> None:
    for column in _checkpoint_columns():
        op.add_column("checkpoint", column)
    op.execute("UPDATE checkpoint SET model = name")
    op.execute("UPDATE checkpoint SET folder = name WHERE name LIKE '/%'")
    op.add_column("campaign", _screened_with())
    op.execute("UPDATE campaign SET screened_with = checkpoint_sha256")
    op.add_column("campaign_item", _contender())
    op.execute(
        "UPDATE campaign_item SET contender = true "
        "WHERE stage = 'placement' AND state IN ('kept', 'queued')"
    )
    op.create_index(
        "ix_campaign_item_contender",
        "campaign_item",
        ["campaign", "item_id"],
        sqlite_where=sa.text("contender = 1"),
        postgresql_where=sa.text("contender"),
    )
    op.execute("DROP VIEW pair_minimum")
    op.execute(PAIR_MINIMUM.format(standing=STANDING))
    _create_promotion()
    _create_fine_tuning()
    _create_round()


def downgrade() -> None:
    """Go back; rankings stay those of the checkpoint that made them, its history is lost."""
    for table in ("round", "fine_tuning", "promotion"):
        op.drop_table(table)
    op.execute("DROP VIEW pair_minimum")
    op.drop_index("ix_campaign_item_contender", "campaign_item")
    op.drop_column("campaign_item", "contender")
    op.drop_column("campaign", "screened_with")
    for column in reversed(_checkpoint_columns()):
        op.drop_column("checkpoint", column.name)
    op.execute(PAIR_MINIMUM.format(standing=FORMER_STANDING))


def _checkpoint_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("model", sa.Text(), nullable=False, server_default=""),
        sa.Column("folder", sa.Text(), nullable=False, server_default=""),
        sa.Column("parent_sha256", sa.Text(), nullable=True),
    ]


def _screened_with() -> sa.Column[Any]:
    return sa.Column("screened_with", sa.Text(), nullable=False, server_default="")


def _contender() -> sa.Column[Any]:
    return sa.Column("contender", sa.Boolean(), nullable=False, server_default=sa.false())


def _create_promotion() -> None:
    op.create_table(
        "promotion",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("previous_sha256", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "why in ('gate', 'by hand', 'rollback')", name=op.f("ck_promotion_why_known")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_promotion_number_from_1")),
        sa.CheckConstraint(
            "checkpoint_sha256 <> previous_sha256", name=op.f("ck_promotion_serves_another")
        ),
        _checkpoint_key("promotion", "checkpoint_sha256"),
        _checkpoint_key("promotion", "previous_sha256"),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_promotion")),
    )


def _create_fine_tuning() -> None:
    op.create_table(
        "fine_tuning",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parent_sha256", sa.Text(), nullable=False),
        sa.Column("training_set", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("n_labels", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "state in ('running', 'accepted', 'rejected', 'failed')",
            name=op.f("ck_fine_tuning_state_known"),
        ),
        sa.CheckConstraint("n_labels >= 0", name=op.f("ck_fine_tuning_n_labels_non_negative")),
        sa.CheckConstraint(
            "state not in ('accepted', 'rejected') or checkpoint_sha256 is not null",
            name=op.f("ck_fine_tuning_judged_is_a_checkpoint"),
        ),
        sa.CheckConstraint(
            "(state = 'running') = (ended_at is null)",
            name=op.f("ck_fine_tuning_ended_has_time"),
        ),
        _checkpoint_key("fine_tuning", "parent_sha256"),
        _checkpoint_key("fine_tuning", "checkpoint_sha256"),
        sa.ForeignKeyConstraint(
            ["level"], ["level_of_theory.name"], name=op.f("fk_fine_tuning_level")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tuning")),
    )
    op.create_index("ix_fine_tuning_campaign", "fine_tuning", ["campaign"])
    op.create_index("ix_fine_tuning_checkpoint_sha256", "fine_tuning", ["checkpoint_sha256"])


def _create_round() -> None:
    counts = ("converged", "anomalous", "failed", "labels", "found")
    new = ("mae_new_ev", "coverage_new")
    compared = ("mae_before_ev", "mae_after_ev", "coverage_before", "coverage_after")
    op.create_table(
        "round",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("spent", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        *(sa.Column(name, sa.Double(), nullable=True) for name in (*new, *compared)),
        sa.Column("checkpoint_before", sa.Text(), nullable=True),
        sa.Column("checkpoint_after", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("stopped", sa.Text(), nullable=False),
        sa.CheckConstraint("state in ('running', 'finished')", name=op.f("ck_round_state_known")),
        sa.CheckConstraint(
            "verdict in ('', 'accepted', 'rejected', 'failed')", name=op.f("ck_round_verdict_known")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_round_number_from_1")),
        sa.CheckConstraint(
            "(state = 'running') = (ended_at is null)", name=op.f("ck_round_ended_has_time")
        ),
        sa.CheckConstraint(
            "converged >= 0 and anomalous >= 0 and failed >= 0 and labels >= 0 and found >= 0",
            name=op.f("ck_round_counts_non_negative"),
        ),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.name"], name=op.f("fk_round_campaign")),
        _checkpoint_key("round", "checkpoint_before"),
        _checkpoint_key("round", "checkpoint_after"),
        sa.PrimaryKeyConstraint("campaign", "number", name=op.f("pk_round")),
    )
    op.create_index(
        "ix_round_running",
        "round",
        ["campaign"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )


def _checkpoint_key(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], ["checkpoint.sha256"], name=op.f(f"fk_{table}_{column}")
    )
