"""Put calculations in the queue, and take back those that are not begun.

An item that several campaigns queued is one item: each of them may claim it, and all of them see
the label. It keeps the priority and the name of the campaign that queued it first.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from screening_db.calculations import sha256_of
from screening_db.database import Database, add_new, batches, repeated_after_outage
from screening_db.queue.dependencies import delete_dependencies
from screening_db.tables import CampaignRow, CandidateRow, LabelRow, PlacementRow, QueueRow

WAITING = ("queued", "waiting", "held")


@repeated_after_outage
def enqueue(db: Database, items: Sequence[QueueRow]) -> int:
    """Put calculations in the queue and return how many are new.

    One that is there in any state, or that has a label at its level, is unchanged. The
    hash of each structure is kept, so that one that is changed later is found out.
    """
    with db.write() as session:
        return enqueue_in(session, items)


def enqueue_in(session: Session, items: Sequence[QueueRow]) -> int:
    """Do what ``enqueue`` does within a transaction."""
    new = 0
    for batch in batches(items):
        labelled = _labelled(session, batch)
        unlabelled = [item for item in batch if (item.item, item.level) not in labelled]
        hashes = _structure_hashes(session, unlabelled)
        for item in unlabelled:
            item.structure_sha256 = hashes.get(item.item, item.structure_sha256)
        new += add_new(session, unlabelled)
    return new


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
    """Give an adslab to the first other campaign of its level that queued it, if there is one."""
    others = (
        select(func.min(CampaignRow.name))
        .join(PlacementRow, PlacementRow.campaign_key == CampaignRow.key)
        .join(CandidateRow, CandidateRow.key == PlacementRow.candidate_key)
        .where(
            CandidateRow.id == item,
            PlacementRow.state == "queued",
            CampaignRow.verified_at == level,
            CampaignRow.name != campaign,
        )
    )
    heir = session.scalar(others)
    if heir is None:
        return False
    session.execute(
        update(QueueRow)
        .where(QueueRow.item == item, QueueRow.level == level)
        .values(campaign=heir)
        .execution_options(synchronize_session=False)
    )
    return True


def _labelled(session: Session, items: Sequence[QueueRow]) -> set[tuple[str, str]]:
    """Return which of the items have a label already."""
    ids = [item.item for item in items]
    query = select(LabelRow.candidate_id, LabelRow.level).where(LabelRow.candidate_id.in_(ids))
    return {(candidate_id, level) for candidate_id, level in session.execute(query)}


def _structure_hashes(session: Session, items: Sequence[QueueRow]) -> dict[str, str]:
    """Return the hash of each stored structure, by candidate id."""
    query = select(CandidateRow.id, CandidateRow.structure).where(
        CandidateRow.id.in_([item.item for item in items]), CandidateRow.structure.is_not(None)
    )
    return {candidate_id: sha256_of(text or "") for candidate_id, text in session.execute(query)}
