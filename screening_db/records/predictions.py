"""Store checkpoints and what they predict; predictions are overwritten by a rerun.

Each function is one transaction: it is stored in full or not at all.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from screening_db.database.bulk import upsert
from screening_db.database.engine import Database
from screening_db.tables.screening import (
    CampaignItemRow,
    CandidateRow,
    CheckpointRow,
    ChunkRow,
    PredictionRow,
)


def record_checkpoint(db: Database, checkpoint: CheckpointRow) -> None:
    """Store a checkpoint; one that is there keeps its name, model, parent and folder."""
    with db.write() as session:
        record_checkpoint_in(session, checkpoint)


def record_checkpoint_in(session: Session, checkpoint: CheckpointRow) -> None:
    """Do what ``record_checkpoint`` does within a transaction.

    Equal weights that two campaigns call by two names belong to the first of these models.
    """
    upsert(session, [checkpoint], overwrite=False)
    stored = session.get_one(CheckpointRow, checkpoint.sha256)
    stored.card = stored.card or checkpoint.card


def record_chunk(
    db: Database,
    campaign: str,
    chunk_id: str,
    candidates: Sequence[CandidateRow],
    predictions: Sequence[PredictionRow],
    items: Sequence[CampaignItemRow],
) -> None:
    """Store a chunk of a campaign in one transaction, and that it is done.

    Args:
        db: The database.
        campaign: The campaign's name.
        chunk_id: The id of the chunk, which a rerun has again.
        candidates: Its candidates; those that are stored stay as they are.
        predictions: What a checkpoint predicts of them; earlier ones are overwritten.
        items: The states of its placements.
    """
    with db.write() as session:
        upsert(session, candidates, overwrite=False)
        upsert(session, predictions, overwrite=True)
        upsert(session, items, overwrite=True)
        done = ChunkRow(campaign=campaign, chunk_id=chunk_id, n_items=len(items))
        upsert(session, [done], overwrite=True)


def record_predictions(db: Database, predictions: Sequence[PredictionRow]) -> None:
    """Store what another checkpoint predicts of candidates that are there."""
    with db.write() as session:
        upsert(session, predictions, overwrite=True)


def done_chunks(db: Database, campaign: str) -> frozenset[str]:
    """Return the ids of the chunks that need not run again."""
    with db.read() as session:
        return frozenset(
            session.scalars(select(ChunkRow.chunk_id).where(ChunkRow.campaign == campaign))
        )
