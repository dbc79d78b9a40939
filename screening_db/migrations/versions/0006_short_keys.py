"""Short integer keys for the largest tables, aliases of ids, and slabs of one's own.

Candidates, predictions, ranks and states of placements refer to each other by short keys; ids are
stored once. Views of the former names show the former columns, so that one queries as before.
"""

import sqlalchemy as sa
from alembic import context, op

from screening_db.migrations.id_views import ID_VIEWS, VIEWS, view_statements
from screening_db.migrations.keyed_tables import (
    Parts,
    campaign_parts,
    check,
    create_former,
    create_stored,
    key_parts,
    new_slab_columns,
    slab_parts,
    text_columns,
)

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SLAB = "id, bulk_id, miller_h, miller_k, miller_l, shift, side, n_atoms, elements, structure"
CAMPAIGN = (
    "name, config_sha256, config, level, checkpoint_sha256, seed, status, verification_level, "
    "screened_with"
)
ENERGIES = "energy_ev, sigma_ev, regression_ev, token_ev, in_domain, reason"

# Rows are copied in the order in which they are read later: the placements of a pair together.
# Where a row names another that is not there, LEFT JOIN finds no key and the migration is refused.
COPY_IN = (
    "INSERT INTO pair (id, slab_id, adsorbate) SELECT pair_id, min(slab_id), min(adsorbate) "
    "FROM candidate GROUP BY pair_id ORDER BY pair_id",
    "INSERT INTO stored_candidate (id, pair_key, site_kind, site, recipe, structure) "
    "SELECT c.id, p.key, c.site_kind, c.site, c.recipe, c.structure "
    "FROM candidate c JOIN pair p ON p.id = c.pair_id ORDER BY p.key, c.id",
    "INSERT INTO predictor (checkpoint_sha256, level) "
    "SELECT DISTINCT checkpoint_sha256, level FROM prediction ORDER BY 1, 2",
    f"INSERT INTO stored_prediction (candidate_key, predictor_key, {ENERGIES}) "
    f"SELECT c.key, d.key, {ENERGIES} FROM prediction p "
    "LEFT JOIN stored_candidate c ON c.id = p.candidate_id JOIN predictor d "
    "ON d.checkpoint_sha256 = p.checkpoint_sha256 AND d.level = p.level ORDER BY c.key, d.key",
    "INSERT INTO stored_item (campaign, stage, item_id, state, reason) "
    "SELECT campaign, stage, item_id, state, reason FROM campaign_item "
    "WHERE stage <> 'placement' OR state = 'refused'",
    "INSERT INTO stored_placement (campaign_key, candidate_key, state, reason, contender) "
    "SELECT m.key, c.key, i.state, i.reason, i.contender FROM campaign_item i "
    "JOIN campaign m ON m.name = i.campaign LEFT JOIN stored_candidate c ON c.id = i.item_id "
    "WHERE i.stage = 'placement' AND i.state <> 'refused' ORDER BY m.key, c.key",
    "INSERT INTO stored_rank (campaign, rank, rank_group, pair_key, candidate_key, energy_ev, "
    "sigma_ev, probability) SELECT r.campaign, r.rank, r.rank_group, p.key, c.key, r.energy_ev, "
    "r.sigma_ev, r.probability FROM rank r "
    "LEFT JOIN pair p ON p.id = r.pair_id LEFT JOIN stored_candidate c ON c.id = r.candidate_id",
)
# The former tables are filled from what the views of their names select.
COPY_OUT = {
    "candidate": "id, pair_id, slab_id, adsorbate, site_kind, site, recipe, structure",
    "prediction": f"candidate_id, checkpoint_sha256, level, {ENERGIES}",
    "campaign_item": "campaign, stage, item_id, state, reason, contender",
    "rank": "campaign, rank, rank_group, pair_id, candidate_id, adsorbate, energy_ev, sigma_ev, "
    "probability",
}


def upgrade() -> None:
    _drop_views(*VIEWS)
    _add_columns()
    _count_campaigns()
    create_stored()
    for statement in COPY_IN:
        op.execute(statement)
    for table in ("rank", "prediction", "campaign_item"):
        op.drop_table(table)
    _replace_candidates("candidate", "stored_candidate")
    for view in view_statements(op.get_bind().dialect.name).values():
        op.execute(view)


def downgrade() -> None:
    """Go back; other names of ids and the edits of slabs are lost, a slab of one's own stays."""
    _drop_views(*VIEWS, *ID_VIEWS)
    _own_slabs_are_bulks()
    create_former()
    selects = view_statements(op.get_bind().dialect.name)
    for table, columns in COPY_OUT.items():
        select = selects[table].partition(" AS\n")[2]
        op.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({select}) AS shown")
    for table in ("rank", "placement", "item", "prediction"):
        op.drop_table(f"stored_{table}")
    op.drop_table("predictor")
    _replace_candidates("stored_candidate", "candidate")
    op.drop_table("pair")
    op.drop_table("alias")
    _uncount_campaigns()
    _drop_columns()
    _create_former_views()


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _drop_views(*names: str) -> None:
    for name in names:
        op.execute(f"DROP VIEW {name}")


def _rebuild(table: str, columns: str, parts: Parts) -> None:
    """Give an SQLite table other rules, which cannot be altered there; references to it stay."""
    op.create_table(f"new_{table}", *parts)
    op.execute(f"INSERT INTO new_{table} ({columns}) SELECT {columns} FROM {table}")
    op.drop_table(table)
    op.rename_table(f"new_{table}", table)


def _add_columns() -> None:
    op.add_column("bulk", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_bulk_formula", "bulk", ["formula"])
    if _on_sqlite():
        _rebuild("slab", SLAB, slab_parts(own=True))
        op.create_index("ix_slab_bulk_id", "slab", ["bulk_id"])
    else:
        op.alter_column("slab", "bulk_id", nullable=True)
        for column in new_slab_columns():
            op.add_column("slab", column)
    op.create_table(
        "alias",
        *text_columns("kind", "alias", "id"),
        check("alias", "kind_known", "kind in ('bulk', 'slab', 'candidate')"),
        check("alias", "names_another", "alias <> id"),
        sa.PrimaryKeyConstraint("kind", "alias", name=op.f("pk_alias")),
    )
    op.create_index("ix_alias_id", "alias", ["id"])


def _own_slabs_are_bulks() -> None:
    op.execute(
        "INSERT INTO bulk (id, formula, source, structure) "
        "SELECT id, formula, 'own slab', structure FROM slab WHERE bulk_id IS NULL"
    )
    op.execute("UPDATE slab SET bulk_id = id WHERE bulk_id IS NULL")


def _drop_columns() -> None:
    op.drop_index("ix_bulk_formula", "bulk")
    op.drop_column("bulk", "note")
    if _on_sqlite():
        _rebuild("slab", SLAB, slab_parts(own=False))
        op.create_index("ix_slab_bulk_id", "slab", ["bulk_id"])
    else:
        for column in new_slab_columns():
            op.drop_column("slab", column.name)
        op.alter_column("slab", "bulk_id", nullable=False)


def _count_campaigns() -> None:
    """Give campaigns short keys; tables that refer to them by name keep the name."""
    if _on_sqlite():
        name = sa.UniqueConstraint("name", name=op.f("uq_campaign_name"))
        _rebuild("campaign", CAMPAIGN, [*campaign_parts(), *key_parts("campaign"), name])
        return
    _let_go_of_campaigns()
    op.drop_constraint("pk_campaign", "campaign")
    op.execute("ALTER TABLE campaign ADD COLUMN key BIGSERIAL")
    op.create_primary_key("pk_campaign", "campaign", ["key"])
    op.create_unique_constraint("uq_campaign_name", "campaign", ["name"])
    for table in ("chunk", "round"):
        op.create_foreign_key(f"fk_{table}_campaign", table, "campaign", ["campaign"], ["name"])


def _uncount_campaigns() -> None:
    if _on_sqlite():
        name = sa.PrimaryKeyConstraint("name", name=op.f("pk_campaign"))
        _rebuild("campaign", CAMPAIGN, [*campaign_parts(), name])
        return
    _let_go_of_campaigns()
    op.drop_column("campaign", "key")
    op.drop_constraint("uq_campaign_name", "campaign")
    op.create_primary_key("pk_campaign", "campaign", ["name"])
    for table in ("chunk", "round", "rank", "campaign_item"):
        op.create_foreign_key(f"fk_{table}_campaign", table, "campaign", ["campaign"], ["name"])


def _let_go_of_campaigns() -> None:
    for table in ("chunk", "round", "rank", "campaign_item"):
        op.drop_constraint(f"fk_{table}_campaign", table)


def _replace_candidates(old: str, new: str) -> None:
    """Let queue and labels refer to the other table of candidates, and drop the old one."""
    if _on_sqlite():  # there a reference follows a table that is renamed
        op.drop_table(old)
        op.rename_table(new, old)
        op.rename_table(old, new)
        return
    for table in ("queue", "label"):
        name = f"fk_{table}_candidate_id"
        op.drop_constraint(name, table)
        op.create_foreign_key(name, table, new, ["candidate_id"], ["id"])
    op.drop_table(old)


def _create_former_views() -> None:
    """Create the views as the revisions before created them."""
    dialect = op.get_bind().dialect.name
    ranked, queue, learning = (
        context.script.get_revision(number).module for number in ("0002", "0004", "0005")
    )
    termination = queue.TERMINATION.format(shift=queue.SHIFT[dialect])
    for view in (
        queue.RANKED_CANDIDATES.format(
            termination=termination,
            key="item",
            verified=queue.VERIFIED,
            label_level=f"\n    {queue.VERIFIED} AS label_level,",
        ),
        queue.QUEUE_STATUS.format(
            key="item", kind="kind, ", q_kind="q.kind, ", verified=queue.VERIFIED
        ),
        queue.VERIFICATION_QUEUE.format(termination=termination),
        learning.PAIR_MINIMUM.format(standing=learning.STANDING),
        ranked.FUNNEL.format(rule=ranked.RULE[dialect]),
    ):
        op.execute(view)
