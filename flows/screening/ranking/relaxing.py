"""Relax the best placements of the most promising pairs by a potential, and rank by what it finds.

The stage comes between scoring and triage, as in AdsorbML. Its items go through the verification
queue at the potential's level: same checks, same retries, nothing computed twice. A checkpoint of
the difference then turns their energies into the campaign's level. What was not relaxed is
predicted without, with a larger sigma, and the ranking says of each pair which of the two it is.

A run that is killed goes on: the choice follows from the screening's own predictions, the queue
knows what is computed, and ranking, states and queue change in one transaction at the end.

Source  Lan et al. 2023, npj Computational Materials 9, 172 (AdsorbML).
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from flows.config.campaign import Campaign
from flows.config.engines import read_engine_locations
from flows.config.resolve import ResolvedCampaign, ResolvedRelaxing
from flows.display.tables import show_lines
from flows.records.checkpoints import (
    LocatedCheckpoint,
    record_outside_checkpoint,
    serving_checkpoint,
)
from flows.records.folders import make_folder
from flows.screening.flow import Runtime
from flows.screening.ranking.rerank import new_ranking
from flows.screening.ranking.rescore import predict_stale
from flows.screening.ranking.triage import ranked_pairs
from flows.verification.driver import DriverIntervals
from flows.verification.flow import BatchJobs, DaskWorkers, run_verification
from screening_db.database import Database
from screening_db.learning.stale import stale_predictions
from screening_db.queries import find_campaign, lowest_placements
from screening_db.queue.enqueue import enqueue
from screening_db.queue.view import waiting_adslabs
from screening_db.records.ranking import record_triage, replace_ranking
from screening_db.tables import QueueRow

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
    record_outside_checkpoint(db, stage.model, checkpoint)
    chosen = _queued(db, resolved, stage)
    _relax_all(db, name, stage.level.name, where)
    _rank(db, name, checkpoint, chosen, runtime)


def _relax_all(db: Database, campaign: str, level: str, where: DaskWorkers | BatchJobs) -> None:
    """Relax all that is queued, and wait for what another run has begun, as long as it lives."""
    while waiting_adslabs(db, campaign, level):
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
        if left:
            show_lines(f"{left} are being relaxed by another run, or by one that was stopped")
            until = time.monotonic() + DriverIntervals().lease_s
            while waiting_adslabs(db, campaign, level) == left and time.monotonic() < until:
                time.sleep(_POLL_S)


def _queued(db: Database, resolved: ResolvedCampaign, stage: ResolvedRelaxing) -> list[str]:
    """Choose the placements to relax, queue them, and return their ids."""
    campaign = resolved.campaign
    rank = {
        pair.minimum.pair_id: place
        for place, pair in enumerate(ranked_pairs(db, campaign.name, resolved.windows))
        if place < stage.top
    }
    lowest = lowest_placements(db, campaign.name, per_pair=stage.per_pair)
    priority = {
        one.candidate_id: -float(rank[one.pair_id]) for one in lowest if one.pair_id in rank
    }
    kept = lowest_placements(db, campaign.name, per_pair=campaign.stored_per_pair())
    # A placement of a queued item is in the state "queued", whichever campaign asked first.
    record_triage(db, campaign.name, queued=list(priority), kept=[one.candidate_id for one in kept])
    enqueue(db, [_item(campaign, stage, one, first) for one, first in priority.items()])
    return sorted(priority)


def _item(campaign: Campaign, stage: ResolvedRelaxing, candidate: str, first: float) -> QueueRow:
    return QueueRow(
        candidate_id=candidate,
        level=stage.level.name,
        campaign=campaign.name,
        priority=first,
        why="promising",
    )


def _rank(
    db: Database,
    campaign: str,
    checkpoint: LocatedCheckpoint,
    relaxed: Sequence[str],
    runtime: Runtime,
) -> None:
    """Predict all contenders by the difference, and rank by it in one transaction."""
    row = find_campaign(db, campaign)
    # Another campaign may have predicted what is relaxed only now.
    stale = {*stale_predictions(db, campaign, checkpoint.sha256), *relaxed}
    predict_stale(db, row, checkpoint, sorted(stale), runtime)
    replace_ranking(db, replace(new_ranking(db, row, checkpoint.sha256), relaxed=True))
