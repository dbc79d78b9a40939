"""The rows of verification: the queue, every attempt, the labels, and their reference energies."""

from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables.base import Base, finite, one_of

QueueState = Literal[
    "queued", "leased", "held", "waiting", "converged", "anomalous", "failed", "cancelled"
]
AttemptState = Literal["running", "converged", "anomalous", "failed", "cancelled"]
ItemKind = Literal["adslab", "slab", "gas"]
ReferenceKind = Literal["gas", "slab"]
QueueReason = Literal["promising", "uncertain", "needed"]


class QueueRow(Base, kw_only=True):
    """One requested calculation; an item is in the queue once for each level.

    An item is an adslab by its candidate id, a clean slab by its slab id, or a gas molecule by
    its name; slabs and molecules are there because adslabs need them. The larger ``priority``
    goes first and ties go to the lower item. ``campaign`` queued it first; it may be forgotten
    while the calculation stays. Others that queued the same candidate say so in their
    ``campaign_item``.
    """

    __tablename__ = "queue"
    __table_args__ = (
        one_of("state", QueueState),
        one_of("why", QueueReason),
        one_of("kind", ItemKind),
        CheckConstraint(
            "(state = 'leased') = (lease_token is not null and lease_until is not null)",
            name="lease_complete",
        ),
        CheckConstraint(
            "(kind = 'adslab') = (candidate_id is not null) and "
            "coalesce(candidate_id, item) = item",
            name="adslab_is_candidate",
        ),
        CheckConstraint("kind = 'adslab' or state <> 'waiting'", name="adslabs_alone_wait"),
        CheckConstraint("memory_class >= 0", name="memory_class_from_0"),
    )

    item: Mapped[str] = mapped_column(primary_key=True, default="")  # else the candidate's id
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    kind: Mapped[ItemKind] = mapped_column(Text, default="adslab")
    candidate_id: Mapped[str | None] = mapped_column(
        ForeignKey("stored_candidate.id"), default=None
    )
    campaign: Mapped[str]
    priority: Mapped[float]
    why: Mapped[QueueReason] = mapped_column(Text)
    state: Mapped[QueueState] = mapped_column(Text, default="queued")
    attempts: Mapped[int] = mapped_column(default=0)  # all of them, also those before a retry
    failures: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)  # by class, since then
    memory_class: Mapped[int] = mapped_column(default=0)  # of the node that it needs, 0 the least
    structure_sha256: Mapped[str] = mapped_column(default="")  # when queued; empty where unknown
    lease_token: Mapped[str | None] = mapped_column(default=None)
    lease_until: Mapped[float | None] = mapped_column(default=None)  # seconds since 1970, UTC
    error_class: Mapped[str] = mapped_column(default="")  # of the last failure
    error_message: Mapped[str] = mapped_column(default="")
    lease_s: Mapped[float | None] = mapped_column(default=None)  # its length from each renewal

    def __post_init__(self) -> None:
        self.item = self.item or self.candidate_id or ""


# Partial, so that a long history of finished work does not slow a claim.
Index(
    "ix_queue_ready",
    QueueRow.level,
    QueueRow.priority.desc(),
    QueueRow.kind.desc(),
    QueueRow.item,
    sqlite_where=text("state = 'queued'"),
    postgresql_where=text("state = 'queued'"),
)
Index(
    "ix_queue_leased",
    QueueRow.lease_until,
    sqlite_where=text("state = 'leased'"),
    postgresql_where=text("state = 'leased'"),
)
Index(
    "ix_queue_waiting",
    QueueRow.level,
    QueueRow.item,
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)


class QueueDependencyRow(Base):
    """A clean slab or gas molecule whose energy an adslab of the queue needs."""

    __tablename__ = "queue_need"
    __table_args__ = (
        one_of("kind", ReferenceKind),
        ForeignKeyConstraint(["item", "level"], ["queue.item", "queue.level"]),
        {"sqlite_with_rowid": False},
    )

    item: Mapped[str] = mapped_column(primary_key=True)  # the adslab
    level: Mapped[str] = mapped_column(primary_key=True)
    needs: Mapped[str] = mapped_column(primary_key=True)  # slab id, or molecule
    kind: Mapped[ReferenceKind] = mapped_column(Text)


Index("ix_queue_need_needs", QueueDependencyRow.level, QueueDependencyRow.needs)


class CalculationRow(Base):
    """One attempt at one item, from its lease to its end; never deleted once it has begun.

    Times are seconds since 1970, UTC: of the worker where it reported them, else of the queue.
    Only ``reported_at`` is of the database's clock for certain, and is compared with its times.
    """

    __tablename__ = "calculation"
    __table_args__ = (one_of("state", AttemptState),)

    item: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)  # of its lease
    attempt: Mapped[int]  # 1 for the first
    memory_class: Mapped[int]
    started_at: Mapped[float]
    state: Mapped[AttemptState] = mapped_column(Text, default="running")
    ended_at: Mapped[float | None] = mapped_column(default=None)
    job: Mapped[str] = mapped_column(default="")  # of a batch system, which outlives its driver
    host: Mapped[str] = mapped_column(default="")
    engine: Mapped[str] = mapped_column(default="")
    level_hash: Mapped[str] = mapped_column(default="")
    versions: Mapped[dict[str, Any]] = mapped_column(
        default_factory=dict
    )  # and checksums of potentials
    input_sha256: Mapped[str] = mapped_column(default="")  # of level and structures that went in
    structure_in: Mapped[str] = mapped_column(default="")
    structure_out: Mapped[str] = mapped_column(default="")
    rungs: Mapped[list[str]] = mapped_column(default_factory=list)  # of the engine's SCF ladder
    error_class: Mapped[str] = mapped_column(default="")
    error_message: Mapped[str] = mapped_column(default="")
    refused: Mapped[int] = mapped_column(default=0)  # results that came twice or too late
    note: Mapped[str] = mapped_column(default="")
    reported_at: Mapped[float | None] = mapped_column(default=None)  # when its end was stored


class CalculationStepRow(Base):
    """One step of the relaxation of one attempt; a resumed attempt continues the count."""

    __tablename__ = "calculation_step"
    __table_args__ = (
        ForeignKeyConstraint(
            ["item", "level", "token"],
            ["calculation.item", "calculation.level", "calculation.token"],
        ),
        {"sqlite_with_rowid": False},
    )

    item: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)  # 0 is the start
    energy_ev: Mapped[float]  # total
    fmax: Mapped[float]  # eV/Å, largest force
    at: Mapped[float]  # seconds since 1970, UTC, of the worker


class CalculationFileRow(Base):
    """A file of an attempt, compressed; ``content`` is None where it was too large to keep."""

    __tablename__ = "calculation_file"
    __table_args__ = (
        ForeignKeyConstraint(
            ["item", "level", "token"],
            ["calculation.item", "calculation.level", "calculation.token"],
        ),
        CheckConstraint("size_bytes >= 0", name="size_non_negative"),
    )

    item: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)  # before it was compressed
    content: Mapped[bytes | None]  # gzip


class LabelRow(Base):
    """A verified energy at a level of theory, with the findings of the checks."""

    __tablename__ = "label"
    __table_args__ = (
        finite("energy_ev"),
        CheckConstraint("converged or not trainable", name="trainable_is_converged"),
    )

    candidate_id: Mapped[str] = mapped_column(ForeignKey("stored_candidate.id"), primary_key=True)
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
    level_hash: Mapped[str] = mapped_column(default="")  # empty where it was not reported
    flag_numbers: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)  # [found, limit]
    site_before: Mapped[str] = mapped_column(default="")  # as people say it: bridge Cu-Pt
    site_after: Mapped[str] = mapped_column(default="")
    migrated: Mapped[bool] = mapped_column(default=False)  # it ended on other slab atoms
    relaxed_text: Mapped[str] = mapped_column(default="")  # configuration text of the relaxed one
    two_start_ev: Mapped[float | None] = mapped_column(default=None)  # between two relaxations


class ReferenceEnergyRow(Base):
    """The energy of a gas molecule or a clean slab at a level; the first result stays."""

    __tablename__ = "reference_energy"
    __table_args__ = (one_of("kind", ReferenceKind),)

    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    kind: Mapped[ReferenceKind] = mapped_column(Text, primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)  # formula, or slab id
    energy_ev: Mapped[float]
    structure: Mapped[str | None] = mapped_column(default=None)  # relaxed
