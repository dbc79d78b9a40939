"""Read the ranking of a campaign, and the placements that it is made of."""

from dataclasses import dataclass

from screening_db.database import Database


@dataclass(frozen=True)
class RankedCandidate:
    """One line of the view ``ranked_candidates``.

    ``termination`` is the height of the cut in plane spacings, and the side if it is the far one;
    empty where no other termination of the same planes is stored.
    """

    campaign: str
    rank: int
    rank_group: int
    bulk: str
    miller: str
    termination: str
    edit: str  # of the slab after it was cut; empty without one
    adsorbate: str
    site: str
    energy_ev: float
    sigma_ev: float
    probability: float
    level: str
    label_level: str  # what verification computes at
    checkpoint: str
    queue_state: str | None
    label_ev: float | None
    basis: str  # levels whose relaxed energies the prediction starts from
    candidate_id: str


@dataclass(frozen=True)
class PairMinimum:
    """A placement that is among the lowest of its pair, inside a checkpoint's domain."""

    campaign: str
    pair_id: str
    slab_id: str
    bulk_id: str
    adsorbate: str
    candidate_id: str
    energy_ev: float
    sigma_ev: float
    n_placements: int
    basis: str  # levels whose relaxed energies the prediction starts from


def top_candidates(db: Database, campaign: str, limit: int = 20) -> list[RankedCandidate]:
    """Return the first candidates of a campaign, by rank."""
    rows = db.query(
        "SELECT * FROM ranked_candidates WHERE campaign = :campaign ORDER BY rank LIMIT :limit",
        campaign=campaign,
        limit=limit,
    )
    return [RankedCandidate(**row) for row in rows]


# The lowest placements of each pair by one checkpoint, the present one or another; ties go to the
# lower id. Of a pair that was relaxed, what was relaxed goes first: the others may look lower since
# less is known of them. With one a pair and the present checkpoint, the view ``pair_minimum`` says
# the same.
_LOWEST = """
SELECT o.campaign, p.id AS pair_id, p.slab_id, coalesce(s.bulk_id, s.id) AS bulk_id, p.adsorbate,
    o.candidate_id, o.energy_ev, o.sigma_ev, o.n_placements, o.basis
FROM (
    SELECT m.name AS campaign, c.pair_key, c.id AS candidate_id, e.energy_ev, e.sigma_ev,
        e.basis, count(*) OVER (PARTITION BY c.pair_key) AS n_placements,
        row_number() OVER (
            PARTITION BY c.pair_key ORDER BY e.basis = '', e.energy_ev, c.id
        ) AS position
    FROM campaign m
    JOIN predictor d ON d.level = m.level
        AND d.checkpoint_sha256 = coalesce(:checkpoint, m.checkpoint_sha256)
    JOIN stored_placement i ON i.campaign_key = m.key
    JOIN stored_candidate c ON c.key = i.candidate_key
    JOIN stored_prediction e ON e.candidate_key = i.candidate_key AND e.predictor_key = d.key
    WHERE m.name = :campaign AND e.in_domain
        AND (i.contender OR d.checkpoint_sha256 = m.screened_with)
) AS o
JOIN pair p ON p.key = o.pair_key
JOIN slab s ON s.id = p.slab_id
WHERE o.position <= :per_pair ORDER BY p.id, o.position
"""


def lowest_placements(
    db: Database, campaign: str, checkpoint_sha256: str | None = None, *, per_pair: int = 1
) -> list[PairMinimum]:
    """Return the lowest placement of each pair of a campaign, by pair id, or the lowest few.

    Args:
        db: The database.
        campaign: The campaign's name.
        checkpoint_sha256: The checkpoint whose predictions count, by default that of the present
            ranking. If the campaign was not screened with it, only contenders count.
        per_pair: How many of each pair, the lowest first.

    Returns:
        Placements inside the checkpoint's domain, with energies (eV).
    """
    rows = db.query(_LOWEST, campaign=campaign, checkpoint=checkpoint_sha256, per_pair=per_pair)
    return [PairMinimum(**row) for row in rows]


def placements_to_relax(db: Database, campaign: str) -> list[str]:
    """Return the ids of the placements that a campaign's relaxing stage chose; at first none."""
    rows = db.query(
        "SELECT c.id FROM campaign m JOIN stored_placement i ON i.campaign_key = m.key "
        "JOIN stored_candidate c ON c.key = i.candidate_key "
        "WHERE m.name = :campaign AND i.to_relax ORDER BY c.id",
        campaign=campaign,
    )
    return [row["id"] for row in rows]
