"""Store a campaign under its name, and delete it."""

import difflib

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from screening_db.database import Database, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.queries import find_campaign
from screening_db.queue.enqueue import WAITING, withdraw
from screening_db.tables import (
    CampaignItemRow,
    CampaignRow,
    CampaignStatus,
    ChunkRow,
    PlacementRow,
    QueueRow,
    RankRow,
    RoundRow,
    key_of_campaign,
)


@repeated_after_outage
def record_campaign(db: Database, campaign: CampaignRow) -> None:
    """Store a campaign, or continue the one of the same name and the same configuration.

    Raises:
        DatabaseError: the name was run with another configuration, level, checkpoint or seed.
    """
    with db.write() as session:
        old = session.get(CampaignRow, campaign.name)
        if old is None:
            upsert(session, [campaign], overwrite=False)
            return
        changes = _changes(old, campaign)
        if changes:
            raise DatabaseError(
                f"campaign {campaign.name} is stored in {db.where} with another configuration "
                f"({changes}); choose another name, or run: sabatier forget {campaign.name}"
            )


@repeated_after_outage
def set_campaign_status(db: Database, campaign: str, status: CampaignStatus) -> None:
    """Say whether a campaign is running or finished."""
    with db.write() as session:
        session.execute(
            update(CampaignRow).where(CampaignRow.name == campaign).values(status=status)
        )


@repeated_after_outage
def forget_campaign(db: Database, campaign: str) -> None:
    """Delete a campaign: its states, ranks, chunks, rounds and waiting calculations.

    Candidates, predictions, labels, fine-tunings and calculations that were begun stay, because
    they are keyed by content and serve other campaigns. A waiting calculation that another
    campaign of the same level queued as well is handed to that one.

    Raises:
        DatabaseError: there is no such campaign.
    """
    find_campaign(db, campaign)
    with db.write() as session:
        session.execute(
            delete(PlacementRow)
            .where(PlacementRow.campaign_key == key_of_campaign(campaign))
            .execution_options(synchronize_session=False)
        )
        for table in (CampaignItemRow, RankRow, ChunkRow, RoundRow):
            session.execute(delete(table).where(table.campaign == campaign))
        _withdraw_all(session, campaign)
        session.execute(delete(CampaignRow).where(CampaignRow.name == campaign))


def _withdraw_all(session: Session, campaign: str) -> None:
    """Take back every waiting calculation of adslabs, also those that a person holds."""
    queued = select(QueueRow.item, QueueRow.level).where(
        QueueRow.campaign == campaign,
        QueueRow.kind == "adslab",
        QueueRow.state.in_(WAITING),
    )
    by_level: dict[str, list[str]] = {}
    for item, level in session.execute(queued):
        by_level.setdefault(level, []).append(item)
    for level, items in by_level.items():
        withdraw(session, campaign, level, items)


def _changes(old: CampaignRow, new: CampaignRow) -> str:
    """Return the differences between two campaigns of one name, empty without one."""
    changes = [
        f"{what} {str(before)[:12]} -> {str(after)[:12]}"
        for what, before, after in (
            ("level", old.level, new.level),
            ("checkpoint", old.screened_with, new.screened_with),
            ("seed", old.seed, new.seed),
        )
        if before != after
    ]
    if old.config_sha256 != new.config_sha256:
        lines = difflib.ndiff(old.config.splitlines(), new.config.splitlines())
        changed = [line for line in lines if line[:2] in ("- ", "+ ") and line[2:].strip()]
        changes += [f"{line[0]} {line[2:].strip()}" for line in changed[:4]]
        changes = changes or ["another file"]
    return ", ".join(changes)
