"""What is known already of the placements that a campaign would predict. Nothing here writes."""

from collections.abc import Collection

from sqlalchemy import select

from screening_db.bulk import batches
from screening_db.engine import Database
from screening_db.tables import CandidateRow, PredictionRow


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
