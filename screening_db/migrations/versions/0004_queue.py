"""The queue: dependencies of adslabs, attempts, commands of people, and a view of all of them.

A campaign may have another level of theory to verify at than the one it predicts at.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Columns = Sequence[str | sa.ColumnElement[Any]]
VIEWS = ("ranked_candidates", "queue_status")
CARRIED = (
    "level, campaign, priority, why, state, attempts, lease_token, lease_until, error_class, "
    "error_message"
)

# Classes of failure had other names before.
NEW_NAMES = {"LostWorker": "killed", "not_converged": "ions_not_converged"}

# Where a campaign's labels are; none is stated where they are of the level it predicts at.
VERIFIED = "coalesce(m.verification_level, m.level)"

# As in 0003, for the reasons given there and in 0002; the queue has another key.
RANKED_CANDIDATES = """
CREATE VIEW ranked_candidates AS
SELECT r.campaign, r.rank, r.rank_group, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,{termination}
    r.adsorbate, c.site, r.energy_ev, r.sigma_ev, r.probability, m.level,{label_level}
    substr(m.checkpoint_sha256, 1, 12) AS checkpoint, q.state AS queue_state,
    l.energy_ev AS label_ev, r.candidate_id
FROM rank r
CROSS JOIN campaign m
CROSS JOIN candidate c
CROSS JOIN slab s
CROSS JOIN bulk b
LEFT JOIN queue q ON q.{key} = r.candidate_id AND q.level = {verified}
LEFT JOIN label l ON l.candidate_id = r.candidate_id AND l.level = {verified}
WHERE m.name = r.campaign AND c.id = r.candidate_id AND s.id = c.slab_id AND b.id = s.bulk_id
"""
TERMINATION = """
    CASE WHEN EXISTS (
        SELECT 1 FROM slab o
        WHERE o.bulk_id = s.bulk_id AND o.miller_h = s.miller_h AND o.miller_k = s.miller_k
            AND o.miller_l = s.miller_l AND (abs(o.shift - s.shift) > 0.001 OR o.side <> s.side)
    ) THEN {shift} || CASE s.side WHEN 'bottom' THEN ' bottom' ELSE '' END
    ELSE '' END AS termination,"""
SHIFT = {"sqlite": "printf('%.2f', s.shift)", "postgresql": "to_char(s.shift, 'FM90.00')"}

# An item that several campaigns queued counts once in each of them.
QUEUE_STATUS = """
CREATE VIEW queue_status AS
SELECT campaign, level, {kind}state, count(*) AS count
FROM (
    SELECT campaign, level, {kind}state, {key} FROM queue
    UNION
    SELECT i.campaign, q.level, {q_kind}q.state, q.{key}
    FROM queue q
    JOIN campaign m ON q.level = {verified}
    JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
        AND i.item_id = q.{key} AND i.state = 'queued'
) AS wanted
GROUP BY campaign, level, {kind}state
"""

# One line for each item of the queue, with all that a person chooses by. The prediction is that of
# the campaign that asked first.
VERIFICATION_QUEUE = """
CREATE VIEW verification_queue AS
SELECT q.item, q.kind, q.level, q.campaign, q.state, q.priority, q.why, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,{termination}
    c.adsorbate, c.site, p.energy_ev, p.sigma_ev, l.energy_ev AS label_ev, q.attempts,
    q.memory_class, q.error_class, q.error_message, q.lease_until, s.id AS slab_id
FROM queue q
LEFT JOIN candidate c ON c.id = q.candidate_id
LEFT JOIN slab s ON s.id = coalesce(c.slab_id, q.item)
LEFT JOIN bulk b ON b.id = s.bulk_id
LEFT JOIN campaign m ON m.name = q.campaign
LEFT JOIN prediction p ON p.candidate_id = q.candidate_id AND p.level = m.level
    AND p.checkpoint_sha256 = m.checkpoint_sha256
LEFT JOIN label l ON l.candidate_id = q.candidate_id AND l.level = q.level
"""


def upgrade() -> None:
    _drop_views(*VIEWS)
    op.add_column("campaign", sa.Column("verification_level", sa.Text(), nullable=True))
    _put_aside()
    _create_queue()
    op.execute(
        f"INSERT INTO queue (item, kind, candidate_id, failures, memory_class, structure_sha256, "
        f"{CARRIED}) SELECT candidate_id, 'adslab', candidate_id, '{{}}', 0, '', {CARRIED} "
        "FROM queue_aside"
    )
    op.execute("DROP TABLE queue_aside")
    for old, new in NEW_NAMES.items():
        op.execute(f"UPDATE queue SET error_class = '{new}' WHERE error_class = '{old}'")
    _create_needs_and_tries()
    _create_steps()
    for column in _label_columns():
        op.add_column("label", column)
    termination = TERMINATION.format(shift=SHIFT[op.get_bind().dialect.name])
    op.execute(
        RANKED_CANDIDATES.format(
            termination=termination,
            key="item",
            verified=VERIFIED,
            label_level=f"\n    {VERIFIED} AS label_level,",
        )
    )
    op.execute(QUEUE_STATUS.format(key="item", kind="kind, ", q_kind="q.kind, ", verified=VERIFIED))
    op.execute(VERIFICATION_QUEUE.format(termination=termination))


def downgrade() -> None:
    """Go back; energies of slabs and molecules stay, held and waiting items are queued again."""
    _drop_views(*VIEWS, "verification_queue")
    op.drop_column("campaign", "verification_level")
    for table in ("calculation_file", "calculation_step", "calculation", "queue_need"):
        op.drop_table(table)
    for column in reversed(_label_columns()):
        op.drop_column("label", column.name)
    _put_aside()
    _create_former_queue()
    op.execute("DELETE FROM queue_aside WHERE kind <> 'adslab'")
    op.execute("UPDATE queue_aside SET state = 'queued' WHERE state IN ('held', 'waiting')")
    op.execute(
        "UPDATE queue_aside SET state = 'failed', error_class = 'cancelled', "
        "error_message = 'cancelled' WHERE state = 'cancelled'"
    )
    for old, new in NEW_NAMES.items():
        op.execute(f"UPDATE queue_aside SET error_class = '{old}' WHERE error_class = '{new}'")
    op.execute(
        f"INSERT INTO queue (candidate_id, {CARRIED}) SELECT candidate_id, {CARRIED} "
        "FROM queue_aside"
    )
    op.execute("DROP TABLE queue_aside")
    termination = TERMINATION.format(shift=SHIFT[op.get_bind().dialect.name])
    op.execute(
        RANKED_CANDIDATES.format(
            termination=termination, key="candidate_id", verified="m.level", label_level=""
        )
    )
    op.execute(QUEUE_STATUS.format(key="candidate_id", kind="", q_kind="", verified="m.level"))


def _drop_views(*names: str) -> None:
    for name in names:
        op.execute(f"DROP VIEW {name}")


def _put_aside() -> None:
    """Keep the rows while the table is made anew: names of rules and indexes are then its own."""
    op.execute("CREATE TEMPORARY TABLE queue_aside AS SELECT * FROM queue")
    op.drop_table("queue")


def _create_queue() -> None:
    op.create_table(
        "queue",
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("candidate_id", sa.Text(), nullable=True),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.Column("memory_class", sa.Integer(), nullable=False),
        sa.Column("structure_sha256", sa.Text(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state in ('queued', 'leased', 'held', 'waiting', 'converged', 'anomalous', "
            "'failed', 'cancelled')",
            name=op.f("ck_queue_state_known"),
        ),
        sa.CheckConstraint(
            "why in ('promising', 'uncertain', 'needed')", name=op.f("ck_queue_why_known")
        ),
        sa.CheckConstraint("kind in ('adslab', 'slab', 'gas')", name=op.f("ck_queue_kind_known")),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_token is not null and lease_until is not null)",
            name=op.f("ck_queue_lease_complete"),
        ),
        sa.CheckConstraint(
            "(kind = 'adslab') = (candidate_id is not null) and "
            "coalesce(candidate_id, item) = item",
            name=op.f("ck_queue_adslab_is_candidate"),
        ),
        sa.CheckConstraint(
            "kind = 'adslab' or state <> 'waiting'", name=op.f("ck_queue_adslabs_alone_wait")
        ),
        sa.CheckConstraint("memory_class >= 0", name=op.f("ck_queue_memory_class_from_0")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_queue_candidate_id")
        ),
        sa.ForeignKeyConstraint(["level"], ["level_of_theory.name"], name=op.f("fk_queue_level")),
        sa.PrimaryKeyConstraint("item", "level", name=op.f("pk_queue")),
    )
    ready: Columns = [
        "level",
        sa.literal_column("priority DESC"),
        sa.literal_column("kind DESC"),
        "item",
    ]
    _create_partial_index("ready", ready, "queued")
    _create_partial_index("leased", ["lease_until"], "leased")
    _create_partial_index("waiting", ["level", "item"], "waiting")


def _create_former_queue() -> None:
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
    ready: Columns = ["level", sa.literal_column("priority DESC"), "candidate_id"]
    _create_partial_index("ready", ready, "queued")
    _create_partial_index("leased", ["lease_until"], "leased")


def _create_partial_index(
    name: str, columns: Sequence[str | sa.ColumnElement[Any]], state: str
) -> None:
    op.create_index(
        f"ix_queue_{name}",
        "queue",
        columns,
        unique=False,
        sqlite_where=sa.text(f"state = '{state}'"),
        postgresql_where=sa.text(f"state = '{state}'"),
    )


def _create_needs_and_tries() -> None:
    op.create_table(
        "queue_need",
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind in ('gas', 'slab')", name=op.f("ck_queue_need_kind_known")),
        sa.ForeignKeyConstraint(
            ["item", "level"],
            ["queue.item", "queue.level"],
            name=op.f("fk_queue_need_item_level"),
        ),
        sa.PrimaryKeyConstraint("item", "level", "needs", name=op.f("pk_queue_need")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_queue_need_needs", "queue_need", ["level", "needs"], unique=False)
    op.create_table(
        "calculation",
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("memory_class", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("level_hash", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("input_sha256", sa.Text(), nullable=False),
        sa.Column("structure_in", sa.Text(), nullable=False),
        sa.Column("structure_out", sa.Text(), nullable=False),
        sa.Column("rungs", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state in ('running', 'converged', 'anomalous', 'failed', 'cancelled')",
            name=op.f("ck_calculation_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["level"], ["level_of_theory.name"], name=op.f("fk_calculation_level")
        ),
        sa.PrimaryKeyConstraint("item", "level", "token", name=op.f("pk_calculation")),
    )
    op.create_table(
        "calculation_file",
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_calculation_file_size_non_negative")),
        sa.ForeignKeyConstraint(
            ["item", "level", "token"],
            ["calculation.item", "calculation.level", "calculation.token"],
            name=op.f("fk_calculation_file_item_level_token"),
        ),
        sa.PrimaryKeyConstraint("item", "level", "token", "name", name=op.f("pk_calculation_file")),
    )


def _create_steps() -> None:
    op.create_table(
        "calculation_step",
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("energy_ev", sa.Double(), nullable=False),
        sa.Column("fmax", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item", "level", "token"],
            ["calculation.item", "calculation.level", "calculation.token"],
            name=op.f("fk_calculation_step_item_level_token"),
        ),
        sa.PrimaryKeyConstraint("item", "level", "token", "step", name=op.f("pk_calculation_step")),
        sqlite_with_rowid=False,
    )


def _label_columns() -> list[sa.Column[Any]]:
    """Return the columns that labels gain; rows stored before have no value there."""
    return [
        sa.Column("level_hash", sa.Text(), nullable=False, server_default=""),
        sa.Column("flag_numbers", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("site_before", sa.Text(), nullable=False, server_default=""),
        sa.Column("site_after", sa.Text(), nullable=False, server_default=""),
        sa.Column("migrated", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("relaxed_text", sa.Text(), nullable=False, server_default=""),
        sa.Column("two_start_ev", sa.Double(), nullable=True),
    ]
