"""The views that people query."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# No ORDER BY inside: PostgreSQL would sort every row before it gives the first hundred. CROSS JOIN
# makes SQLite begin with the ranks; else it begins with a small table, and sorts every row too.
RANKED_CANDIDATES = """
CREATE VIEW ranked_candidates AS
SELECT r.campaign, r.rank, r.rank_group, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,
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
    WHERE i.stage = 'placement' AND i.state NOT IN ('refused', 'out_of_domain')
) AS placed
WHERE place = 1
"""

# An item that several campaigns queued counts once in each of them.
QUEUE_STATUS = """
CREATE VIEW queue_status AS
SELECT campaign, level, state, count(*) AS count
FROM (
    SELECT campaign, level, state, candidate_id FROM queue
    UNION
    SELECT i.campaign, q.level, q.state, q.candidate_id
    FROM queue q
    JOIN campaign m ON m.level = q.level
    JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
        AND i.item_id = q.candidate_id AND i.state = 'queued'
) AS wanted
GROUP BY campaign, level, state
"""

# A reason reads "rule: values". The values differ from item to item, so only the rule is counted.
FUNNEL = """
CREATE VIEW funnel AS
SELECT campaign, stage, state, reason, count(*) AS count
FROM (SELECT campaign, stage, state, {rule} AS reason FROM campaign_item) AS ruled
GROUP BY campaign, stage, state, reason
"""
RULE = {
    "sqlite": "substr(reason, 1, instr(reason || ':', ':') - 1)",
    "postgresql": "split_part(reason, ':', 1)",
}


def upgrade() -> None:
    funnel = FUNNEL.format(rule=RULE[op.get_bind().dialect.name])
    for view in (RANKED_CANDIDATES, PAIR_MINIMUM, QUEUE_STATUS, funnel):
        op.execute(view)


def downgrade() -> None:
    for name in ("funnel", "queue_status", "pair_minimum", "ranked_candidates"):
        op.execute(f"DROP VIEW {name}")
