"""Store the rows of a screening: bulks, slabs, adsorbates, its level, checkpoints, predictions.

Each function is one transaction. Rows keyed by content keep what was stored first, so that a rerun
adds none; predictions and the states of items are overwritten.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Text, bindparam, delete, select, type_coerce, update
from sqlalchemy.orm import Session

from screening_db.database import Database, batches, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.tables import (
    IMPORTED,
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CandidateRow,
    CheckpointRow,
    ChunkRow,
    LevelOfTheoryRow,
    PlacementRow,
    PredictionRow,
    SlabRow,
    key_of_campaign,
)


@repeated_after_outage
def record_bulks(db: Database, bulks: Sequence[BulkRow]) -> None:
    """Store bulks; one that is there keeps its first source."""
    with db.write() as session:
        upsert(session, bulks, overwrite=False)


@repeated_after_outage
def record_slabs(db: Database, slabs: Sequence[SlabRow]) -> None:
    """Store slabs; their bulks are there already."""
    with db.write() as session:
        upsert(session, slabs, overwrite=False)


@repeated_after_outage
def record_adsorbates(db: Database, adsorbates: Sequence[AdsorbateRow]) -> None:
    """Store adsorbates; a name always means one structure, because pairs are named by it.

    Raises:
        DatabaseError: the name is there with another structure.
    """
    with db.write() as session:
        for new in adsorbates:
            old = session.get(AdsorbateRow, new.name)
            if old is not None and (old.formula, old.structure, old.binding) != (
                new.formula,
                new.structure,
                new.binding,
            ):
                raise DatabaseError(
                    f"adsorbate {new.name} is stored in {db.where} with another structure or "
                    "other binding atoms; give the new one another name"
                )
        upsert(session, adsorbates, overwrite=False)


@repeated_after_outage
def record_level(db: Database, level: LevelOfTheoryRow) -> None:
    """Store a level of theory; a name always means one hash.

    Raises:
        DatabaseError: the name is there with other settings, or the settings under another name.
    """
    with db.write() as session:
        stored = session.scalars(
            select(LevelOfTheoryRow).where(
                (LevelOfTheoryRow.name == level.name)
                | (LevelOfTheoryRow.level_hash == level.level_hash)
            )
        )
        for old in stored:
            if (old.name, old.level_hash) != (level.name, level.level_hash):
                raise DatabaseError(
                    "a level of theory has one name and one hash, so that energies of two levels "
                    f"never mix; stored is {old.name} {old.level_hash[:12]}, got {level.name} "
                    f"{level.level_hash[:12]}; use the stored name and settings, or another name "
                    "for other settings"
                )
        upsert(session, [level], overwrite=True)  # what is no part of the hash may have changed


@repeated_after_outage
def record_items(db: Database, items: Sequence[CampaignItemRow]) -> None:
    """Store the states of bulks, slabs, adsorbates and other items that have no prediction."""
    with db.write() as session:
        _store_items(session, items)


def _store_items(session: Session, items: Sequence[CampaignItemRow]) -> None:
    """Store the one state of each item; that of a candidate lies among the placements."""
    placements = [
        PlacementRow(campaign=i.campaign, candidate_id=i.item_id, state=i.state, reason=i.reason)
        for i in items
        if i.stage == "placement" and i.state != "refused"
    ]
    others = [i for i in items if i.stage != "placement" or i.state == "refused"]
    upsert(session, others, overwrite=True)
    upsert(session, placements, overwrite=True)
    # a placement that was refused and is predicted now, or the other way round, has one state
    for campaign in sorted({row.campaign for row in items}):
        for ids in batches([p.candidate_id for p in placements if p.campaign == campaign]):
            session.execute(
                delete(CampaignItemRow).where(
                    CampaignItemRow.campaign == campaign,
                    CampaignItemRow.stage == "placement",
                    CampaignItemRow.item_id.in_(ids),
                )
            )
        refused = [i.item_id for i in others if i.stage == "placement" and i.campaign == campaign]
        for ids in batches(refused):
            session.execute(
                delete(PlacementRow)
                .where(
                    PlacementRow.campaign_key == key_of_campaign(campaign),
                    PlacementRow.candidate_key.in_(
                        select(CandidateRow.key).where(CandidateRow.id.in_(ids))
                    ),
                )
                .execution_options(synchronize_session=False)
            )


@repeated_after_outage
def store_structures(db: Database, structures: Mapping[str, str]) -> None:
    """Store the structures (JSON text) of candidates that are kept or queued, by candidate id."""
    if not structures:
        return
    statement = (
        update(CandidateRow.__table__)  # type: ignore[arg-type]  # a Table at run time
        .where(CandidateRow.id == bindparam("candidate"))
        .values(structure=bindparam("text"))
    )
    values = [{"candidate": key, "text": text} for key, text in sorted(structures.items())]
    with db.write() as session:
        session.connection().execute(statement, values)


@repeated_after_outage
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


@repeated_after_outage
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
        candidates: Its candidates; stored ones stay as they are, but imported ones get site and
            recipe.
        predictions: What a checkpoint predicts of them; earlier ones are overwritten.
        items: The states of its placements.
    """
    with db.write() as session:
        pairs = {row.pair_id: row for row in candidates}
        upsert(session, [row.pair for row in pairs.values()], overwrite=False)
        upsert(session, candidates, overwrite=False)
        _make_own(session, {row.id: row for row in candidates})
        _store_predictions(session, predictions)
        _store_items(session, items)
        done = ChunkRow(campaign=campaign, chunk_id=chunk_id, n_items=len(items))
        upsert(session, [done], overwrite=True)


def _make_own(session: Session, made: Mapping[str, CandidateRow]) -> None:
    """Give candidates that labels were imported for the site and recipe of a screening."""
    text = type_coerce(CandidateRow.recipe, Text)  # keys are sorted and this one is first
    imported = select(CandidateRow).where(text.startswith(f'{{"{IMPORTED}":'))
    for ids in batches(sorted(made)):
        for old in session.scalars(imported.where(CandidateRow.id.in_(ids))):
            new = made[old.id]
            old.site_kind, old.site, old.recipe = new.site_kind, new.site, new.recipe
    session.flush()


@repeated_after_outage
def record_predictions(db: Database, predictions: Sequence[PredictionRow]) -> None:
    """Store another checkpoint's predictions of candidates that are stored already."""
    with db.write() as session:
        _store_predictions(session, predictions)


def _store_predictions(session: Session, predictions: Sequence[PredictionRow]) -> None:
    predictors = {(row.checkpoint_sha256, row.level): row for row in predictions}
    upsert(session, [row.predictor for row in predictors.values()], overwrite=False)
    upsert(session, predictions, overwrite=True)


@repeated_after_outage
def done_chunks(db: Database, campaign: str) -> frozenset[str]:
    """Return the ids of the chunks that need not run again."""
    with db.read() as session:
        return frozenset(
            session.scalars(select(ChunkRow.chunk_id).where(ChunkRow.campaign == campaign))
        )
