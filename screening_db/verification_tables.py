"""The rows of verification: the queue, the labels that come back, and their reference energies."""

from typing import Any, Literal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables import Base, finite, one_of

QueueState = Literal["queued", "leased", "converged", "anomalous", "failed"]
Why = Literal["promising", "uncertain"]
ReferenceKind = Literal["gas", "slab"]


class QueueRow(Base):
    """One calculation that is wanted; a candidate is in the queue once for each level.

    The larger ``priority`` goes first and ties go to the lower candidate id. ``campaign`` says
    who asked first; it may be forgotten while the calculation stays. Others that queued the same
    candidate say so in their ``campaign_item``.
    """

    __tablename__ = "queue"
    __table_args__ = (
        one_of("state", QueueState),
        one_of("why", Why),
        CheckConstraint(
            "(state = 'leased') = (lease_token is not null and lease_until is not null)",
            name="lease_complete",
        ),
    )

    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    campaign: Mapped[str]
    priority: Mapped[float]
    why: Mapped[Why] = mapped_column(Text)
    state: Mapped[QueueState] = mapped_column(Text, default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None] = mapped_column(default=None)
    lease_until: Mapped[float | None] = mapped_column(default=None)  # seconds since 1970, UTC
    error_class: Mapped[str] = mapped_column(default="")
    error_message: Mapped[str] = mapped_column(default="")


# Partial, so that a long history of finished work does not slow a claim.
Index(
    "ix_queue_ready",
    QueueRow.level,
    QueueRow.priority.desc(),
    QueueRow.candidate_id,
    sqlite_where=text("state = 'queued'"),
    postgresql_where=text("state = 'queued'"),
)
Index(
    "ix_queue_leased",
    QueueRow.lease_until,
    sqlite_where=text("state = 'leased'"),
    postgresql_where=text("state = 'leased'"),
)


class LabelRow(Base):
    """A verified energy at a level of theory, with what the checks said about it."""

    __tablename__ = "label"
    __table_args__ = (
        finite("energy_ev"),
        CheckConstraint("converged or not trainable", name="trainable_is_converged"),
    )

    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    energy_ev: Mapped[float]  # adsorption energy
    e_adslab: Mapped[float]
    e_slab: Mapped[float]
    e_references: Mapped[dict[str, Any]]
    converged: Mapped[bool]
    flags: Mapped[list[str]]  # desorbed, dissociated, ...
    steps: Mapped[int]
    fmax: Mapped[float]  # eV/Å, largest force at the end
    structure: Mapped[str]  # relaxed
    trainable: Mapped[bool]


class ReferenceEnergyRow(Base):
    """The energy of a gas molecule or a clean slab at a level, kept for ever."""

    __tablename__ = "reference_energy"
    __table_args__ = (one_of("kind", ReferenceKind),)

    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    kind: Mapped[ReferenceKind] = mapped_column(Text, primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)  # formula, or slab id
    energy_ev: Mapped[float]
    structure: Mapped[str | None] = mapped_column(default=None)  # relaxed
