"""Read labels, reference energies, and attempted calculations at the level of labels."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Text, cast, column, exists, func, literal, select, table

from screening_db.database import Database, batches, repeated_after_outage
from screening_db.tables import (
    BulkRow,
    CalculationRow,
    CampaignRow,
    CandidateRow,
    LabelRow,
    PairRow,
    PlacementRow,
    PredictionRow,
    PredictorRow,
    QueueRow,
    ReferenceEnergyRow,
    ReferenceKind,
    SlabRow,
)

# as the view ``ranked_candidates`` writes it: (1 -1 0)
_MILLER = (
    literal("(")
    + cast(SlabRow.miller_h, Text)
    + " "
    + cast(SlabRow.miller_k, Text)
    + " "
    + cast(SlabRow.miller_l, Text)
    + ")"
)
_QUEUE_VIEW = table(
    "verification_queue", column("item"), column("level"), column("termination"), column("why")
)


@dataclass(frozen=True)
class LabelledPrediction:
    """A verified energy beside the prediction of the campaign's checkpoint."""

    candidate_id: str
    bulk: str
    miller: str
    termination: str  # as in ``RankedCandidate``
    adsorbate: str
    site: str
    level: str  # of the label
    predicted_level: str
    predicted_ev: float
    sigma_ev: float
    label_ev: float
    trainable: bool
    why: str | None
    edit: str = ""  # of the slab after it was cut


@repeated_after_outage
def labelled_predictions(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[LabelledPrediction]:
    """Return the labels of a campaign's placements beside their predictions.

    Args:
        db: The database.
        campaign: The campaign's name.
        checkpoint_sha256: The checkpoint that predicts, by default that of the campaign's ranking.

    Returns:
        One line a label (energies in eV), by candidate id; unpredicted ones are left out.
    """
    of_view = _QUEUE_VIEW.c
    predicted_by = checkpoint_sha256 or CampaignRow.checkpoint_sha256
    query = (
        select(
            LabelRow.candidate_id,
            func.coalesce(BulkRow.formula, SlabRow.formula).label("bulk"),
            _MILLER.label("miller"),
            func.coalesce(of_view.termination, "").label("termination"),
            PairRow.adsorbate,
            CandidateRow.site,
            LabelRow.level,
            PredictorRow.level.label("predicted_level"),
            PredictionRow.energy_ev.label("predicted_ev"),
            PredictionRow.sigma_ev,
            LabelRow.energy_ev.label("label_ev"),
            LabelRow.trainable,
            of_view.why,
            SlabRow.edit,
        )
        .select_from(LabelRow)
        .join(CampaignRow, CampaignRow.verified_at == LabelRow.level)
        .join(CandidateRow, CandidateRow.id == LabelRow.candidate_id)
        .join(
            PlacementRow,
            (PlacementRow.campaign_key == CampaignRow.key)
            & (PlacementRow.candidate_key == CandidateRow.key),
        )
        .join(PairRow, PairRow.key == CandidateRow.pair_key)
        .join(SlabRow, SlabRow.id == PairRow.slab_id)
        .outerjoin(BulkRow, BulkRow.id == SlabRow.bulk_id)
        .join(
            PredictorRow,
            (PredictorRow.level == CampaignRow.level)
            & (PredictorRow.checkpoint_sha256 == predicted_by),
        )
        .join(
            PredictionRow,
            (PredictionRow.candidate_key == CandidateRow.key)
            & (PredictionRow.predictor_key == PredictorRow.key),
        )
        .outerjoin(
            _QUEUE_VIEW,
            (of_view.item == LabelRow.candidate_id) & (of_view.level == LabelRow.level),
        )
        .where(CampaignRow.name == campaign)
        .order_by(LabelRow.candidate_id)
    )
    with db.read() as session:
        return [LabelledPrediction(**row) for row in session.execute(query).mappings()]


@repeated_after_outage
def find_label(db: Database, candidate_id: str, level: str) -> LabelRow | None:
    """Return the label of one candidate at one level, if there is one."""
    with db.read() as session:
        return session.get(LabelRow, (candidate_id, level))


@repeated_after_outage
def labels_by_candidate(
    db: Database, level: str, candidate_ids: Sequence[str]
) -> dict[str, LabelRow]:
    """Return the labels of some candidates at a level, by candidate id."""
    with db.read() as session:
        return {
            row.candidate_id: row
            for ids in batches(candidate_ids)
            for row in session.scalars(
                select(LabelRow).where(LabelRow.level == level, LabelRow.candidate_id.in_(ids))
            )
        }


def relaxed_labels(
    db: Database, levels: Mapping[str, str], candidate_ids: Sequence[str]
) -> dict[str, dict[str, LabelRow]]:
    """Return labels of some candidates at levels whose hashes are given, by candidate and level.

    One of another hash is left out: its level was computed with other settings.
    """
    found: dict[str, dict[str, LabelRow]] = {}
    for level, level_hash in levels.items():
        for candidate_id, row in labels_by_candidate(db, level, candidate_ids).items():
            if row.level_hash == level_hash:
                found.setdefault(candidate_id, {})[level] = row
    return found


@repeated_after_outage
def levels_with_labels(db: Database) -> list[str]:
    """Return the levels of theory that have labels, by name."""
    with db.read() as session:
        return list(session.scalars(select(LabelRow.level).distinct().order_by(LabelRow.level)))


@repeated_after_outage
def reference_energies(
    db: Database, level: str, kind: ReferenceKind, items: Collection[str] | None = None
) -> dict[str, ReferenceEnergyRow]:
    """Return the reference energies of a level, by formula or slab id: ``items`` or all."""
    query = select(ReferenceEnergyRow).where(
        ReferenceEnergyRow.level == level, ReferenceEnergyRow.kind == kind
    )
    if items is not None:
        query = query.where(ReferenceEnergyRow.item.in_(items))
    with db.read() as session:
        return {row.item: row for row in session.scalars(query)}


@repeated_after_outage
def attempted_candidates(
    db: Database, campaign: str, *, except_own: bool = False
) -> frozenset[str]:
    """Return the campaign's candidates that have a label or were attempted at its label level.

    An attempt counts from its lease on, also one that failed.

    Args:
        db: The database.
        campaign: The campaign's name.
        except_own: Leave out what the campaign queued itself, so that a choice that is made again,
            after a kill, is the same.

    Returns:
        Their ids.
    """
    item, level = CandidateRow.id, CampaignRow.verified_at
    labelled = exists().where(LabelRow.candidate_id == item, LabelRow.level == level)
    attempted = exists().where(CalculationRow.item == item, CalculationRow.level == level)
    ended = exists().where(
        QueueRow.item == item,
        QueueRow.level == level,
        QueueRow.state.in_(("converged", "anomalous", "failed", "cancelled")),
    )
    query = (
        select(item)
        .join(PlacementRow, PlacementRow.candidate_key == CandidateRow.key)
        .join(CampaignRow, CampaignRow.key == PlacementRow.campaign_key)
        .where(CampaignRow.name == campaign, labelled | attempted | ended)
    )
    if except_own:
        query = query.where(PlacementRow.state != "queued")
    with db.read() as session:
        return frozenset(session.scalars(query))


@repeated_after_outage
def slabs_with_energy(db: Database, campaign: str, *, except_own: bool = False) -> frozenset[str]:
    """Return the slabs whose clean energy at the campaign's label level is recorded.

    ``except_own`` leaves out those that the campaign queued itself, as in ``attempted_candidates``.
    """
    query = (
        select(ReferenceEnergyRow.item)
        .join(CampaignRow, CampaignRow.verified_at == ReferenceEnergyRow.level)
        .where(CampaignRow.name == campaign, ReferenceEnergyRow.kind == "slab")
    )
    if except_own:
        own = exists().where(
            QueueRow.item == ReferenceEnergyRow.item,
            QueueRow.level == ReferenceEnergyRow.level,
            QueueRow.kind == "slab",
            QueueRow.campaign == campaign,
        )
        query = query.where(~own)
    with db.read() as session:
        return frozenset(session.scalars(query))
