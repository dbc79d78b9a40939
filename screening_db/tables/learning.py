"""The rows of learning: fine-tunings, which checkpoint served when, and the rounds of the loop.

Units   errors in eV; times in seconds since 1970, UTC; coverage is a share of 90 % intervals.
"""

from typing import Any, Literal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables.base import Base, one_of

PromotionReason = Literal["gate", "by hand", "rollback"]
FineTuningState = Literal["running", "accepted", "rejected", "failed"]
RoundState = Literal["running", "finished"]
Verdict = Literal["", "accepted", "rejected", "failed"]  # nothing where no fine-tuning was begun


class PromotionRow(Base):
    """One line of the log that says which checkpoint served a model from when on.

    Lines are added, never changed: the last one of a model names the checkpoint that serves it.
    """

    __tablename__ = "promotion"
    __table_args__ = (
        one_of("why", PromotionReason),
        CheckConstraint("number >= 1", name="number_from_1"),
        CheckConstraint("checkpoint_sha256 <> previous_sha256", name="serves_another"),
    )

    model: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoint.sha256"))
    # None where what served before was never recorded in this database
    previous_sha256: Mapped[str | None] = mapped_column(ForeignKey("checkpoint.sha256"))
    why: Mapped[PromotionReason] = mapped_column(Text)
    report: Mapped[dict[str, Any]]
    at: Mapped[float]


class FineTuningRow(Base):
    """One fine-tuning of a checkpoint with labels, by the hash of its inputs.

    ``campaign`` may be forgotten while the checkpoint stays.
    """

    __tablename__ = "fine_tuning"
    __table_args__ = (
        one_of("state", FineTuningState),
        CheckConstraint("n_labels >= 0", name="n_labels_non_negative"),
        CheckConstraint(
            "state not in ('accepted', 'rejected') or checkpoint_sha256 is not null",
            name="judged_is_a_checkpoint",
        ),
        CheckConstraint("(state = 'running') = (ended_at is null)", name="ended_has_time"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    parent_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoint.sha256"))
    training_set: Mapped[str]  # the hash of its rows' ids
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"))
    method: Mapped[str]
    n_labels: Mapped[int]
    state: Mapped[FineTuningState] = mapped_column(Text, default="running")
    checkpoint_sha256: Mapped[str | None] = mapped_column(
        ForeignKey("checkpoint.sha256"), default=None, index=True
    )
    folder: Mapped[str] = mapped_column(default="")  # in which it is trained, and resumed
    report: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    error: Mapped[str] = mapped_column(default="")
    started_at: Mapped[float] = mapped_column(default=0.0)
    ended_at: Mapped[float | None] = mapped_column(default=None)


class RoundRow(Base):
    """One turn of a campaign's loop: its cost, its findings, and how much the model improved.

    Numbers are None as long as nothing was measured.
    """

    __tablename__ = "round"
    __table_args__ = (
        one_of("state", RoundState),
        one_of("verdict", Verdict),
        CheckConstraint("number >= 1", name="number_from_1"),
        CheckConstraint("(state = 'running') = (ended_at is null)", name="ended_has_time"),
        CheckConstraint(
            "converged >= 0 and anomalous >= 0 and failed >= 0 and labels >= 0 and found >= 0",
            name="counts_non_negative",
        ),
    )

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    started_at: Mapped[float]
    budget: Mapped[float]  # calculations of an adslab, or their relative cost
    state: Mapped[RoundState] = mapped_column(Text, default="running")
    ended_at: Mapped[float | None] = mapped_column(default=None)
    spent: Mapped[float] = mapped_column(default=0.0)  # so far, in the unit of ``budget``
    converged: Mapped[int] = mapped_column(default=0)  # calculations
    anomalous: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    labels: Mapped[int] = mapped_column(default=0)  # of the campaign at the round's end
    found: Mapped[int] = mapped_column(default=0)  # labels inside the target window
    # of the round's own labels, by the checkpoint before the round, which had seen none of them
    mae_new_ev: Mapped[float | None] = mapped_column(default=None)
    coverage_new: Mapped[float | None] = mapped_column(default=None)
    # of labels and hold-out rows that neither checkpoint learnt from, as the gate compared them
    mae_before_ev: Mapped[float | None] = mapped_column(default=None)
    mae_after_ev: Mapped[float | None] = mapped_column(default=None)
    coverage_before: Mapped[float | None] = mapped_column(default=None)
    coverage_after: Mapped[float | None] = mapped_column(default=None)
    checkpoint_before: Mapped[str | None] = mapped_column(
        ForeignKey("checkpoint.sha256"), default=None
    )
    checkpoint_after: Mapped[str | None] = mapped_column(
        ForeignKey("checkpoint.sha256"), default=None
    )
    verdict: Mapped[Verdict] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(default="")  # what the verdict rests on
    stopped: Mapped[str] = mapped_column(default="")  # why the loop ended here; empty: it went on


# Partial: at most one round of a campaign is open, whoever begins it.
Index(
    "ix_round_running",
    RoundRow.campaign,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)
