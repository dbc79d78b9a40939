"""Relax the best placements of the most promising pairs by a potential, and rank by what it finds.

The stage comes between scoring and triage, as in AdsorbML. Its items go through the verification
queue at the potential's level: same checks, same retries, nothing computed twice. A checkpoint of
the difference then turns their energies into the campaign's level. What was not relaxed is
predicted without, with a larger sigma, and the ranking says of each pair which of the two it is.

A run that is killed goes on: what is relaxed is recorded, the queue knows what is computed, and
ranking, states and queue change in one transaction at the end.

Source  Lan et al. 2023, npj Computational Materials 9, 172 (AdsorbML).
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from flows.config.campaign import Campaign
from flows.config.engines import read_engine_locations
from flows.config.relaxing import ResolvedRelaxing, require_difference
from flows.config.resolve import ResolvedCampaign
from flows.display.tables import show_lines
from flows.errors import CampaignError
from flows.records.checkpoints import (
    LocatedCheckpoint,
    record_outside_checkpoint,
    serving_checkpoint,
)
from flows.records.folders import make_folder
from flows.records.from_rows import relaxed_findings
from flows.screening.flow import Runtime
from flows.screening.ranking.rerank import new_ranking
from flows.screening.ranking.rescore import predict_stale
from flows.screening.ranking.triage import ranked_pairs
from flows.verification.driver import DriverIntervals
from flows.verification.flow import BatchJobs, DaskWorkers, run_verification
from screening_db.database import Database
from screening_db.learning.stale import stale_predictions
from screening_db.queries import (
    candidates_by_id,
    find_campaign,
    lowest_placements,
    placements_to_relax,
)
from screening_db.queue.enqueue import enqueue
from screening_db.queue.view import leased_items, waiting_adslabs
from screening_db.records.ranking import choose_to_relax, record_triage, replace_ranking
from screening_db.tables import QueueRow
from tasks.prediction.checkpoint_domain import checkpoint_domain

_POLL_S = 1.0


def relax_pairs(
    resolved: ResolvedCampaign,
    db: Database,
    runtime: Runtime,
    where: DaskWorkers | BatchJobs,
) -> None:
    """Run the relaxing stage of a campaign whose placements are all scored, and finish it.

    Args:
        resolved: The campaign, with its stage.
        db: The database, which holds the ranking of the screening's own predictions.
        runtime: Workers of the predictions, and the Prefect server.
        where: What relaxes.

    Raises:
        CampaignError: the checkpoint of the difference is not where it was.
        UserError: the level cannot be computed here.
    """
    stage, name = resolved.relaxing, resolved.campaign.name
    if stage is None:
        return
    checkpoint = serving_checkpoint(db, stage.model)
    served = checkpoint_domain(checkpoint.location)  # another one may have been promoted
    require_difference(served, checkpoint.sha256[:12], stage.level, resolved.level.name)
    record_outside_checkpoint(db, stage.model, checkpoint)
    items = _chosen(db, resolved, stage)
    _relax_all(db, name, stage.level.name, items, where)
    # Relaxed items are no requests of verification: to a ranking, what is queued is.
    record_triage(db, name, queued=[], kept=_kept(db, resolved.campaign, items))
    _rank(db, name, checkpoint, items, runtime)


def _relax_all(
    db: Database,
    campaign: str,
    level: str,
    items: Sequence[QueueRow],
    where: DaskWorkers | BatchJobs,
) -> None:
    """Relax all items, and wait for those that another run has begun, as long as it lives."""
    while True:
        enqueue(db, items)  # again: others may have withdrawn theirs
        if not waiting_adslabs(db, campaign, level):
            return
        counts = run_verification(
            db,
            find_campaign(db, campaign),
            limit=None,
            engine=None,
            where=where,
            engine_locations=read_engine_locations(make_folder(db, "work")),
            level_name=level,
        )
        show_lines(f"relaxed at {level}: {counts}")
        left = waiting_adslabs(db, campaign, level)
        if left and not counts.ended and not leased_items(db, campaign, level):
            raise CampaignError(
                f"{left} placements of {campaign} wait for {level} and nothing here computes them: "
                "they, or a slab that they need, are held or too large for this machine; see "
                f"sabatier queue list {campaign}, then run the same command again"
            )
        if left:
            show_lines(f"{left} are being relaxed by another run, or by one that was stopped")
            until = time.monotonic() + DriverIntervals().lease_s
            while waiting_adslabs(db, campaign, level) == left and time.monotonic() < until:
                time.sleep(_POLL_S)


def _chosen(db: Database, resolved: ResolvedCampaign, stage: ResolvedRelaxing) -> list[QueueRow]:
    """Return the items of the placements to relax, which are marked as queued."""
    campaign = resolved.campaign
    ranked = ranked_pairs(db, campaign.name, resolved.windows)
    rank = {pair.minimum.pair_id: place for place, pair in enumerate(ranked)}
    # Chosen once: the difference may be the model, and then changes the predictions chosen by.
    if not (ids := placements_to_relax(db, campaign.name)):
        lowest = lowest_placements(db, campaign.name, per_pair=stage.per_pair)
        ids = [one.candidate_id for one in lowest if rank.get(one.pair_id, stage.top) < stage.top]
        choose_to_relax(db, campaign.name, ids)
    items = [
        QueueRow(
            candidate_id=item,
            level=stage.level.name,
            campaign=campaign.name,
            priority=-float(rank.get(row.pair_id, len(ranked))),
            why="promising",
        )
        for item, row in candidates_by_id(db, ids).items()
    ]
    # A campaign may claim what is in the state "queued", whichever campaign asked first.
    queued = [item.item for item in items]
    record_triage(db, campaign.name, queued=queued, kept=_kept(db, campaign, items))
    return items


def _kept(db: Database, campaign: Campaign, items: Sequence[QueueRow]) -> list[str]:
    """Return the placements that the ranking after the stage chooses from."""
    lowest = lowest_placements(db, campaign.name, per_pair=campaign.stored_per_pair())
    return sorted({*(one.candidate_id for one in lowest), *(item.item for item in items)})


def _rank(
    db: Database,
    campaign: str,
    checkpoint: LocatedCheckpoint,
    items: Sequence[QueueRow],
    runtime: Runtime,
) -> None:
    """Predict all contenders by the difference, and rank by it in one transaction."""
    row, chosen = find_campaign(db, campaign), [item.item for item in items]
    # Another campaign may have predicted what is relaxed only now.
    stale = {*stale_predictions(db, campaign, checkpoint.sha256), *chosen}
    predict_stale(db, row, checkpoint, sorted(stale), runtime)
    potentials = checkpoint_domain(checkpoint.location).potentials
    findings = relaxed_findings(db, potentials, candidates_by_id(db, chosen))
    merged = {item for item, found in findings.items() if found.merged_with}
    if merged:
        show_lines(f"{len(merged)} placements end where another of their pair does")
    ranking = new_ranking(db, row, checkpoint.sha256)
    kept = [item for item in ranking.kept if item not in merged]
    replace_ranking(db, replace(ranking, kept=kept, relaxed=True))
