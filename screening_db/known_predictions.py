"""Which placements a checkpoint predicted before, in whatever campaign that was."""

from collections.abc import Sequence

from sqlalchemy import select

from screening_db.bulk import batches
from screening_db.engine import Database
from screening_db.tables import CandidateRow, PredictionRow


def predictions_of_pairs(
    db: Database, pair_ids: Sequence[str], *, checkpoint_sha256: str, level: str
) -> dict[str, list[PredictionRow]]:
    """Return, by slab id, what one checkpoint predicted at one level for placements of pairs.

    The names are content: the same candidate, checkpoint and level stand for the same prediction.
    """
    found: dict[str, list[PredictionRow]] = {}
    query = select(PredictionRow, CandidateRow.slab_id).join(
        CandidateRow, CandidateRow.id == PredictionRow.candidate_id
    )
    wanted = query.where(
        PredictionRow.checkpoint_sha256 == checkpoint_sha256, PredictionRow.level == level
    )
    with db.read() as session:
        for ids in batches(pair_ids):
            for row, slab_id in session.execute(wanted.where(CandidateRow.pair_id.in_(ids))):
                found.setdefault(slab_id, []).append(row)
    return found
