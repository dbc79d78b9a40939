"""Read the ranking of a campaign, and the placements that it is made of."""

from dataclasses import dataclass

from screening_db.database.engine import Database


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


def top_candidates(db: Database, campaign: str, limit: int = 20) -> list[RankedCandidate]:
    """Return the first candidates of a campaign, by rank."""
    rows = db.query(
        "SELECT * FROM ranked_candidates WHERE campaign = :campaign ORDER BY rank LIMIT :limit",
        campaign=campaign,
        limit=limit,
    )
    return [RankedCandidate(**row) for row in rows]


# The lowest placements of each pair by one checkpoint, the present one or another; ties go to the
# lower id. With one a pair and the present checkpoint, the view ``pair_minimum`` says the same.
_LOWEST = """
SELECT campaign, pair_id, slab_id, bulk_id, adsorbate, candidate_id, energy_ev, sigma_ev,
    n_placements
FROM (
    SELECT i.campaign, c.pair_id, c.slab_id, s.bulk_id, c.adsorbate, p.candidate_id, p.energy_ev,
        p.sigma_ev, count(*) OVER (PARTITION BY c.pair_id) AS n_placements,
        row_number() OVER (PARTITION BY c.pair_id ORDER BY p.energy_ev, p.candidate_id) AS position
    FROM campaign_item i
    JOIN campaign m ON m.name = i.campaign
    JOIN candidate c ON c.id = i.item_id
    JOIN slab s ON s.id = c.slab_id
    JOIN prediction p ON p.candidate_id = c.id AND p.level = m.level
        AND p.checkpoint_sha256 = coalesce(:checkpoint, m.checkpoint_sha256)
    WHERE i.campaign = :campaign AND i.stage = 'placement' AND i.state <> 'refused'
        AND p.in_domain AND (i.contender OR p.checkpoint_sha256 = m.screened_with)
) AS placed
WHERE position <= :per_pair ORDER BY pair_id, position
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
