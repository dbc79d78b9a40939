"""Slabs, adsorbates and candidates of the database as the values that tasks work on."""

from collections.abc import Collection, Sequence

from model.contract import Prediction
from screening_db.database.engine import Database
from screening_db.queries.enumeration import (
    adsorbates_by_name,
    bulk_formulas,
    candidates_by_id,
    slabs_by_id,
)
from screening_db.tables.screening import CandidateRow, PredictionRow, SlabRow
from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.slabs import Slab
from tasks.prediction.predict import StoredCandidate, StoredSlab
from tasks.structures.formats import structure_from_text


def stored_adsorbates(db: Database, names: Collection[str]) -> dict[str, Adsorbate]:
    """Return adsorbates by name, as they are stored."""
    return {
        name: Adsorbate(name, row.formula, structure_from_text(row.structure), tuple(row.binding))
        for name, row in adsorbates_by_name(db, names).items()
    }


def stored_slabs(db: Database, candidate_ids: Sequence[str]) -> list[StoredSlab]:
    """Return the slabs of candidates, each with its own candidates, in the order of ids."""
    found = candidates_by_id(db, candidate_ids)
    on_slab: dict[str, list[StoredCandidate]] = {}
    for candidate_id in sorted(found):
        row = found[candidate_id]
        on_slab.setdefault(row.slab_id, []).append(_candidate(row))
    rows = slabs_by_id(db, sorted(on_slab))
    formulas = bulk_formulas(db, {row.bulk_id for row in rows.values()})
    return [
        StoredSlab(_slab(rows[slab_id], formulas), tuple(on_slab[slab_id]))
        for slab_id in sorted(on_slab)
    ]


def stored_prediction(row: PredictionRow) -> Prediction | None:
    """Return a stored prediction; None where it lacks a head that predictions have."""
    if row.regression_ev is None or row.token_ev is None:
        return None
    return Prediction(
        candidate_id=row.candidate_id,
        level=row.level,
        checkpoint_sha256=row.checkpoint_sha256,
        energy_ev=row.energy_ev,
        sigma_ev=row.sigma_ev,
        regression_ev=row.regression_ev,
        token_ev=row.token_ev,
        in_domain=row.in_domain,
        reason=row.reason,
    )


def _candidate(row: CandidateRow) -> StoredCandidate:
    return StoredCandidate(
        candidate_id=row.id,
        pair_id=row.pair_id,
        adsorbate=row.adsorbate,
        site_kind=row.site_kind,
        site=row.site,
        recipe=row.recipe,
        structure=row.structure,
    )


def _slab(row: SlabRow, formulas: dict[str, str]) -> Slab:
    return Slab(
        row.id,
        row.bulk_id,
        formulas[row.bulk_id],
        (row.miller_h, row.miller_k, row.miller_l),
        row.shift,
        row.side,
        structure_from_text(row.structure),
    )
