"""The rows of a screening: what was enumerated, predicted, ranked, and in which state each item is.

Units   energies in eV; ``sigma_ev`` is always one standard deviation.
Ids     bulks, slabs, pairs and candidates carry the SHA-256 of their content, so that a rerun,
        elsewhere or in another campaign, writes the same rows.
Text    ``structure`` is JSON text that the database stores and never reads.

Rows are dataclasses: build them with keywords and hand them to ``screening_db.records``. The rows
of verification are in ``tables.verification``.
"""

from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables.base import Base, finite, one_of

CampaignStatus = Literal["running", "finished"]
Side = Literal["top", "bottom"]
Stage = Literal["bulk", "slab", "adsorbate", "element", "pair", "placement"]
ItemState = Literal[
    "used", "refused", "out_of_domain", "predicted", "queued", "kept", "passed_over"
]


class BulkRow(Base):
    """A bulk crystal, as its conventional cell."""

    __tablename__ = "bulk"

    id: Mapped[str] = mapped_column(primary_key=True)
    formula: Mapped[str]  # reduced
    source: Mapped[str]  # the file or prototype that it came from first
    structure: Mapped[str]


class SlabRow(Base):
    """One termination and side of one Miller index of a bulk."""

    __tablename__ = "slab"
    __table_args__ = (
        one_of("side", Side),
        CheckConstraint("n_atoms > 0", name="n_atoms_positive"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    bulk_id: Mapped[str] = mapped_column(ForeignKey("bulk.id"), index=True)
    miller_h: Mapped[int]
    miller_k: Mapped[int]
    miller_l: Mapped[int]
    shift: Mapped[float]
    side: Mapped[Side] = mapped_column(Text)
    n_atoms: Mapped[int]
    elements: Mapped[list[str]]  # sorted
    structure: Mapped[str]


class AdsorbateRow(Base):
    """An adsorbate, by the name that pairs refer to."""

    __tablename__ = "adsorbate"

    name: Mapped[str] = mapped_column(primary_key=True)
    formula: Mapped[str]
    structure: Mapped[str]
    binding: Mapped[list[int]]  # indices of the atoms that touch the surface


class LevelOfTheoryRow(Base):
    """Engine, functional, settings and reference reactions under one name."""

    __tablename__ = "level_of_theory"

    name: Mapped[str] = mapped_column(primary_key=True)
    level_hash: Mapped[str] = mapped_column(unique=True)
    engine: Mapped[str]
    functional: Mapped[str]
    settings: Mapped[dict[str, Any]]
    reference: Mapped[dict[str, Any]]


class CheckpointRow(Base):
    """A model's weights, by their hash."""

    __tablename__ = "checkpoint"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    card: Mapped[dict[str, Any]]
    model: Mapped[str] = mapped_column(default="")  # the name it serves under; else its own
    folder: Mapped[str] = mapped_column(default="")  # where it lies; empty for an embedded one
    parent_sha256: Mapped[str | None] = mapped_column(
        default=None
    )  # the checkpoint that it was fine-tuned from

    def __post_init__(self) -> None:
        self.model = self.model or self.name


class CampaignRow(Base):
    """One campaign file, as it was run.

    ``checkpoint_sha256`` made its present ranking; ``screened_with`` is the one it was screened
    with, to which its configuration's hash and its chunks belong.
    """

    __tablename__ = "campaign"
    __table_args__ = (one_of("status", CampaignStatus),)

    name: Mapped[str] = mapped_column(primary_key=True)
    config_sha256: Mapped[str]
    config: Mapped[str]
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"))
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoint.sha256"))
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[CampaignStatus] = mapped_column(Text, default="running")
    # of its labels, where it is not that of its predictions
    verification_level: Mapped[str | None] = mapped_column(default=None)
    screened_with: Mapped[str] = mapped_column(default="")  # else the checkpoint it is given

    def __post_init__(self) -> None:
        self.screened_with = self.screened_with or self.checkpoint_sha256

    @hybrid_property
    def verified_at(self) -> str:
        """Return the level of theory that the campaign's candidates are verified at."""
        return self.level if self.verification_level is None else self.verification_level

    @verified_at.inplace.expression
    @classmethod
    def _verified_at(cls) -> ColumnElement[str]:
        return func.coalesce(cls.verification_level, cls.level)


class CandidateRow(Base):
    """An adslab: where the adsorbate sits, enough to build it again."""

    __tablename__ = "candidate"

    id: Mapped[str] = mapped_column(primary_key=True)
    pair_id: Mapped[str] = mapped_column(index=True)
    slab_id: Mapped[str] = mapped_column(ForeignKey("slab.id"))
    adsorbate: Mapped[str] = mapped_column(ForeignKey("adsorbate.name"))
    site_kind: Mapped[str]
    site: Mapped[str]  # as people say it: bridge Cu-Pt
    recipe: Mapped[dict[str, Any]]  # site atoms, position, rotation, seed
    structure: Mapped[str | None] = mapped_column(default=None)  # of the best few and the queued


class PredictionRow(Base):
    """The relaxed adsorption energy that one checkpoint predicts at one level."""

    __tablename__ = "prediction"
    __table_args__ = (
        CheckConstraint("sigma_ev >= 0 and sigma_ev < 1e6", name="sigma_non_negative"),
        finite("energy_ev"),
        finite("regression_ev"),
        finite("token_ev"),
        {"sqlite_with_rowid": False},  # the key is most of the row: store it once
    )

    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"), primary_key=True)
    checkpoint_sha256: Mapped[str] = mapped_column(
        ForeignKey("checkpoint.sha256"), primary_key=True
    )
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"), primary_key=True)
    energy_ev: Mapped[float]
    sigma_ev: Mapped[float]
    regression_ev: Mapped[float | None]  # None where the model has no such head
    token_ev: Mapped[float | None]
    in_domain: Mapped[bool]
    reason: Mapped[str] = mapped_column(default="")  # why it is out of the domain


class CampaignItemRow(Base):
    """The one state that one item of a campaign is in; the view ``funnel`` counts them.

    Bulks, slabs, adsorbates, elements and pairs are used or refused. Placements are refused, out
    of domain or predicted; triage moves each predicted one to queued, kept or passed over.

    A contender is a placement that was kept or queued by any ranking of its campaign. Another
    checkpoint predicts contenders alone, and finds each in its domain or out of it.
    """

    __tablename__ = "campaign_item"
    __table_args__ = (
        one_of("stage", Stage),
        CheckConstraint(
            "state = 'refused' or (stage <> 'placement' and state = 'used') or "
            "(stage = 'placement' and state in "
            "('out_of_domain', 'predicted', 'queued', 'kept', 'passed_over'))",
            name="state_of_stage",
        ),
        CheckConstraint(
            "state not in ('refused', 'out_of_domain') or reason <> ''", name="refusal_has_reason"
        ),
        {"sqlite_with_rowid": False},
    )

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    stage: Mapped[Stage] = mapped_column(Text, primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)  # an id, or what was refused
    state: Mapped[ItemState] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(default="")  # "rule: values"; the funnel counts rules
    contender: Mapped[bool] = mapped_column(default=False)


# Partial: contenders are few among all placements.
Index(
    "ix_campaign_item_contender",
    CampaignItemRow.campaign,
    CampaignItemRow.item_id,
    sqlite_where=text("contender = 1"),  # as SQLAlchemy renders the condition there
    postgresql_where=text("contender"),
)


class RankRow(Base):
    """The rank of a pair in its campaign, by its lowest placement.

    The key begins with (campaign, rank), so that the first hundred lie beside each other.
    """

    __tablename__ = "rank"
    __table_args__ = (
        UniqueConstraint("campaign", "pair_id"),
        CheckConstraint("probability >= 0 and probability <= 1", name="probability_in_0_1"),
        CheckConstraint("rank >= 1", name="rank_from_1"),
        {"sqlite_with_rowid": False},
    )

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank_group: Mapped[int]  # pairs that the model cannot tell apart share it
    pair_id: Mapped[str]
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.id"))
    adsorbate: Mapped[str]
    energy_ev: Mapped[float]
    sigma_ev: Mapped[float]
    probability: Mapped[float]


class ChunkRow(Base):
    """A chunk of a campaign that is stored in full; written with its rows or not at all."""

    __tablename__ = "chunk"

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    chunk_id: Mapped[str] = mapped_column(primary_key=True)
    n_items: Mapped[int]
