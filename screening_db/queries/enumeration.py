"""Read candidates, slabs, bulks and predictions by their ids."""

from collections.abc import Collection, Sequence

from sqlalchemy import select

from screening_db.database.bulk import batches
from screening_db.database.engine import Database
from screening_db.tables.screening import (
    BulkRow,
    CandidateRow,
    PredictionRow,
    SlabRow,
)


def candidates_by_id(db: Database, candidate_ids: Sequence[str]) -> dict[str, CandidateRow]:
    """Return candidates by id; ids that are not there are left out."""
    found: dict[str, CandidateRow] = {}
    with db.read() as session:
        for ids in batches(candidate_ids):
            rows = session.scalars(select(CandidateRow).where(CandidateRow.id.in_(ids)))
            found.update((row.id, row) for row in rows)
    return found


def slabs_by_id(db: Database, slab_ids: Sequence[str]) -> dict[str, SlabRow]:
    """Return slabs by id; ids that are not there are left out."""
    found: dict[str, SlabRow] = {}
    with db.read() as session:
        for ids in batches(slab_ids):
            rows = session.scalars(select(SlabRow).where(SlabRow.id.in_(ids)))
            found.update((row.id, row) for row in rows)
    return found


def bulk_formulas(db: Database, bulk_ids: Collection[str]) -> dict[str, str]:
    """Return the reduced formulas of bulks by id; ids that are not there are left out."""
    found: dict[str, str] = {}
    with db.read() as session:
        for ids in batches(sorted(bulk_ids)):
            rows = session.execute(select(BulkRow.id, BulkRow.formula).where(BulkRow.id.in_(ids)))
            found.update((bulk_id, formula) for bulk_id, formula in rows)
    return found


def predictions_of_pairs(
    db: Database, pair_ids: Collection[str], *, level: str, checkpoint_sha256: str
) -> list[PredictionRow]:
    """Return all that one checkpoint predicted of pairs at one level, for whichever campaign."""
    found: list[PredictionRow] = []
    query = (
        select(PredictionRow)
        .join(CandidateRow, CandidateRow.id == PredictionRow.candidate_id)
        .where(PredictionRow.level == level, PredictionRow.checkpoint_sha256 == checkpoint_sha256)
    )
    with db.read() as session:
        for ids in batches(sorted(pair_ids)):
            found += session.scalars(query.where(CandidateRow.pair_id.in_(ids)))
    return found
