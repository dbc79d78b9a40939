"""Rank a campaign's pairs, choose those it verifies next, and fill its queue.

Screening ends with this once every chunk is stored; a later checkpoint ranks and chooses again.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flows.config.campaign import Campaign
from flows.records.from_rows import stored_minima, stored_slab_facts
from flows.records.to_rows import queue_row, rank_row
from screening_db.database import Database
from screening_db.queries import (
    attempted_candidates,
    funnel_counts,
    labelled_predictions,
    lowest_placements,
    slabs_with_energy,
)
from screening_db.queue.enqueue import enqueue
from screening_db.records.campaigns import set_campaign_status
from screening_db.records.ranking import record_ranks, record_triage
from tasks.acquisition import Prices
from tasks.acquisition.rank import RankedPair, Window, rank_pairs
from tasks.acquisition.triage import (
    Budget,
    PriorResults,
    Selection,
    pair_estimates,
    triage,
)


def choose_pairs(
    db: Database,
    campaign: Campaign,
    windows: Mapping[str, Window],
    ranked: Sequence[RankedPair],
    *,
    prices: Prices | None = None,
    budget: Budget | None = None,
    paid: Collection[str] = (),
    repeat: bool = False,
) -> list[Selection]:
    """Return the pairs of ``ranked`` that are to be calculated, as the campaign's file says.

    Candidates with a label or an attempt at the level are not chosen; slabs with an energy cost
    nothing.

    Args:
        db: The database.
        campaign: The campaign, with its policy, limits and budget.
        windows: The target of each adsorbate (eV).
        ranked: The pairs to choose from.
        prices: The prices of elements, where the campaign counts them.
        budget: Replaces the campaign's budget, for one round.
        paid: Slabs that are free because a calculation on them has begun.
        repeat: Ignore labels, attempts and energies that are the campaign's own work: the choice
            of the screening, made again after a kill, is then the same.

    Returns:
        The chosen pairs, in the order in which they are calculated.
    """
    stated = campaign.triage
    estimates = pair_estimates(
        ranked,
        windows,
        stored_slab_facts(db, {pair.minimum.slab_id for pair in ranked}),
        costs=stated.costs.rule() if stated.costs else None,
        prices=prices,
    )
    taken = attempted_candidates(db, campaign.name, except_own=repeat)
    known = PriorResults(
        taken=taken,
        slabs={*slabs_with_energy(db, campaign.name, except_own=repeat), *paid},
        best_ev=best_found(db, campaign.name, windows, taken),
    )
    return triage(
        ranked,
        estimates,
        stated.as_policy(),
        budget or stated.as_budget(),
        known=known,
        seed=campaign.seed,
    )


def best_found(
    db: Database, campaign: str, windows: Mapping[str, Window], among: Collection[str]
) -> dict[str, float]:
    """Return, by adsorbate, the smallest distance (eV) of a clean label to its window's middle.

    Labels of ``among`` count. Windows are of the level that is predicted, so labels of another say
    nothing of them.
    """
    best: dict[str, float] = {}
    for row in labelled_predictions(db, campaign):
        clean = row.trainable and row.level == row.predicted_level
        if clean and row.candidate_id in among and row.adsorbate in windows:
            distance = abs(row.label_ev - windows[row.adsorbate].centre_ev)
            best[row.adsorbate] = min(distance, best.get(row.adsorbate, distance))
    return best


class FunnelError(RuntimeError):
    """Items were lost or counted twice: a fault of the program, never of the user."""


@dataclass(frozen=True)
class ExpectedCounts:
    """How many items of each stage must be in a terminal state."""

    bulks: int
    slabs: int
    placements: int


def finish_campaign(
    db: Database,
    campaign: Campaign,
    windows: Mapping[str, Window],
    expected: ExpectedCounts,
    prices: Prices | None = None,
) -> None:
    """Give every item its terminal state and fill the queue; a rerun changes nothing.

    A campaign with a relaxing stage queues nothing here and is not finished: its ranking is the
    one that the stage begins from.

    Args:
        db: The database, with every chunk stored.
        campaign: The campaign.
        windows: The target of each adsorbate (eV).
        expected: How many items must be in a terminal state then.
        prices: The prices of elements, where the campaign counts them.

    Raises:
        FunnelError: items were lost or counted twice.
    """
    ranked = ranked_pairs(db, campaign.name, windows)
    record_ranks(db, campaign.name, [rank_row(campaign.name, r) for r in ranked])
    chosen = (
        []
        if campaign.relax
        else choose_pairs(db, campaign, windows, ranked, prices=prices, repeat=True)
    )
    kept = lowest_placements(db, campaign.name, per_pair=campaign.stored_per_pair())
    record_triage(
        db,
        campaign.name,
        queued=[c.pair.minimum.candidate_id for c in chosen],
        kept=[placement.candidate_id for placement in kept],
    )
    enqueue(db, [queue_row(campaign, c) for c in chosen])
    check_funnel(db, campaign.name, expected)
    if campaign.relax is None:
        set_campaign_status(db, campaign.name, "finished")


def check_funnel(db: Database, campaign: str, expected: ExpectedCounts) -> None:
    """Raise unless each bulk, slab and placement is in exactly one terminal state."""
    found: Counter[str] = Counter()
    waiting = 0
    for row in funnel_counts(db, campaign):
        found[row.stage] += row.count
        waiting += row.count if row.state == "predicted" else 0
    stages = (
        ("bulk", expected.bulks, found["bulk"]),
        ("slab", expected.slabs, found["slab"]),
        ("placement", expected.placements, found["placement"]),
    )
    for stage, wanted, counted in stages:
        if wanted != counted:
            raise FunnelError(f"{wanted} items entered stage {stage}, {counted} have a state")
    if waiting:
        raise FunnelError(f"{waiting} placements are in no terminal state")


def ranked_pairs(
    db: Database,
    campaign: str,
    windows: Mapping[str, Window],
    checkpoint_sha256: str | None = None,
) -> list[RankedPair]:
    """Return the ranking of a campaign by its present checkpoint, or by another one."""
    return rank_pairs(stored_minima(db, campaign, checkpoint_sha256), windows)
