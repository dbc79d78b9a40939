"""Count the labels that a campaign won since something happened, such as its last fine-tuning."""

from dataclasses import dataclass

from sqlalchemy import text

from screening_db.database.engine import Database


@dataclass(frozen=True)
class NewLabels:
    """How many labels are new, and when the newest was verified (seconds since 1970, UTC)."""

    count: int
    newest: float | None = None


def new_labels(db: Database, campaign: str, since: float | None = None) -> NewLabels:
    """Return the labels of a campaign that may be trained on and were verified after ``since``.

    They are those that ``training_labels`` takes: of the campaign's level of verification and its
    settings, converged and without a flag, whichever campaign asked for them. ``since`` is in
    seconds since 1970 (UTC), None counts all; a label without a recorded calculation is older than
    any time.
    """
    query = text(
        """
        SELECT count(*), max(ended) FROM (
            SELECT l.candidate_id, max(c.ended_at) AS ended FROM label l
            JOIN campaign m ON coalesce(m.verification_level, m.level) = l.level
            JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
                AND i.item_id = l.candidate_id
            JOIN level_of_theory t ON t.name = l.level AND l.level_hash IN ('', t.level_hash)
            LEFT JOIN calculation c ON c.item = l.candidate_id AND c.level = l.level
                AND c.state = 'converged'
            WHERE m.name = :campaign AND l.trainable AND l.converged AND l.flags = '[]'
            GROUP BY l.candidate_id
        ) AS labelled
        WHERE :every OR ended > :since
        """
    )
    with db.read() as session:
        values = {"campaign": campaign, "every": since is None, "since": since or 0.0}
        count, newest = session.execute(query, values).one()
    return NewLabels(int(count), newest)
