"""One line about what a deployed run left in the database."""

from collections import Counter

from screening_db.database.engine import open_database
from screening_db.learning.labels import new_labels
from screening_db.queries.campaigns import funnel_counts
from screening_db.queries.ranking import top_candidates


def screening_summary(database: str, campaign: str) -> str:
    """Return how many placements are in which state, and the first candidate."""
    db = open_database(database, create=False)
    try:
        states: Counter[str] = Counter()
        for row in funnel_counts(db, campaign):
            if row.stage == "placement":
                states[row.state.replace("_", " ")] += row.count
        first = top_candidates(db, campaign, 1)
    finally:
        db.close()
    told = f"{sum(states.values())} placements"
    told += "".join(f", {count} {state}" for state, count in sorted(states.items()))
    for best in first:
        told += (
            f"; first {best.bulk}{best.miller.replace(' ', '')} {best.adsorbate} "
            f"{best.energy_ev:+.2f} ± {best.sigma_ev:.2f} eV"
        )
    return told


def label_summary(database: str, campaign: str) -> str:
    """Return how many labels of the campaign may be trained on."""
    db = open_database(database, create=False)
    try:
        return f"{new_labels(db, campaign).count} labels may be trained on"
    finally:
        db.close()
