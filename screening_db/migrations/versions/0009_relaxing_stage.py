"""A prediction names the levels whose energies it starts from, a campaign who ranks it relaxed."""

import sqlalchemy as sa
from alembic import op

from screening_db.migrations.id_views import RANKED_CANDIDATES, SHIFT, TERMINATION, view_statements

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

VIEWS = ("prediction", "ranked_candidates")

PREDICTION = """
CREATE VIEW prediction AS
SELECT c.id AS candidate_id, d.checkpoint_sha256, d.level, p.energy_ev, p.sigma_ev,
    p.regression_ev, p.token_ev, p.in_domain, p.reason, p.basis
FROM stored_prediction p
JOIN stored_candidate c ON c.key = p.candidate_key
JOIN predictor d ON d.key = p.predictor_key
"""
# As before, and on which energies the prediction stands.
_BASIS = """
    coalesce((
        SELECT e.basis FROM stored_prediction e JOIN predictor d ON d.key = e.predictor_key
        WHERE e.candidate_key = c.key AND d.level = m.level
            AND d.checkpoint_sha256 = m.checkpoint_sha256
    ), '') AS basis, c.id AS candidate_id"""


def upgrade() -> None:
    _drop_views()
    for table, column in (("stored_prediction", "basis"), ("campaign", "relaxed_with")):
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=""))
    termination = TERMINATION.format(shift=SHIFT[op.get_bind().dialect.name])
    ranked = RANKED_CANDIDATES.replace(" c.id AS candidate_id", _BASIS)
    for view in (PREDICTION, ranked.format(termination=termination)):
        op.execute(view)


def downgrade() -> None:
    _drop_views()
    op.drop_column("campaign", "relaxed_with")
    op.drop_column("stored_prediction", "basis")
    before = view_statements(op.get_bind().dialect.name)
    for name in VIEWS:
        op.execute(before[name])


def _drop_views() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
