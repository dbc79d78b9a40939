"""Begin a fine-tuning or a loop: read file and settings, run, print the end."""

from pathlib import Path

from flows.cluster.prefect_client import control_plane
from flows.config.campaign import Learning, load_campaign
from flows.config.engines import read_engine_locations
from flows.config.resolve import ResolvedCampaign
from flows.config.settings import Settings, read_settings
from flows.display.tables import show_candidates
from flows.errors import CampaignError
from flows.learning.fine_tuning import FineTuningResult, fine_tune_on_labels, require_one_level
from flows.learning.loop import Loop
from flows.learning.loop_flow import CampaignLoopSteps, loop_flow
from flows.learning.show_learning import show_fine_tuning, show_round, show_rounds
from flows.records.campaign_start import record_start
from flows.records.locations import (
    choose_database,
    existing_database,
    lake_folder,
    models_folder,
    work_folder,
)
from flows.screening.flow import Runtime, run_screening
from flows.screening.start import cluster_plan, open_campaign
from flows.verification.start import VerificationRequest, place_to_compute
from screening_db.database.engine import Database
from screening_db.database.lock import campaign_lock
from screening_db.learning.rounds import rounds as recorded_rounds
from screening_db.learning.stale import model_of_campaign
from screening_db.queries.campaigns import find_campaign
from screening_db.tables.learning import RoundRow

_SHOWN = 10


def start_fine_tuning(
    campaign: str, database: str | None, learning: Learning | None = None
) -> FineTuningResult:
    """Fine-tune what serves a campaign's model on its level's labels, and print the verdict."""
    settings = read_settings()
    db = existing_database(settings, database)
    try:
        row = find_campaign(db, campaign)
        model = model_of_campaign(db, campaign)
        with campaign_lock(db, campaign):
            result = fine_tune_on_labels(db, row, model, learning or Learning(), models_folder(db))
        show_fine_tuning(result, model)
        if result.accepted:
            print(f"rank by it with: sabatier rescore {campaign}")
        return result
    finally:
        db.close()


def start_loop(file: Path, rounds: int, budget: int | None, database: str | None) -> RoundRow:
    """Run the loop of the campaign in ``file``, or go on with it; return its last round."""
    settings = read_settings()
    campaign = load_campaign(file)
    calculations = rounds * campaign.triage.budget if budget is None else budget
    if calculations < 1:
        raise CampaignError(
            f"a loop spends at least 1 calculation, got a budget of {calculations}; raise "
            "--budget, or triage.budget of the campaign"
        )
    address = choose_database(settings, campaign.database, database)
    db, resolved = open_campaign(address, campaign, file.parent, settings)
    try:
        with campaign_lock(db, campaign.name):
            record_start(db, resolved)
            require_one_level(find_campaign(db, campaign.name))
            why = _run(db, resolved, settings, rounds, calculations)
        show_rounds(db, campaign.name)
        show_candidates(db, campaign.name, _SHOWN)
        print(f"stopped: {why}")
        print(f"database     {db.where}")
        return recorded_rounds(db, campaign.name)[-1]
    finally:
        db.close()


def _run(
    db: Database, resolved: ResolvedCampaign, settings: Settings, rounds: int, calculations: int
) -> str:
    campaign = resolved.campaign
    cluster = cluster_plan(campaign, settings)
    loop = Loop(
        db=db,
        campaign=campaign.name,
        windows=resolved.windows,
        rounds=rounds,
        budget=calculations,
        per_round=campaign.triage.budget,
        patience=campaign.learning.patience,
        on_round_end=show_round,
    )
    with control_plane(settings.prefect_api_url) as plane, plane.connected():
        runtime = Runtime(cluster, plane.api_url)
        if find_campaign(db, campaign.name).status != "finished":
            run_screening(resolved, db, lake_folder(db), runtime)
        steps = CampaignLoopSteps(
            db=db,
            resolved=resolved,
            runtime=runtime,
            where=place_to_compute(VerificationRequest(), settings, lake_folder(db) / "jobs"),
            engine_locations=read_engine_locations(work_folder(db)),
            models=models_folder(db),
        )
        return loop_flow(loop, steps)(campaign.name, rounds)
