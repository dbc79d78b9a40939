"""Read campaigns: their rows, their funnels, and their contents."""

from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from screening_db.database import Database, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.tables import (
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CandidateRow,
    CheckpointRow,
    PlacementRow,
    PredictionRow,
    Stage,
    key_of_campaign,
    key_of_predictor,
)


@dataclass(frozen=True)
class FunnelCount:
    """How many items of a campaign are in one state for one reason.

    ``reason`` is the rule alone, the part before the first colon; each item has the values too.
    """

    campaign: str
    stage: str
    state: str
    reason: str
    count: int


@dataclass(frozen=True)
class RelaxingWork:
    """Placements of a campaign that were relaxed at a level, and how long that took (s in all)."""

    level: str
    placements: int
    converged: int
    anomalous: int
    seconds: float


@dataclass(frozen=True)
class StoredContents:
    """The ids that a campaign holds, as far as it was run, and the formulas of its bulks.

    ``processed`` are the placements that were refused, or predicted by the checkpoint and at the
    level that were named.
    """

    bulks: dict[str, str]
    adsorbates: frozenset[str]
    slabs: frozenset[str]
    placements: frozenset[str]
    processed: frozenset[str]


@repeated_after_outage
def find_campaign(db: Database, name: str) -> CampaignRow:
    """Return one campaign.

    Raises:
        DatabaseError: there is no such campaign.
    """
    with db.read() as session:
        found = session.get(CampaignRow, name)
    if found is None:
        names = [row.name for row in all_campaigns(db)]
        raise DatabaseError(
            f"there is no campaign {name} in {db.where}; it has {', '.join(names[:10]) or 'none'}"
        )
    return found


@repeated_after_outage
def first_checkpoint(db: Database, campaign: str) -> CheckpointRow | None:
    """Return the checkpoint that a campaign was screened with, None where it was not begun."""
    query = select(CheckpointRow).join(
        CampaignRow, CampaignRow.screened_with == CheckpointRow.sha256
    )
    with db.read() as session:
        return session.scalar(query.where(CampaignRow.name == campaign))


@repeated_after_outage
def all_campaigns(db: Database) -> list[CampaignRow]:
    """Return every campaign, by name."""
    with db.read() as session:
        return list(session.scalars(select(CampaignRow).order_by(CampaignRow.name)))


def funnel_counts(db: Database, campaign: str) -> list[FunnelCount]:
    """Return the funnel of a campaign: every item is counted once."""
    rows = db.query(
        "SELECT * FROM funnel WHERE campaign = :campaign ORDER BY stage, state, count DESC, reason",
        campaign=campaign,
    )
    return [FunnelCount(**row) for row in rows]


def relaxing_work(db: Database, campaign: str) -> RelaxingWork | None:
    """Return what a campaign's relaxing stage computed; None where it has no stage."""
    rows = db.query(
        """
        SELECT m.relaxing_level AS level, count(*) AS placements,
            sum(CASE WHEN q.state = 'converged' THEN 1 ELSE 0 END) AS converged,
            sum(CASE WHEN q.state = 'anomalous' THEN 1 ELSE 0 END) AS anomalous,
            sum(coalesce((
                SELECT sum(c.ended_at - c.started_at) FROM calculation c
                WHERE c.item = q.item AND c.level = q.level AND c.engine <> 'imported'
            ), 0)) AS seconds
        FROM campaign m
        JOIN stored_placement p ON p.campaign_key = m.key AND p.contender
        JOIN stored_candidate k ON k.key = p.candidate_key
        JOIN queue q ON q.item = k.id AND q.level = m.relaxing_level
        WHERE m.name = :campaign AND m.relaxing_level <> ''
        GROUP BY m.relaxing_level
        """,
        campaign=campaign,
    )
    return RelaxingWork(**rows[0]) if rows else None


@repeated_after_outage
def refused_slabs(db: Database, campaign: str) -> list[tuple[str, str]]:
    """Return the item and the reason of each refused slab of a campaign."""
    query = select(CampaignItemRow.item_id, CampaignItemRow.reason).where(
        CampaignItemRow.campaign == campaign,
        CampaignItemRow.stage == "slab",
        CampaignItemRow.state == "refused",
    )
    with db.read() as session:
        return [(row.item_id, row.reason) for row in session.execute(query)]


@repeated_after_outage
def stored_contents(
    db: Database, campaign: str, *, level: str, checkpoint_sha256: str
) -> StoredContents:
    """Return the contents of a stored campaign, and which of them a checkpoint has processed."""
    with db.read() as session:
        bulks = select(BulkRow.id, BulkRow.formula).join(
            CampaignItemRow, CampaignItemRow.item_id == BulkRow.id
        )
        own = (CampaignItemRow.campaign == campaign, CampaignItemRow.stage == "bulk")
        return StoredContents(
            bulks={row.id: row.formula for row in session.execute(bulks.where(*own))},
            adsorbates=_used(session, campaign, "adsorbate"),
            slabs=_used(session, campaign, "slab"),
            placements=frozenset(session.scalars(_placements(campaign)))
            | frozenset(_items(session, campaign, "placement")),
            processed=_processed(session, campaign, level, checkpoint_sha256),
        )


def _items(session: Session, campaign: str, stage: Stage) -> dict[str, str]:
    """Return the state of each item of one stage by its id; of placements the refused ones."""
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
    predicted = _placements(campaign).join(
        PredictionRow,
        (PredictionRow.candidate_key == PlacementRow.candidate_key)
        & (PredictionRow.predictor_key == key_of_predictor(checkpoint_sha256, level)),
    )
    return frozenset(session.scalars(predicted)) | frozenset(_items(session, campaign, "placement"))


def _placements(campaign: str) -> Select[tuple[str]]:
    """Select the ids of a campaign's candidates."""
    return (
        select(CandidateRow.id)
        .join(PlacementRow, PlacementRow.candidate_key == CandidateRow.key)
        .where(PlacementRow.campaign_key == key_of_campaign(campaign))
    )
