"""A prediction names the levels whose energies it starts from, a campaign who ranks it relaxed."""

import sqlalchemy as sa
from alembic import op

from screening_db.migrations.id_views import (
    PAIR_MINIMUM,
    RANKED_CANDIDATES,
    SHIFT,
    TERMINATION,
    view_statements,
)

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = (
    ("stored_prediction", "basis"),
    ("stored_rank", "basis"),
    ("campaign", "relaxing_level"),
    ("campaign", "relaxed_with"),
)
VIEWS = ("prediction", "ranked_candidates", "pair_minimum")

PREDICTION = """
CREATE VIEW prediction AS
SELECT c.id AS candidate_id, d.checkpoint_sha256, d.level, p.energy_ev, p.sigma_ev,
    p.regression_ev, p.token_ev, p.in_domain, p.reason, p.basis
FROM stored_prediction p
JOIN stored_candidate c ON c.key = p.candidate_key
JOIN predictor d ON d.key = p.predictor_key
"""
# As before, with the level that the energy starts from, and the site where that relaxation ended.
_CHANGED = {
    " c.site,": " coalesce(nullif(z.site_after, ''), c.site) AS site,",
    " c.id AS candidate_id": " r.basis, c.id AS candidate_id",
    "\nWHERE m.name": """
LEFT JOIN label z ON z.candidate_id = c.id AND z.level = r.basis
WHERE m.name""",
}


def upgrade() -> None:
    _drop_views()
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=""))
    termination = TERMINATION.format(shift=SHIFT[op.get_bind().dialect.name])
    ranked = RANKED_CANDIDATES
    for old, new in _CHANGED.items():
        ranked = ranked.replace(old, new)
    lowest = PAIR_MINIMUM.replace("ORDER BY e.energy_ev", "ORDER BY e.basis = '', e.energy_ev")
    lowest = lowest.replace("o.n_placements", "o.n_placements, o.basis")
    lowest = lowest.replace("e.sigma_ev,", "e.sigma_ev, e.basis,")
    for view in (PREDICTION, ranked.format(termination=termination), lowest):
        op.execute(view)


def downgrade() -> None:
    _drop_views()
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column)
    before = view_statements(op.get_bind().dialect.name)
    for name in VIEWS:
        op.execute(before[name])


def _drop_views() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
