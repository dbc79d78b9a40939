"""The tables of a screening and of its verification."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "adsorbate",
    "bulk",
    "checkpoint",
    "level_of_theory",
    "campaign",
    "reference_energy",
    "slab",
    "campaign_item",
    "candidate",
    "chunk",
    "label",
    "prediction",
    "queue",
    "rank",
)


def upgrade() -> None:
    op.create_table(
        "adsorbate",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("formula", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.Column("binding", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_adsorbate")),
    )
    op.create_table(
        "bulk",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("formula", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk")),
    )
    op.create_table(
        "checkpoint",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_checkpoint")),
    )
    op.create_table(
        "level_of_theory",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("level_hash", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("functional", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_level_of_theory")),
        sa.UniqueConstraint("level_hash", name=op.f("uq_level_of_theory_level_hash")),
    )
    op.create_table(
        "campaign",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status in ('running', 'finished')", name=op.f("ck_campaign_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint_sha256"], ["checkpoint.sha256"], name=op.f("fk_campaign_checkpoint_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["level"], ["level_of_theory.name"], name=op.f("fk_campaign_level")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_campaign")),
    )
    op.create_table(
        "reference_energy",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("energy_ev", sa.Double(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('gas', 'slab')", name=op.f("ck_reference_energy_kind_known")),
        sa.ForeignKeyConstraint(
            ["level"], ["level_of_theory.name"], name=op.f("fk_reference_energy_level")
        ),
        sa.PrimaryKeyConstraint("level", "kind", "item", name=op.f("pk_reference_energy")),
    )
    op.create_table(
        "slab",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bulk_id", sa.Text(), nullable=False),
        sa.Column("miller_h", sa.Integer(), nullable=False),
        sa.Column("miller_k", sa.Integer(), nullable=False),
        sa.Column("miller_l", sa.Integer(), nullable=False),
        sa.Column("shift", sa.Double(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("n_atoms", sa.Integer(), nullable=False),
        sa.Column("elements", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.CheckConstraint("side in ('top', 'bottom')", name=op.f("ck_slab_side_known")),
        sa.CheckConstraint("n_atoms > 0", name=op.f("ck_slab_n_atoms_positive")),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulk.id"], name=op.f("fk_slab_bulk_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slab")),
    )
    op.create_index(op.f("ix_slab_bulk_id"), "slab", ["bulk_id"], unique=False)
    op.create_table(
        "campaign_item",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "stage in ('bulk', 'slab', 'adsorbate', 'element', 'pair', 'placement')",
            name=op.f("ck_campaign_item_stage_known"),
        ),
        sa.CheckConstraint(
            "state = 'refused' or (stage <> 'placement' and state = 'used') or "
            "(stage = 'placement' and state in "
            "('out_of_domain', 'predicted', 'queued', 'kept', 'passed_over'))",
            name=op.f("ck_campaign_item_state_of_stage"),
        ),
        sa.CheckConstraint(
            "state not in ('refused', 'out_of_domain') or reason <> ''",
            name=op.f("ck_campaign_item_refusal_has_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaign.name"], name=op.f("fk_campaign_item_campaign")
        ),
        sa.PrimaryKeyConstraint("campaign", "stage", "item_id", name=op.f("pk_campaign_item")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "candidate",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("slab_id", sa.Text(), nullable=False),
        sa.Column("adsorbate", sa.Text(), nullable=False),
        sa.Column("site_kind", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adsorbate"], ["adsorbate.name"], name=op.f("fk_candidate_adsorbate")
        ),
        sa.ForeignKeyConstraint(["slab_id"], ["slab.id"], name=op.f("fk_candidate_slab_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
    )
    op.create_index(op.f("ix_candidate_pair_id"), "candidate", ["pair_id"], unique=False)
    op.create_table(
        "chunk",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("chunk_id", sa.Text(), nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.name"], name=op.f("fk_chunk_campaign")),
        sa.PrimaryKeyConstraint("campaign", "chunk_id", name=op.f("pk_chunk")),
    )
    op.create_table(
        "label",
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("energy_ev", sa.Double(), nullable=False),
        sa.Column("e_adslab", sa.Double(), nullable=False),
        sa.Column("e_slab", sa.Double(), nullable=False),
        sa.Column("e_references", sa.Text(), nullable=False),
        sa.Column("converged", sa.Boolean(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("fmax", sa.Double(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=False),
        sa.Column("trainable", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "converged or not trainable", name=op.f("ck_label_trainable_is_converged")
        ),
        sa.CheckConstraint(
            "energy_ev > -1e6 and energy_ev < 1e6", name=op.f("ck_label_energy_ev_finite")
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_label_candidate_id")
        ),
        sa.ForeignKeyConstraint(["level"], ["level_of_theory.name"], name=op.f("fk_label_level")),
        sa.PrimaryKeyConstraint("candidate_id", "level", name=op.f("pk_label")),
    )
    op.create_table(
        "prediction",
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("energy_ev", sa.Double(), nullable=False),
        sa.Column("sigma_ev", sa.Double(), nullable=False),
        sa.Column("regression_ev", sa.Double(), nullable=True),
        sa.Column("token_ev", sa.Double(), nullable=True),
        sa.Column("in_domain", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "energy_ev > -1e6 and energy_ev < 1e6", name=op.f("ck_prediction_energy_ev_finite")
        ),
        sa.CheckConstraint(
            "regression_ev > -1e6 and regression_ev < 1e6",
            name=op.f("ck_prediction_regression_ev_finite"),
        ),
        sa.CheckConstraint(
            "sigma_ev >= 0 and sigma_ev < 1e6", name=op.f("ck_prediction_sigma_non_negative")
        ),
        sa.CheckConstraint(
            "token_ev > -1e6 and token_ev < 1e6", name=op.f("ck_prediction_token_ev_finite")
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_prediction_candidate_id")
        ),
        sa.ForeignKeyConstraint(
            ["checkpoint_sha256"],
            ["checkpoint.sha256"],
            name=op.f("fk_prediction_checkpoint_sha256"),
        ),
        sa.ForeignKeyConstraint(
            ["level"], ["level_of_theory.name"], name=op.f("fk_prediction_level")
        ),
        sa.PrimaryKeyConstraint(
            "candidate_id", "checkpoint_sha256", "level", name=op.f("pk_prediction")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue",
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_token is not null and lease_until is not null)",
            name=op.f("ck_queue_lease_complete"),
        ),
        sa.CheckConstraint(
            "state in ('queued', 'leased', 'converged', 'anomalous', 'failed')",
            name=op.f("ck_queue_state_known"),
        ),
        sa.CheckConstraint("why in ('promising', 'uncertain')", name=op.f("ck_queue_why_known")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_queue_candidate_id")
        ),
        sa.ForeignKeyConstraint(["level"], ["level_of_theory.name"], name=op.f("fk_queue_level")),
        sa.PrimaryKeyConstraint("candidate_id", "level", name=op.f("pk_queue")),
    )
    op.create_index(
        "ix_queue_leased",
        "queue",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_queue_ready",
        "queue",
        ["level", sa.literal_column("priority DESC"), "candidate_id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "rank",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rank_group", sa.Integer(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("adsorbate", sa.Text(), nullable=False),
        sa.Column("energy_ev", sa.Double(), nullable=False),
        sa.Column("sigma_ev", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "probability >= 0 and probability <= 1", name=op.f("ck_rank_probability_in_0_1")
        ),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_rank_rank_from_1")),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.name"], name=op.f("fk_rank_campaign")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_rank_candidate_id")
        ),
        sa.PrimaryKeyConstraint("campaign", "rank", name=op.f("pk_rank")),
        sa.UniqueConstraint("campaign", "pair_id", name=op.f("uq_rank_campaign_pair_id")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
