"""Rank a campaign by another checkpoint, from predictions that are stored; nothing is predicted.

Calculations that have begun go on. As many wait afterwards as the campaign's budget leaves, and
never fewer than before, where triage finds so many that are worth it.
"""

from dataclasses import replace

from flows.config.campaign import Campaign
from flows.records.from_rows import recorded_campaign, recorded_prices, recorded_windows
from flows.records.to_rows import queue_row, rank_row
from flows.screening.ranking.triage import choose_pairs, ranked_pairs
from screening_db.database import Database
from screening_db.queries import (
    attempted_candidates,
    candidates_by_id,
    lowest_placements,
    slabs_by_id,
    slabs_with_energy,
)
from screening_db.records.ranking import (
    CampaignRanking,
    VerificationRequests,
    replace_ranking,
    verification_requests,
)
from screening_db.tables import CampaignRow
from tasks.acquisition import CostRule
from tasks.acquisition.rank import RankedPair
from tasks.acquisition.triage import Budget, Selection


def rerank_campaign(
    db: Database,
    row: CampaignRow,
    checkpoint_sha256: str,
    *,
    calculations: int | None = None,
) -> CampaignRanking:
    """Make ``checkpoint_sha256`` the one that a campaign is ranked by, in one transaction.

    Args:
        db: The database.
        row: The campaign, finished.
        checkpoint_sha256: The checkpoint; it has predicted every contender.
        calculations: How many wait for verification afterwards, instead of as many as
            the budget leaves; their costs may then take the whole budget.

    Returns:
        The ranking that was stored.

    Raises:
        DatabaseError: it has yet to predict some contender, or the campaign is not finished.
    """
    ranking = new_ranking(db, row, checkpoint_sha256, calculations=calculations)
    replace_ranking(db, ranking)
    return ranking


def new_ranking(
    db: Database,
    row: CampaignRow,
    checkpoint_sha256: str,
    *,
    calculations: int | None = None,
) -> CampaignRanking:
    """Return the ranking of a campaign by one checkpoint; nothing is stored.

    Args:
        db: The database.
        row: The campaign as it is stored.
        checkpoint_sha256: The checkpoint whose predictions are ranked.
        calculations: The size of a round of its own; None for the rest of the campaign's budget.

    Returns:
        The ranks, the placements that are kept, and the items to verify.
    """
    campaign = recorded_campaign(row)
    requests = verification_requests(db, row.name)
    ranked = ranked_pairs(db, row.name, recorded_windows(campaign), checkpoint_sha256)
    budget = _budget(db, campaign, requests, calculations)
    kept = lowest_placements(
        db, row.name, checkpoint_sha256, per_pair=campaign.triage.keep_per_pair
    )
    return CampaignRanking(
        campaign=row.name,
        checkpoint_sha256=checkpoint_sha256,
        ranks=[rank_row(row.name, r) for r in ranked],
        kept=[placement.candidate_id for placement in kept],
        queued=[
            queue_row(campaign, chosen)
            for chosen in _chosen(db, campaign, requests, ranked, budget)
        ],
    )


def _budget(
    db: Database, campaign: Campaign, requests: VerificationRequests, calculations: int | None
) -> Budget:
    """Return the rest of the campaign's budget, or the whole of it for a round of its own."""
    whole = campaign.triage.as_budget()
    if calculations is not None:
        return replace(whole, calculations=calculations)
    left = max(len(requests.waiting), whole.calculations - len(requests.begun))
    costs = campaign.triage.costs
    if costs is None or costs.budget is None:
        return Budget(left)
    return Budget(
        left, max(costs.budget - _spent(db, campaign.name, requests.begun, costs.rule()), 0)
    )


def _spent(db: Database, campaign: str, begun: frozenset[str], rule: CostRule) -> float:
    """Return the cost of the campaign's own begun calculations with their clean slabs."""
    own = begun - attempted_candidates(db, campaign, except_own=True)
    slab_ids = [row.slab_id for row in candidates_by_id(db, sorted(own)).values()]
    paid = set(slab_ids) - slabs_with_energy(db, campaign, except_own=True)
    atoms = {name: slab.n_atoms for name, slab in slabs_by_id(db, sorted(set(slab_ids))).items()}
    return float(rule.cost([atoms[name] for name in [*slab_ids, *sorted(paid)]]).sum())


def _chosen(
    db: Database,
    campaign: Campaign,
    requests: VerificationRequests,
    ranked: list[RankedPair],
    budget: Budget,
) -> list[Selection]:
    """Return the choice of triage among pairs whose lowest placement has not begun."""
    return choose_pairs(
        db,
        campaign,
        recorded_windows(campaign),
        [r for r in ranked if r.minimum.candidate_id not in requests.begun],
        prices=recorded_prices(campaign),
        budget=budget,
        paid={row.slab_id for row in candidates_by_id(db, sorted(requests.begun)).values()},
    )
