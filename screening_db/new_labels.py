"""Count the labels that a campaign won since something happened, such as its last fine-tuning."""

from sqlalchemy import text

from screening_db.engine import Database


def labels_since(db: Database, campaign: str, since: float | None = None) -> int:
    """Return how many labels of a campaign may be trained on and were verified after ``since``.

    Labels count at the campaign's level of verification, converged and without a flag, whichever
    campaign asked for them. ``since`` is in seconds since 1970 (UTC), None counts all; a label
    without a recorded calculation is older than any time.
    """
    query = text(
        """
        SELECT count(*) FROM label l
        JOIN campaign m ON coalesce(m.verification_level, m.level) = l.level
        JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
            AND i.item_id = l.candidate_id
        WHERE m.name = :campaign AND l.trainable AND l.converged AND l.flags = '[]'
            AND (:every OR EXISTS (
                SELECT 1 FROM calculation c WHERE c.item = l.candidate_id AND c.level = l.level
                    AND c.state = 'converged' AND c.ended_at > :since
            ))
        """
    )
    with db.read() as session:
        values = {"campaign": campaign, "every": since is None, "since": since or 0.0}
        return int(session.execute(query, values).scalar_one())
