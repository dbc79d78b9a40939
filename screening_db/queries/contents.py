"""What is known already of the placements that a campaign would predict. Nothing here writes."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from screening_db.database.bulk import batches
from screening_db.database.engine import Database
from screening_db.tables.screening import (
    BulkRow,
    CampaignItemRow,
    CandidateRow,
    PredictionRow,
    Stage,
)


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


@dataclass(frozen=True)
class StoredContents:
    """What a campaign holds, as far as it was run: ids, and for bulks their formulas too.

    ``processed`` are the placements that were refused, or predicted by the checkpoint and at the
    level that were asked for.
    """

    bulks: dict[str, str]
    adsorbates: frozenset[str]
    slabs: frozenset[str]
    placements: frozenset[str]
    processed: frozenset[str]


def stored_contents(
    db: Database, campaign: str, *, level: str, checkpoint_sha256: str
) -> StoredContents:
    """Return what a stored campaign holds, and which of it a checkpoint has processed."""
    with db.read() as session:
        bulks = select(BulkRow.id, BulkRow.formula).join(
            CampaignItemRow, CampaignItemRow.item_id == BulkRow.id
        )
        own = (CampaignItemRow.campaign == campaign, CampaignItemRow.stage == "bulk")
        return StoredContents(
            bulks={row.id: row.formula for row in session.execute(bulks.where(*own))},
            adsorbates=_used(session, campaign, "adsorbate"),
            slabs=_used(session, campaign, "slab"),
            placements=frozenset(_items(session, campaign, "placement")),
            processed=_processed(session, campaign, level, checkpoint_sha256),
        )


def _items(session: Session, campaign: str, stage: Stage) -> dict[str, str]:
    """Return the state of each item of one stage by its id."""
    query = select(CampaignItemRow.item_id, CampaignItemRow.state).where(
        CampaignItemRow.campaign == campaign, CampaignItemRow.stage == stage
    )
    return {row.item_id: row.state for row in session.execute(query)}


def _used(session: Session, campaign: str, stage: Stage) -> frozenset[str]:
    items = _items(session, campaign, stage)
    return frozenset(item for item, state in items.items() if state == "used")


def _processed(
    session: Session, campaign: str, level: str, checkpoint_sha256: str
) -> frozenset[str]:
    predicted = (PredictionRow.candidate_id == CampaignItemRow.item_id) & (
        (PredictionRow.level == level) & (PredictionRow.checkpoint_sha256 == checkpoint_sha256)
    )
    query = (
        select(CampaignItemRow.item_id)
        .outerjoin(PredictionRow, predicted)
        .where(
            CampaignItemRow.campaign == campaign,
            CampaignItemRow.stage == "placement",
            or_(CampaignItemRow.state == "refused", PredictionRow.candidate_id.is_not(None)),
        )
    )
    return frozenset(session.scalars(query))
