"""Read candidates, slabs, bulks, adsorbates, levels and predictions by their ids."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from screening_db.database import Database, batches, repeated_after_outage
from screening_db.tables import (
    AdsorbateRow,
    BulkRow,
    CandidateRow,
    LevelOfTheoryRow,
    PairRow,
    PredictionRow,
    SlabRow,
    key_of_predictor,
)

Keyed = TypeVar("Keyed", CandidateRow, SlabRow, BulkRow, AdsorbateRow)


@dataclass(frozen=True)
class CandidateSite:
    """Where a candidate's adsorbate sits: its site, and the slab's reduced formula and plane."""

    adsorbate: str
    site: str
    bulk: str
    miller: tuple[int, int, int]


@repeated_after_outage
def _rows_by_key(
    db: Database, table: type[Keyed], key: InstrumentedAttribute[str], wanted: Sequence[str]
) -> dict[str, Keyed]:
    found: dict[str, Keyed] = {}
    with db.read() as session:
        for some in batches(wanted):
            rows = session.scalars(select(table).where(key.in_(some)))
            found.update((getattr(row, key.key), row) for row in rows)
    return found


def candidates_by_id(db: Database, candidate_ids: Sequence[str]) -> dict[str, CandidateRow]:
    """Return candidates by id; ids that are not there are left out."""
    return _rows_by_key(db, CandidateRow, CandidateRow.id, candidate_ids)


def slabs_by_id(db: Database, slab_ids: Sequence[str]) -> dict[str, SlabRow]:
    """Return slabs by id; ids that are not there are left out."""
    return _rows_by_key(db, SlabRow, SlabRow.id, slab_ids)


def bulks_by_id(db: Database, bulk_ids: Collection[str]) -> dict[str, BulkRow]:
    """Return bulks by id; ids that are not there are left out."""
    return _rows_by_key(db, BulkRow, BulkRow.id, sorted(bulk_ids))


def adsorbates_by_name(db: Database, names: Collection[str]) -> dict[str, AdsorbateRow]:
    """Return adsorbates by name; names that are not there are left out."""
    return _rows_by_key(db, AdsorbateRow, AdsorbateRow.name, sorted(names))


@repeated_after_outage
def find_level(db: Database, name: str) -> LevelOfTheoryRow | None:
    """Return a level of theory by its name, if it is recorded."""
    with db.read() as session:
        return session.get(LevelOfTheoryRow, name)


@repeated_after_outage
def site_of_candidate(db: Database, candidate_id: str) -> CandidateSite:
    """Return where a stored candidate's adsorbate sits."""
    query = (
        select(
            PairRow.adsorbate,
            CandidateRow.site,
            func.coalesce(func.nullif(SlabRow.formula, ""), BulkRow.formula),
            SlabRow.miller_h,
            SlabRow.miller_k,
            SlabRow.miller_l,
        )
        .select_from(CandidateRow)
        .join(PairRow, PairRow.key == CandidateRow.pair_key)
        .join(SlabRow, SlabRow.id == PairRow.slab_id)
        .outerjoin(BulkRow, BulkRow.id == SlabRow.bulk_id)
        .where(CandidateRow.id == candidate_id)
    )
    with db.read() as session:
        adsorbate, site, formula, *miller = session.execute(query).one()
    return CandidateSite(adsorbate, site, formula, (miller[0], miller[1], miller[2]))


@repeated_after_outage
def slab_formulas(db: Database, slabs: Collection[SlabRow]) -> dict[str, str]:
    """Return the reduced formula of each slab, by its id: its own, or else that of its bulk."""
    bulks: dict[str | None, str] = {}
    with db.read() as session:
        for ids in batches(sorted({row.bulk_id for row in slabs if row.bulk_id})):
            rows = session.execute(select(BulkRow.id, BulkRow.formula).where(BulkRow.id.in_(ids)))
            bulks.update((bulk_id, formula) for bulk_id, formula in rows)
    return {row.id: row.formula or bulks[row.bulk_id] for row in slabs}


@repeated_after_outage
def predictions_of_pairs(
    db: Database, pair_ids: Collection[str], *, level: str, checkpoint_sha256: str
) -> list[PredictionRow]:
    """Return all that one checkpoint predicted of pairs at one level, for whichever campaign."""
    found: list[PredictionRow] = []
    query = (
        select(PredictionRow)
        .join(CandidateRow, CandidateRow.key == PredictionRow.candidate_key)
        .join(PairRow, PairRow.key == CandidateRow.pair_key)
        .where(PredictionRow.predictor_key == key_of_predictor(checkpoint_sha256, level))
    )
    with db.read() as session:
        for ids in batches(sorted(pair_ids)):
            found += session.scalars(query.where(PairRow.id.in_(ids)))
    return found
