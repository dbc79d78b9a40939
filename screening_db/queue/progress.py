"""How far the verification of a campaign is: what waits, and what has converged since."""

from sqlalchemy import text

from screening_db.database.engine import Database
from screening_db.queries.ranking import queue_counts


def waiting_adslabs(db: Database, campaign: str) -> int:
    """Return how many of a campaign's adslabs are in the queue and have not ended."""
    return sum(
        row.count
        for row in queue_counts(db, campaign)
        if row.kind == "adslab" and row.state in {"queued", "waiting", "leased"}
    )


def converged_since(db: Database, campaign: str, since: float) -> frozenset[str]:
    """Return the campaign's candidates whose calculation converged after ``since``.

    Times are seconds since 1970, UTC, as workers told them.
    """
    query = text(
        """
        SELECT i.item_id FROM campaign_item i
        JOIN campaign m ON m.name = i.campaign
        JOIN calculation c ON c.item = i.item_id
            AND c.level = coalesce(m.verification_level, m.level)
        WHERE i.campaign = :campaign AND i.stage = 'placement' AND c.state = 'converged'
            AND c.ended_at > :since
        """
    )
    with db.read() as session:
        return frozenset(session.scalars(query, {"campaign": campaign, "since": since}))
