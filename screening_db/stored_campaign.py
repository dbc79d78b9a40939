"""What a stored campaign was made of: its bulks and adsorbates, as they are stored."""

from dataclasses import dataclass

from sqlalchemy import select

from screening_db.engine import Database
from screening_db.queries import campaign as find_campaign
from screening_db.tables import (
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CheckpointRow,
)


@dataclass(frozen=True)
class StoredCampaign:
    """A campaign, with bulks in the order of their ids and the adsorbates that were used."""

    row: CampaignRow
    bulks: tuple[BulkRow, ...]
    adsorbates: tuple[AdsorbateRow, ...]
    checkpoint: CheckpointRow


def stored_campaign(db: Database, name: str) -> StoredCampaign:
    """Return a campaign with what it was made of.

    Raises:
        DatabaseError: there is no such campaign.
    """
    row = find_campaign(db, name)
    items = select(CampaignItemRow.item_id).where(CampaignItemRow.campaign == name)
    bulks = items.where(CampaignItemRow.stage == "bulk")
    used = items.where(CampaignItemRow.stage == "adsorbate", CampaignItemRow.state == "used")
    with db.read() as session:
        return StoredCampaign(
            row,
            tuple(
                session.scalars(select(BulkRow).where(BulkRow.id.in_(bulks)).order_by(BulkRow.id))
            ),
            tuple(
                session.scalars(
                    select(AdsorbateRow)
                    .where(AdsorbateRow.name.in_(used))
                    .order_by(AdsorbateRow.name)
                )
            ),
            session.get_one(CheckpointRow, row.checkpoint_sha256),
        )
