"""Read which labels may be trained on: of one level of theory, converged, without a flag."""

from dataclasses import dataclass

from sqlalchemy import func, select

from screening_db.database import Database, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.learning.imported_labels import imported_notes
from screening_db.tables import (
    CalculationRow,
    CampaignRow,
    CandidateRow,
    LabelRow,
    LevelOfTheoryRow,
    PlacementRow,
)


@dataclass(frozen=True)
class TrainingLabel:
    """A verified adsorption energy (eV); structures are text.

    ``start`` is the placement as it was queued, None where it is no longer kept. ``relaxed_text``
    is the configuration text of where the adsorbate really ended, empty on labels of before it was
    kept. ``source`` says where one that others computed is from.
    """

    candidate_id: str
    slab_id: str
    adsorbate: str
    level: str
    energy_ev: float
    start: str | None
    relaxed: str
    relaxed_text: str
    source: str = ""


@dataclass(frozen=True)
class RefusedLabel:
    """A label that is not trained on, and why."""

    candidate_id: str
    level: str
    why: str


@dataclass(frozen=True)
class LabelSet:
    """The labels of one level that may be trained on, and those that may not."""

    level: str
    taken: tuple[TrainingLabel, ...]
    refused: tuple[RefusedLabel, ...]


@dataclass(frozen=True)
class NewLabels:
    """How many labels are new, and when the newest was verified (seconds since 1970, UTC)."""

    count: int
    newest: float | None = None


def training_labels(db: Database, level: str, level_hash: str) -> LabelSet:
    """Return the labels of a level that may be trained on, in the order of their candidates.

    Args:
        db: The database.
        level: The level of theory, by name.
        level_hash: Its hash: energies of two levels never meet in one training set.

    Returns:
        The labels (eV) that may be trained on, and the refused ones with the reason.

    Raises:
        DatabaseError: the level is not recorded, or with another hash.
    """
    _require_level(db, level, level_hash)
    taken, refused, notes = [], [], imported_notes(db, level)
    for row, candidate in _found(db, level):
        why = _refusal(row, level_hash)
        if why:
            refused.append(RefusedLabel(row.candidate_id, row.level, why))
        else:
            taken.append(_taken(row, candidate, notes.get(row.candidate_id, "")))
    return LabelSet(level, tuple(taken), tuple(refused))


@repeated_after_outage
def new_labels(db: Database, campaign: str, since: float | None = None) -> NewLabels:
    """Count a campaign's labels that may be trained on and were verified after ``since``.

    They are those that ``training_labels`` returns: of the campaign's level of verification and its
    settings, converged and without a flag, whichever campaign requested them.

    Args:
        db: The database.
        campaign: The campaign's name.
        since: Seconds since 1970, UTC, of the database's clock; None counts all. A label without
            a recorded calculation is older than any time.

    Returns:
        The count, and the time of the newest label.
    """
    ended = func.max(CalculationRow.reported_at).label("ended")
    of_label = (
        select(ended)
        .select_from(LabelRow)
        .join(CampaignRow, CampaignRow.verified_at == LabelRow.level)
        .join(CandidateRow, CandidateRow.id == LabelRow.candidate_id)
        .join(
            PlacementRow,
            (PlacementRow.campaign_key == CampaignRow.key)
            & (PlacementRow.candidate_key == CandidateRow.key),
        )
        .join(
            LevelOfTheoryRow,
            (LevelOfTheoryRow.name == LabelRow.level)
            & ((LabelRow.level_hash == "") | (LabelRow.level_hash == LevelOfTheoryRow.level_hash)),
        )
        .outerjoin(
            CalculationRow,
            (CalculationRow.item == LabelRow.candidate_id)
            & (CalculationRow.level == LabelRow.level)
            & (CalculationRow.state == "converged"),
        )
        .where(
            CampaignRow.name == campaign,
            LabelRow.trainable,
            LabelRow.converged,
            LabelRow.flags == [],
        )
        .group_by(LabelRow.candidate_id)
        .subquery()
    )
    query = select(func.count(), func.max(of_label.c.ended)).select_from(of_label)
    if since is not None:
        query = query.where(of_label.c.ended > since)
    with db.read() as session:
        count, newest = session.execute(query).one()
    return NewLabels(count, newest)


@repeated_after_outage
def _require_level(db: Database, level: str, level_hash: str) -> None:
    with db.read() as session:
        recorded = session.get(LevelOfTheoryRow, level)
    if recorded is None:
        raise DatabaseError(f"no level {level} is recorded in {db.where}; verify something at it")
    if recorded.level_hash != level_hash:
        raise DatabaseError(
            f"labels are trained on at the level they were computed at; {level} is recorded in "
            f"{db.where} with hash {recorded.level_hash[:12]} and was requested with "
            f"{level_hash[:12]}; verify again under another level name"
        )


@repeated_after_outage
def _found(db: Database, level: str) -> list[tuple[LabelRow, CandidateRow]]:
    query = (
        select(LabelRow, CandidateRow)
        .join(CandidateRow, CandidateRow.id == LabelRow.candidate_id)
        .where(LabelRow.level == level)
        .order_by(LabelRow.candidate_id)
    )
    with db.read() as session:
        return [(label, candidate) for label, candidate in session.execute(query)]


def _refusal(row: LabelRow, level_hash: str) -> str:
    """Return why a label is not trained on, or nothing."""
    if row.level_hash not in ("", level_hash):
        return (
            f"unlike settings: {row.level} had hash {row.level_hash[:12]} when it was computed, "
            f"and the training set is of {level_hash[:12]}"
        )
    if not row.converged:
        return f"not converged: {row.fmax:.3f} eV/Å remain"
    if not row.trainable or row.flags:
        return f"anomaly: {', '.join(row.flags) or 'not trainable'}"
    return ""


def _taken(row: LabelRow, candidate: CandidateRow, source: str) -> TrainingLabel:
    return TrainingLabel(
        candidate_id=row.candidate_id,
        slab_id=candidate.slab_id,
        adsorbate=candidate.adsorbate,
        level=row.level,
        energy_ev=row.energy_ev,
        start=candidate.structure,
        relaxed=row.structure,
        relaxed_text=row.relaxed_text,
        source=source,
    )
