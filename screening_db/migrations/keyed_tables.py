"""The tables before and after candidates, pairs and campaigns have short keys (revision 0006)."""

from typing import Any

import sqlalchemy as sa
from alembic import op

Parts = list[sa.Column[Any] | sa.Constraint]
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# What the columns of rows that refer to others refer to.
REFERENCES = {
    "bulk_id": "bulk.id",
    "slab_id": "slab.id",
    "adsorbate": "adsorbate.name",
    "level": "level_of_theory.name",
    "checkpoint_sha256": "checkpoint.sha256",
    "campaign": "campaign.name",
    "candidate_id": "candidate.id",
    "campaign_key": "campaign.key",
    "pair_key": "pair.key",
    "candidate_key": "stored_candidate.key",
    "predictor_key": "predictor.key",
}
STAGES = "stage in ('bulk', 'slab', 'adsorbate', 'element', 'pair', 'placement')"
PLACEMENT_STATES = "('out_of_domain', 'predicted', 'queued', 'kept', 'passed_over')"


def key_parts(table: str) -> Parts:
    """Return the column of a short key, which the database counts up."""
    return [
        sa.Column("key", KEY, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{table}")),
    ]


def text_columns(*names: str) -> list[sa.Column[Any]]:
    """Return columns of text."""
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _referring(table: str, *names: str) -> Parts:
    """Return columns that refer to rows of other tables, and the rules that these are there."""
    keys = [
        sa.ForeignKeyConstraint([name], [REFERENCES[name]], name=op.f(f"fk_{table}_{name}"))
        for name in names
    ]
    return [
        *(sa.Column(n, KEY if n.endswith("_key") else sa.Text(), nullable=False) for n in names),
        *keys,
    ]


def check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    """Return a rule of a table."""
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def new_slab_columns() -> list[sa.Column[Any]]:
    """Return the columns that slabs of one's own and edits need."""
    names = ("formula", "edit")
    return [sa.Column(name, sa.Text(), nullable=False, server_default="") for name in names]


def slab_parts(*, own: bool) -> Parts:
    """Return the table of slabs, with or without what slabs of one's own need."""
    integers = ("miller_h", "miller_k", "miller_l")
    bulk, rule = _referring("slab", "bulk_id")
    if isinstance(bulk, sa.Column):
        bulk.nullable = own
    return [
        *text_columns("id"),
        bulk,
        *(sa.Column(name, sa.Integer(), nullable=False) for name in integers),
        sa.Column("shift", sa.Double(), nullable=False),
        *text_columns("side"),
        sa.Column("n_atoms", sa.Integer(), nullable=False),
        *text_columns("elements", "structure"),
        *(new_slab_columns() if own else ()),
        check("slab", "side_known", "side in ('top', 'bottom')"),
        check("slab", "n_atoms_positive", "n_atoms > 0"),
        rule,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slab")),
    ]


def campaign_parts() -> Parts:
    """Return the table of campaigns without its key."""
    return [
        *text_columns("name", "config_sha256", "config"),
        *_referring("campaign", "level", "checkpoint_sha256"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        *text_columns("status"),
        sa.Column("verification_level", sa.Text(), nullable=True),
        sa.Column("screened_with", sa.Text(), nullable=False, server_default=""),
        check("campaign", "status_known", "status in ('running', 'finished')"),
    ]


def create_stored() -> None:
    """Create the tables with short keys, empty."""
    op.create_table(
        "pair",
        *key_parts("pair"),
        *text_columns("id"),
        *_referring("pair", "slab_id", "adsorbate"),
        sa.UniqueConstraint("id", name=op.f("uq_pair_id")),
    )
    op.create_table(
        "stored_candidate",
        *key_parts("stored_candidate"),
        *text_columns("id"),
        *_referring("stored_candidate", "pair_key"),
        *text_columns("site_kind", "site", "recipe"),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.UniqueConstraint("id", name=op.f("uq_stored_candidate_id")),
    )
    op.create_index("ix_stored_candidate_pair_key", "stored_candidate", ["pair_key"])
    op.create_table(
        "predictor",
        *key_parts("predictor"),
        *_referring("predictor", "checkpoint_sha256", "level"),
        sa.UniqueConstraint(
            "checkpoint_sha256", "level", name=op.f("uq_predictor_checkpoint_sha256_level")
        ),
    )
    _create_predictions("stored_prediction", "candidate_key", "predictor_key")
    op.create_table(
        "stored_item",
        *_referring("stored_item", "campaign"),
        *text_columns("stage", "item_id", "state", "reason"),
        check("stored_item", "stage_known", STAGES),
        check(
            "stored_item",
            "state_of_stage",
            "state = 'refused' or (stage <> 'placement' and state = 'used')",
        ),
        check("stored_item", "refusal_has_reason", "state <> 'refused' or reason <> ''"),
        sa.PrimaryKeyConstraint("campaign", "stage", "item_id", name=op.f("pk_stored_item")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stored_placement",
        *_referring("stored_placement", "campaign_key", "candidate_key"),
        *text_columns("state", "reason"),
        sa.Column("contender", sa.Boolean(), nullable=False),
        check("stored_placement", "state_known", f"state in {PLACEMENT_STATES}"),
        check("stored_placement", "refusal_has_reason", "state <> 'out_of_domain' or reason <> ''"),
        sa.PrimaryKeyConstraint("campaign_key", "candidate_key", name=op.f("pk_stored_placement")),
        sqlite_with_rowid=False,
    )
    _create_contenders("stored_placement", "campaign_key", "candidate_key")
    _create_ranks(
        "stored_rank", "pair_key", *_referring("stored_rank", "pair_key", "candidate_key")
    )


def create_former() -> None:
    """Create the tables of the former release; the names of its views are free."""
    op.create_table(
        "candidate",
        *text_columns("id", "pair_id"),
        *_referring("candidate", "slab_id", "adsorbate"),
        *text_columns("site_kind", "site", "recipe"),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
    )
    op.create_index("ix_candidate_pair_id", "candidate", ["pair_id"])
    _create_predictions("prediction", "candidate_id", "checkpoint_sha256", "level")
    op.create_table(
        "campaign_item",
        *_referring("campaign_item", "campaign"),
        *text_columns("stage", "item_id", "state", "reason"),
        sa.Column("contender", sa.Boolean(), nullable=False, server_default=sa.false()),
        check("campaign_item", "stage_known", STAGES),
        check(
            "campaign_item",
            "state_of_stage",
            "state = 'refused' or (stage <> 'placement' and state = 'used') or "
            f"(stage = 'placement' and state in {PLACEMENT_STATES})",
        ),
        check(
            "campaign_item",
            "refusal_has_reason",
            "state not in ('refused', 'out_of_domain') or reason <> ''",
        ),
        sa.PrimaryKeyConstraint("campaign", "stage", "item_id", name=op.f("pk_campaign_item")),
        sqlite_with_rowid=False,
    )
    _create_contenders("campaign_item", "campaign", "item_id")
    _create_ranks(
        "rank",
        "pair_id",
        *text_columns("pair_id"),
        *_referring("rank", "candidate_id"),
        *text_columns("adsorbate"),
    )


def _create_predictions(table: str, *names: str) -> None:
    op.create_table(
        table,
        *_referring(table, *names),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("energy_ev", "sigma_ev")),
        *(sa.Column(name, sa.Double(), nullable=True) for name in ("regression_ev", "token_ev")),
        sa.Column("in_domain", sa.Boolean(), nullable=False),
        *text_columns("reason"),
        *(
            check(table, f"{name}_finite", f"{name} > -1e6 and {name} < 1e6")
            for name in ("energy_ev", "regression_ev", "token_ev")
        ),
        check(table, "sigma_non_negative", "sigma_ev >= 0 and sigma_ev < 1e6"),
        sa.PrimaryKeyConstraint(*names, name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )


def _create_contenders(table: str, *names: str) -> None:
    op.create_index(
        f"ix_{table}_contender",
        table,
        list(names),
        sqlite_where=sa.text("contender = 1"),
        postgresql_where=sa.text("contender"),
    )


def _create_ranks(table: str, pair: str, *others: sa.Column[Any] | sa.Constraint) -> None:
    op.create_table(
        table,
        *_referring(table, "campaign"),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rank_group", sa.Integer(), nullable=False),
        *others,
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("energy_ev", "sigma_ev", "probability")
        ),
        check(table, "probability_in_0_1", "probability >= 0 and probability <= 1"),
        check(table, "rank_from_1", "rank >= 1"),
        sa.PrimaryKeyConstraint("campaign", "rank", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("campaign", pair, name=op.f(f"uq_{table}_campaign_{pair}")),
        sqlite_with_rowid=False,
    )
