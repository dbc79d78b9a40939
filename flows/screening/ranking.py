"""Rank, triage and fill the queue once every chunk is stored; check that the funnel adds up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flows.config.campaign import Campaign
from flows.records.to_rows import queue_row, rank_row
from flows.screening.triage import choose_pairs
from screening_db.database.engine import Database
from screening_db.queries.campaigns import funnel_counts
from screening_db.queries.enumeration import slabs_by_id
from screening_db.queries.ranking import best_placements, lowest_placements
from screening_db.queue.enqueue import enqueue
from screening_db.records.campaigns import set_campaign_status
from screening_db.records.ranking import record_ranks, record_triage
from tasks.acquisition import Prices
from tasks.acquisition.rank import LowestPlacement, RankedPair, Window, rank_pairs


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
    """Give every item its terminal state and fill the queue; a rerun changes nothing."""
    ranked = ranked_pairs(db, campaign.name, windows)
    record_ranks(db, campaign.name, [rank_row(campaign.name, r) for r in ranked])
    chosen = choose_pairs(db, campaign, windows, ranked, prices=prices, repeat=True)
    best = best_placements(db, campaign.name, campaign.triage.keep_per_pair)
    record_triage(
        db,
        campaign.name,
        queued=[c.pair.minimum.candidate_id for c in chosen],
        kept=[candidate for ids in best.values() for candidate in ids],
    )
    enqueue(db, [queue_row(campaign, c) for c in chosen])
    check_funnel(db, campaign.name, expected)
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
    return rank_pairs(_lowest_placements(db, campaign, checkpoint_sha256), windows)


def _lowest_placements(
    db: Database, campaign: str, checkpoint_sha256: str | None
) -> list[LowestPlacement]:
    """Return the database's lowest placements, with the bulk of each for limits of triage."""
    minima = lowest_placements(db, campaign, checkpoint_sha256)
    bulk_of = {
        key: row.bulk_id for key, row in slabs_by_id(db, _unique(m.slab_id for m in minima)).items()
    }
    return [
        LowestPlacement(
            candidate_id=m.candidate_id,
            pair_id=m.pair_id,
            slab_id=m.slab_id,
            bulk_id=bulk_of[m.slab_id],
            adsorbate=m.adsorbate,
            energy_ev=m.energy_ev,
            sigma_ev=m.sigma_ev,
        )
        for m in minima
    ]


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
