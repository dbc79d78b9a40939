"""The view of ranked candidates gains the termination, where a surface has several."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# {termination} is filled in; the rest is as in 0002, for the reasons given there.
RANKED_CANDIDATES = """
CREATE VIEW ranked_candidates AS
SELECT r.campaign, r.rank, r.rank_group, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,{termination}
    r.adsorbate, c.site, r.energy_ev, r.sigma_ev, r.probability, m.level,
    substr(m.checkpoint_sha256, 1, 12) AS checkpoint, q.state AS queue_state,
    l.energy_ev AS label_ev, r.candidate_id
FROM rank r
CROSS JOIN campaign m
CROSS JOIN candidate c
CROSS JOIN slab s
CROSS JOIN bulk b
LEFT JOIN queue q ON q.candidate_id = r.candidate_id AND q.level = m.level
LEFT JOIN label l ON l.candidate_id = r.candidate_id AND l.level = m.level
WHERE m.name = r.campaign AND c.id = r.candidate_id AND s.id = c.slab_id AND b.id = s.bulk_id
"""

# The height of the cut in plane spacings, and the side where it is the far one; empty where the
# database holds no other termination of these planes. Slabs of other thickness are none.
TERMINATION = """
    CASE WHEN EXISTS (
        SELECT 1 FROM slab o
        WHERE o.bulk_id = s.bulk_id AND o.miller_h = s.miller_h AND o.miller_k = s.miller_k
            AND o.miller_l = s.miller_l AND (abs(o.shift - s.shift) > 0.001 OR o.side <> s.side)
    ) THEN {shift} || CASE s.side WHEN 'bottom' THEN ' bottom' ELSE '' END
    ELSE '' END AS termination,"""
SHIFT = {"sqlite": "printf('%.2f', s.shift)", "postgresql": "to_char(s.shift, 'FM90.00')"}


def upgrade() -> None:
    termination = TERMINATION.format(shift=SHIFT[op.get_bind().dialect.name])
    op.execute("DROP VIEW ranked_candidates")
    op.execute(RANKED_CANDIDATES.format(termination=termination))


def downgrade() -> None:
    op.execute("DROP VIEW ranked_candidates")
    op.execute(RANKED_CANDIDATES.format(termination=""))
