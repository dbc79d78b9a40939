"""Take back what a campaign has queued and nobody has begun."""

from collections.abc import Sequence

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from screening_db.database.bulk import batches
from screening_db.queue.dependencies import delete_dependencies
from screening_db.tables.verification import QueueRow

WAITING = ("queued", "waiting", "held")

# The first other campaign of the same level that queued an item too.
_HEIR = (
    "SELECT min(m.name) FROM campaign m JOIN campaign_item i ON i.campaign = m.name "
    "AND i.stage = 'placement' AND i.item_id = :item AND i.state = 'queued' "
    "WHERE coalesce(m.verification_level, m.level) = :level AND m.name <> :campaign"
)


def withdraw(session: Session, campaign: str, level: str, items: Sequence[str]) -> None:
    """Hand adslabs that wait to another campaign that queued them too, or drop them.

    Slabs and molecules that the dropped ones alone needed, and nobody has begun, go with them.
    """
    dropped = [item for item in items if not _handed_over(session, campaign, level, item)]
    delete_dependencies(session, level, dropped)
    for ids in batches(dropped):
        session.execute(
            delete(QueueRow).where(
                QueueRow.level == level,
                QueueRow.item.in_(ids),
                QueueRow.campaign == campaign,
                QueueRow.state.in_(WAITING),
            )
        )


def _handed_over(session: Session, campaign: str, level: str, item: str) -> bool:
    values = {"item": item, "level": level, "campaign": campaign}
    heir = session.execute(text(_HEIR), values).scalar_one()
    if heir is None:
        return False
    session.execute(
        text("UPDATE queue SET campaign = :heir WHERE item = :item AND level = :level"),
        {"heir": heir, "item": item, "level": level},
    )
    return True
