"""The views that people query: ids in the place of short keys."""

VIEWS = (
    "ranked_candidates",
    "pair_minimum",
    "queue_status",
    "verification_queue",
    "funnel",
)
ID_VIEWS = ("candidate", "prediction", "rank", "campaign_item")

# The former tables, as views of the same columns.
CANDIDATE = """
CREATE VIEW candidate AS
SELECT c.id, p.id AS pair_id, p.slab_id, p.adsorbate, c.site_kind, c.site, c.recipe, c.structure
FROM stored_candidate c JOIN pair p ON p.key = c.pair_key
"""
PREDICTION = """
CREATE VIEW prediction AS
SELECT c.id AS candidate_id, d.checkpoint_sha256, d.level, p.energy_ev, p.sigma_ev,
    p.regression_ev, p.token_ev, p.in_domain, p.reason
FROM stored_prediction p
JOIN stored_candidate c ON c.key = p.candidate_key
JOIN predictor d ON d.key = p.predictor_key
"""
RANK = """
CREATE VIEW rank AS
SELECT r.campaign, r.rank, r.rank_group, p.id AS pair_id, c.id AS candidate_id, p.adsorbate,
    r.energy_ev, r.sigma_ev, r.probability
FROM stored_rank r
JOIN pair p ON p.key = r.pair_key
JOIN stored_candidate c ON c.key = r.candidate_key
"""
CAMPAIGN_ITEM = """
CREATE VIEW campaign_item AS
SELECT campaign, stage, item_id, state, reason, false AS contender FROM stored_item
UNION ALL
SELECT m.name, 'placement', c.id, s.state, s.reason, s.contender
FROM stored_placement s
JOIN campaign m ON m.key = s.campaign_key
JOIN stored_candidate c ON c.key = s.candidate_key
"""

# No ORDER BY inside: PostgreSQL would sort every row before it gives the first hundred. CROSS JOIN
# makes SQLite begin with the ranks; else it begins with a small table, and sorts every row too.
RANKED_CANDIDATES = """
CREATE VIEW ranked_candidates AS
SELECT r.campaign, r.rank, r.rank_group, coalesce(b.formula, s.formula) AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,{termination}
    s.edit, p.adsorbate, c.site, r.energy_ev, r.sigma_ev, r.probability, m.level,
    coalesce(m.verification_level, m.level) AS label_level,
    substr(m.checkpoint_sha256, 1, 12) AS checkpoint, q.state AS queue_state,
    l.energy_ev AS label_ev, c.id AS candidate_id
FROM stored_rank r
CROSS JOIN campaign m
CROSS JOIN stored_candidate c
CROSS JOIN pair p
CROSS JOIN slab s
LEFT JOIN bulk b ON b.id = s.bulk_id
LEFT JOIN queue q ON q.item = c.id AND q.level = coalesce(m.verification_level, m.level)
LEFT JOIN label l ON l.candidate_id = c.id AND l.level = coalesce(m.verification_level, m.level)
WHERE m.name = r.campaign AND c.key = r.candidate_key AND p.key = r.pair_key
    AND s.id = p.slab_id
"""
# The height of the cut in plane spacings, and the side where it is the far one; empty where the
# database holds no other termination of these planes. Slabs of other thickness are none.
TERMINATION = """
    CASE WHEN EXISTS (
        SELECT 1 FROM slab o
        WHERE o.bulk_id = s.bulk_id AND o.miller_h = s.miller_h AND o.miller_k = s.miller_k
            AND o.miller_l = s.miller_l AND o.edit = s.edit
            AND (abs(o.shift - s.shift) > 0.001 OR o.side <> s.side)
    ) THEN {shift} || CASE s.side WHEN 'bottom' THEN ' bottom' ELSE '' END
    ELSE '' END AS termination,"""
SHIFT = {"sqlite": "printf('%.2f', s.shift)", "postgresql": "to_char(s.shift, 'FM90.00')"}

# In the domain of the present checkpoint, whatever the one before said. Placements that were passed
# over may have a prediction of it too, from another campaign: they stay out, or what another
# campaign did would change this ranking.
PAIR_MINIMUM = """
CREATE VIEW pair_minimum AS
SELECT o.campaign, p.id AS pair_id, p.slab_id, p.adsorbate, o.candidate_id, o.energy_ev,
    o.sigma_ev, o.n_placements
FROM (
    SELECT m.name AS campaign, c.pair_key, c.id AS candidate_id, e.energy_ev, e.sigma_ev,
        count(*) OVER (PARTITION BY m.name, c.pair_key) AS n_placements,
        row_number() OVER (PARTITION BY m.name, c.pair_key ORDER BY e.energy_ev, c.id) AS position
    FROM campaign m
    JOIN predictor d ON d.checkpoint_sha256 = m.checkpoint_sha256 AND d.level = m.level
    JOIN stored_placement i ON i.campaign_key = m.key
    JOIN stored_candidate c ON c.key = i.candidate_key
    JOIN stored_prediction e ON e.candidate_key = i.candidate_key AND e.predictor_key = d.key
    WHERE e.in_domain AND (i.contender OR m.checkpoint_sha256 = m.screened_with)
) AS o
JOIN pair p ON p.key = o.pair_key
WHERE o.position = 1
"""

# An item that several campaigns queued counts once in each of them.
QUEUE_STATUS = """
CREATE VIEW queue_status AS
SELECT campaign, level, kind, state, count(*) AS count
FROM (
    SELECT campaign, level, kind, state, item FROM queue
    UNION
    SELECT m.name, q.level, q.kind, q.state, q.item
    FROM queue q
    JOIN campaign m ON q.level = coalesce(m.verification_level, m.level)
    JOIN stored_candidate c ON c.id = q.item
    JOIN stored_placement i ON i.campaign_key = m.key AND i.candidate_key = c.key
        AND i.state = 'queued'
) AS wanted
GROUP BY campaign, level, kind, state
"""

# One line for each item of the queue, with all that a person chooses by. The prediction is that of
# the campaign that asked first.
VERIFICATION_QUEUE = """
CREATE VIEW verification_queue AS
SELECT q.item, q.kind, q.level, q.campaign, q.state, q.priority, q.why,
    coalesce(b.formula, s.formula) AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,{termination}
    s.edit, p.adsorbate, c.site, e.energy_ev, e.sigma_ev, l.energy_ev AS label_ev, q.attempts,
    q.memory_class, q.error_class, q.error_message, q.lease_until, s.id AS slab_id
FROM queue q
LEFT JOIN stored_candidate c ON c.id = q.candidate_id
LEFT JOIN pair p ON p.key = c.pair_key
LEFT JOIN slab s ON s.id = coalesce(p.slab_id, q.item)
LEFT JOIN bulk b ON b.id = s.bulk_id
LEFT JOIN campaign m ON m.name = q.campaign
LEFT JOIN predictor d ON d.level = m.level AND d.checkpoint_sha256 = m.checkpoint_sha256
LEFT JOIN stored_prediction e ON e.candidate_key = c.key AND e.predictor_key = d.key
LEFT JOIN label l ON l.candidate_id = q.candidate_id AND l.level = q.level
"""

# A reason reads "rule: values". The values differ from item to item, so only the rule is counted.
FUNNEL = """
CREATE VIEW funnel AS
SELECT campaign, stage, state, {rule} AS reason, count(*) AS count
FROM stored_item GROUP BY campaign, stage, state, {rule}
UNION ALL
SELECT m.name, 'placement', s.state, {rule}, count(*)
FROM campaign m JOIN stored_placement s ON s.campaign_key = m.key
GROUP BY m.name, s.state, {rule}
"""
RULE = {
    "sqlite": "substr(reason, 1, instr(reason || ':', ':') - 1)",
    "postgresql": "split_part(reason, ':', 1)",
}


def view_statements(dialect: str) -> dict[str, str]:
    """Return the statement that creates each view on SQLite or PostgreSQL, by its name."""
    termination = TERMINATION.format(shift=SHIFT[dialect])
    return {
        "candidate": CANDIDATE,
        "prediction": PREDICTION,
        "rank": RANK,
        "campaign_item": CAMPAIGN_ITEM,
        "ranked_candidates": RANKED_CANDIDATES.format(termination=termination),
        "pair_minimum": PAIR_MINIMUM,
        "queue_status": QUEUE_STATUS,
        "verification_queue": VERIFICATION_QUEUE.format(termination=termination),
        "funnel": FUNNEL.format(rule=RULE[dialect]),
    }
