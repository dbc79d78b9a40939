"""The rows of a screening: what was enumerated, predicted, ranked, and in which state each item is.

Units   energies in eV; ``sigma_ev`` is always one standard deviation.
Ids     bulks, slabs, pairs and candidates carry the SHA-256 of their content, so that a rerun,
        elsewhere or in another campaign, writes the same rows.
Keys    what there are millions of is stored under short integer keys (``stored_candidate``,
        ``stored_prediction``, ...) that never leave the database. The views ``candidate``,
        ``prediction``, ``rank`` and ``campaign_item`` show the same rows by their ids, and so do
        the rows here.
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
    ScalarSelect,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from screening_db.tables.base import IDENTITY, Base, finite, one_of, refers_to, short_key, shown

CampaignStatus = Literal["running", "finished"]
Side = Literal["top", "bottom"]
Stage = Literal["bulk", "slab", "adsorbate", "element", "pair", "placement"]
ItemState = Literal[
    "used", "refused", "out_of_domain", "predicted", "queued", "kept", "passed_over"
]
AliasKind = Literal["bulk", "slab", "candidate"]


class BulkRow(Base):
    """A bulk crystal, as its conventional cell."""

    __tablename__ = "bulk"

    id: Mapped[str] = mapped_column(primary_key=True)
    formula: Mapped[str] = mapped_column(index=True)  # reduced
    source: Mapped[str]  # the file or prototype that it came from first
    structure: Mapped[str]
    note: Mapped[str] = mapped_column(default="")  # such as the tolerance of its symmetry


class SlabRow(Base):
    """One termination and side of one Miller index of a bulk, or a slab of the user's own.

    The Miller index is that of the bulk's standard cell. A slab of one's own may have no bulk.
    """

    __tablename__ = "slab"
    __table_args__ = (
        one_of("side", Side),
        CheckConstraint("n_atoms > 0", name="n_atoms_positive"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    bulk_id: Mapped[str | None] = mapped_column(ForeignKey("bulk.id"), index=True)
    miller_h: Mapped[int]
    miller_k: Mapped[int]
    miller_l: Mapped[int]
    shift: Mapped[float]
    side: Mapped[Side] = mapped_column(Text)
    n_atoms: Mapped[int]
    elements: Mapped[list[str]]  # sorted
    structure: Mapped[str]
    formula: Mapped[str] = mapped_column(default="")  # reduced, where it is not the bulk's
    edit: Mapped[str] = mapped_column(default="")  # what was changed after it was cut


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


class CampaignRow(Base, kw_only=True):
    """One campaign file, as it was run.

    ``checkpoint_sha256`` made its present ranking; ``screened_with`` is the one it was screened
    with, to which its configuration's hash and its chunks belong.
    """

    __tablename__ = "campaign"
    __table_args__ = (one_of("status", CampaignStatus), {"info": {IDENTITY: ["name"]}})
    __mapper_args__ = {"primary_key": ["name"]}  # noqa: RUF012  SQLAlchemy reads it by this name

    name: Mapped[str] = mapped_column(unique=True)
    config_sha256: Mapped[str]
    config: Mapped[str]
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"))
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoint.sha256"))
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[CampaignStatus] = mapped_column(Text, default="running")
    # of its labels, where it is not that of its predictions
    verification_level: Mapped[str | None] = mapped_column(default=None)
    screened_with: Mapped[str] = mapped_column(default="")  # else the checkpoint it is given
    key: Mapped[int] = short_key()
    # of the relaxing stage: its level, and the checkpoint that read its energies, empty before that
    relaxing_level: Mapped[str] = mapped_column(default="", server_default="")
    relaxed_with: Mapped[str] = mapped_column(default="", server_default="")

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


class PairRow(Base, kw_only=True):
    """A slab and an adsorbate, with the id that the pair is named by."""

    __tablename__ = "pair"
    __table_args__ = ({"info": {IDENTITY: ["id"]}},)

    key: Mapped[int] = short_key()
    id: Mapped[str] = mapped_column(unique=True)
    slab_id: Mapped[str] = mapped_column(ForeignKey("slab.id"))
    adsorbate: Mapped[str] = mapped_column(ForeignKey("adsorbate.name"))


IMPORTED = "imported"  # engine of an attempt, key of a candidate's recipe, that came with a label


class CandidateRow(Base, kw_only=True):
    """An adslab: where the adsorbate sits, enough to build it again."""

    __tablename__ = "stored_candidate"
    __table_args__ = (
        Index("ix_stored_candidate_pair_key", "pair_key"),
        {"info": {IDENTITY: ["id"]}},
    )

    key: Mapped[int] = short_key()
    id: Mapped[str] = mapped_column(unique=True)
    pair_key: Mapped[int] = refers_to("pair", id="pair_id")
    site_kind: Mapped[str]
    site: Mapped[str]  # as people say it: bridge Cu-Pt
    recipe: Mapped[dict[str, Any]]  # site atoms, position, rotation, seed
    structure: Mapped[str | None] = mapped_column(default=None)  # of the best few and the queued
    pair_id: Mapped[str] = shown(PairRow.id, pair_key)
    slab_id: Mapped[str] = shown(PairRow.slab_id, pair_key)
    adsorbate: Mapped[str] = shown(PairRow.adsorbate, pair_key)

    @property
    def pair(self) -> PairRow:
        """Return the pair, which is stored before its candidates."""
        return PairRow(id=self.pair_id, slab_id=self.slab_id, adsorbate=self.adsorbate)


class PredictorRow(Base, kw_only=True):
    """A checkpoint at one level of theory, which predictions refer to."""

    __tablename__ = "predictor"
    __table_args__ = (
        UniqueConstraint("checkpoint_sha256", "level"),
        {"info": {IDENTITY: ["checkpoint_sha256", "level"]}},
    )

    key: Mapped[int] = short_key()
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoint.sha256"))
    level: Mapped[str] = mapped_column(ForeignKey("level_of_theory.name"))


class PredictionRow(Base, kw_only=True):
    """The relaxed adsorption energy that one checkpoint predicts at one level."""

    __tablename__ = "stored_prediction"
    __table_args__ = (
        CheckConstraint("sigma_ev >= 0 and sigma_ev < 1e6", name="sigma_non_negative"),
        finite("energy_ev"),
        finite("regression_ev"),
        finite("token_ev"),
        {"sqlite_with_rowid": False},  # its key is the order that it is read in
    )

    candidate_key: Mapped[int] = refers_to("stored_candidate", primary_key=True, id="candidate_id")
    predictor_key: Mapped[int] = refers_to(
        "predictor", primary_key=True, checkpoint_sha256="checkpoint_sha256", level="level"
    )
    energy_ev: Mapped[float]
    sigma_ev: Mapped[float]
    regression_ev: Mapped[float | None]  # None where the model has no such head
    token_ev: Mapped[float | None]
    in_domain: Mapped[bool]
    reason: Mapped[str] = mapped_column(default="")  # why it is out of the domain
    # the levels whose relaxed energies it starts from, joined by +; empty where from none
    basis: Mapped[str] = mapped_column(default="", server_default="")
    candidate_id: Mapped[str] = shown(CandidateRow.id, candidate_key)
    checkpoint_sha256: Mapped[str] = shown(PredictorRow.checkpoint_sha256, predictor_key)
    level: Mapped[str] = shown(PredictorRow.level, predictor_key)

    @property
    def predictor(self) -> PredictorRow:
        """Return the predictor, which is stored before its predictions."""
        return PredictorRow(checkpoint_sha256=self.checkpoint_sha256, level=self.level)


class CampaignItemRow(Base):
    """The one state that one item of a campaign is in; the view ``funnel`` counts them.

    Bulks, slabs, adsorbates, elements and pairs are used or refused. Placements are refused, out
    of domain or predicted; triage moves each predicted one to queued, kept or passed over. One
    that is a candidate is stored as a ``PlacementRow``; here are those that were refused before.
    """

    __tablename__ = "stored_item"
    __table_args__ = (
        one_of("stage", Stage),
        CheckConstraint(
            "state = 'refused' or (stage <> 'placement' and state = 'used')",
            name="state_of_stage",
        ),
        CheckConstraint("state <> 'refused' or reason <> ''", name="refusal_has_reason"),
        {"sqlite_with_rowid": False},
    )

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    stage: Mapped[Stage] = mapped_column(Text, primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)  # an id, or what was refused
    state: Mapped[ItemState] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(default="")  # "rule: values"; the funnel counts rules


class PlacementRow(Base, kw_only=True):
    """The one state that one candidate of a campaign is in.

    A contender is a placement that was kept or queued by any ranking of its campaign. Another
    checkpoint predicts contenders alone, and finds each in its domain or out of it. ``to_relax`` is
    the choice of the relaxing stage, made once.
    """

    __tablename__ = "stored_placement"
    __table_args__ = (
        CheckConstraint(
            "state in ('out_of_domain', 'predicted', 'queued', 'kept', 'passed_over')",
            name="state_known",
        ),
        CheckConstraint("state <> 'out_of_domain' or reason <> ''", name="refusal_has_reason"),
        {"sqlite_with_rowid": False},
    )

    campaign_key: Mapped[int] = refers_to("campaign", primary_key=True, name="campaign")
    candidate_key: Mapped[int] = refers_to("stored_candidate", primary_key=True, id="candidate_id")
    state: Mapped[ItemState] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(default="")  # as in ``CampaignItemRow``
    contender: Mapped[bool] = mapped_column(default=False)
    to_relax: Mapped[bool] = mapped_column(default=False)
    campaign: Mapped[str] = shown(CampaignRow.name, campaign_key)
    candidate_id: Mapped[str] = shown(CandidateRow.id, candidate_key)


# Partial: contenders are few among all placements.
Index(
    "ix_stored_placement_contender",
    PlacementRow.campaign_key,
    PlacementRow.candidate_key,
    sqlite_where=text("contender = 1"),  # as SQLAlchemy renders the condition there
    postgresql_where=text("contender"),
)


class RankRow(Base, kw_only=True):
    """The rank of a pair in its campaign, by its lowest placement.

    The key begins with (campaign, rank), so that the first hundred lie beside each other.
    """

    __tablename__ = "stored_rank"
    __table_args__ = (
        UniqueConstraint("campaign", "pair_key"),
        CheckConstraint("probability >= 0 and probability <= 1", name="probability_in_0_1"),
        CheckConstraint("rank >= 1", name="rank_from_1"),
        {"sqlite_with_rowid": False},
    )

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank_group: Mapped[int]  # pairs that the model cannot tell apart share it
    pair_key: Mapped[int] = refers_to("pair", id="pair_id")
    candidate_key: Mapped[int] = refers_to("stored_candidate", id="candidate_id")
    energy_ev: Mapped[float]
    sigma_ev: Mapped[float]
    probability: Mapped[float]
    basis: Mapped[str] = mapped_column(default="", server_default="")  # of the prediction
    pair_id: Mapped[str] = shown(PairRow.id, pair_key)
    candidate_id: Mapped[str] = shown(CandidateRow.id, candidate_key)
    adsorbate: Mapped[str] = shown(PairRow.adsorbate, pair_key)


class ChunkRow(Base):
    """A chunk of a campaign that is stored in full; written with its rows or not at all."""

    __tablename__ = "chunk"

    campaign: Mapped[str] = mapped_column(ForeignKey("campaign.name"), primary_key=True)
    chunk_id: Mapped[str] = mapped_column(primary_key=True)
    n_items: Mapped[int]


class AliasRow(Base):
    """Another id of the row stored as ``id``: of an older release, or of another writing of it."""

    __tablename__ = "alias"
    __table_args__ = (
        one_of("kind", AliasKind),
        CheckConstraint("alias <> id", name="names_another"),
    )

    kind: Mapped[AliasKind] = mapped_column(Text, primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(index=True)


def key_of_campaign(name: str) -> ScalarSelect[int]:
    """Select the short key of a campaign."""
    return select(CampaignRow.key).where(CampaignRow.name == name).scalar_subquery()


def key_of_predictor(checkpoint_sha256: str, level: str) -> ScalarSelect[int]:
    """Select the short key of a checkpoint at a level of theory."""
    return (
        select(PredictorRow.key)
        .where(PredictorRow.checkpoint_sha256 == checkpoint_sha256, PredictorRow.level == level)
        .scalar_subquery()
    )
