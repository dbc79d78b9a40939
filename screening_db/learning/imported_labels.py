"""Store labels that others computed, beside those that are computed here.

A label of a candidate at a level is one row, whoever computed it. Each import of it is an attempt
as well, under a token that is the hash of its content: the second time nothing changes, and of
labels that contradict each other both are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from screening_db.database import Database, database_time, repeated_after_outage, upsert
from screening_db.tables import IMPORTED as IMPORTED
from screening_db.tables import (
    AdsorbateRow,
    CalculationRow,
    CandidateRow,
    LabelRow,
    SlabRow,
)

CONTRADICTED = "contradicted"  # the flag of a label that another one at its level contradicts
ImportState = Literal["stored", "flagged", "known", "duplicate", "contradicted"]


@dataclass(frozen=True)
class ImportedCalculation:
    """A label with all that it refers to; ``source`` says where it stands."""

    source: str
    slab: SlabRow
    adsorbate: AdsorbateRow
    candidate: CandidateRow
    label: LabelRow
    attempt: CalculationRow


@dataclass(frozen=True)
class ImportResult:
    """The outcome of one label, and the source of the one that was there before, if any."""

    source: str
    state: ImportState
    other: str = ""
    other_ev: float = 0.0


@repeated_after_outage
def record_imported_labels(
    db: Database, labels: Sequence[ImportedCalculation], tolerance_ev: float
) -> list[ImportResult]:
    """Store labels whose level and adsorbates are recorded, in one transaction.

    Args:
        db: The database.
        labels: In the order of their source; the first of one candidate is its label.
        tolerance_ev: Energies (eV) of one candidate that are apart by more contradict each other:
            an imported label is then flagged and not trained on, one computed here stays.

    Returns:
        The outcome of each, in the same order.
    """
    with db.write() as session:
        now = database_time(session)
        slabs = {each.slab.id: each.slab for each in labels}
        pairs = {each.candidate.pair_id: each.candidate.pair for each in labels}
        upsert(session, list(slabs.values()), overwrite=False)
        upsert(session, list(pairs.values()), overwrite=False)
        _store_candidates(session, [each.candidate for each in labels])
        results: list[ImportResult] = []
        stored: dict[str, int] = {}
        for number, each in enumerate(labels):
            results.append(_stored(session, each, now, tolerance_ev))
            first = stored.setdefault(each.candidate.id, number)
            if first < number and results[-1].state == "contradicted":  # then both of them are
                results[first] = _contradicted(results[first], each)
        return results


def _contradicted(first: ImportResult, by: ImportedCalculation) -> ImportResult:
    """Return the result of a label that a later one of the same import contradicts."""
    if first.state not in ("stored", "flagged"):
        return first
    return ImportResult(first.source, "contradicted", by.attempt.note, by.label.energy_ev)


def _store_candidates(session: Session, candidates: Sequence[CandidateRow]) -> None:
    """Store candidates; one that a campaign has without its structure gets it.

    So does one that was imported before texts were kept get its own.
    """
    upsert(session, candidates, overwrite=False)
    for new in candidates:
        old = session.scalars(select(CandidateRow).where(CandidateRow.id == new.id)).one()
        if old.structure is None:
            old.structure = new.structure
        if IMPORTED in old.recipe and "text" not in old.recipe:
            old.recipe = new.recipe
    session.flush()


def _stored(
    session: Session, new: ImportedCalculation, now: float, tolerance_ev: float
) -> ImportResult:
    key = (new.label.candidate_id, new.label.level)
    if session.get(CalculationRow, (*key, new.attempt.token)) is not None:
        return ImportResult(new.source, "known")
    old = session.get(LabelRow, key)
    number, by = _attempts_before(session, *key)
    new.attempt.attempt = number + 1
    new.attempt.started_at = new.attempt.ended_at = new.attempt.reported_at = now
    apart_ev = 0.0 if old is None else abs(old.energy_ev - new.label.energy_ev)
    if apart_ev > tolerance_ev:
        new.attempt.state = "anomalous"
    upsert(session, [new.attempt], overwrite=False)
    if old is None:
        upsert(session, [new.label], overwrite=False)
        return ImportResult(new.source, "stored" if new.label.trainable else "flagged")
    if apart_ev <= tolerance_ev:
        return ImportResult(new.source, "duplicate", _named(by), old.energy_ev)
    if by is not None and by.engine == IMPORTED and CONTRADICTED not in old.flags:
        old.flags = [*old.flags, CONTRADICTED]
        old.flag_numbers = {**old.flag_numbers, CONTRADICTED: [apart_ev, tolerance_ev]}
        old.trainable = False
        session.flush()
    return ImportResult(new.source, "contradicted", _named(by), old.energy_ev)


def _attempts_before(session: Session, item: str, level: str) -> tuple[int, CalculationRow | None]:
    """Return how many attempts there are, and the one that the label is of: ours, or the first."""
    found = session.scalars(
        select(CalculationRow)
        .where(CalculationRow.item == item, CalculationRow.level == level)
        .order_by(CalculationRow.attempt, CalculationRow.token)
    ).all()
    own = [each for each in found if each.engine != IMPORTED and each.state in _ENDED]
    return max((each.attempt for each in found), default=0), next(iter(own or found), None)


_ENDED = ("converged", "anomalous")


def _named(by: CalculationRow | None) -> str:
    if by is None:
        return "a label computed here"
    return by.note if by.engine == IMPORTED else f"computed here by {by.engine}"


@repeated_after_outage
def imported_notes(db: Database, level: str) -> dict[str, str]:
    """Return where the imported labels of a level are from, by candidate id."""
    query = (
        select(CalculationRow.item, CalculationRow.note)
        .where(CalculationRow.level == level, CalculationRow.engine == IMPORTED)
        .order_by(CalculationRow.attempt.desc())  # the first one, whose energy is the label's
    )
    with db.read() as session:
        return dict(session.execute(query).tuples().all())
