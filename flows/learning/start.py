"""Begin a fine-tuning, a loop or a re-scoring: read file and settings, run, print the end.

Prefect, Dask and torch are imported inside functions: that takes seconds, and a re-scoring that
finds nothing stale should answer at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from flows.config.campaign import Learning, load_campaign
from flows.config.engines import read_engine_locations
from flows.config.resolve import ResolvedCampaign
from flows.config.settings import Settings, read_settings
from flows.display.learning import show_fine_tuning, show_round, show_rounds
from flows.display.tables import show_candidates, show_funnel, show_lines
from flows.errors import CampaignError
from flows.records.campaign_start import record_start
from flows.records.checkpoints import serving_checkpoint
from flows.records.folders import lake_folder, make_folder
from flows.records.from_rows import recorded_campaign
from flows.records.locations import (
    choose_database,
    chosen_database,
    logged_run,
)
from flows.screening.start import (
    cluster_plan,
    open_campaign,
    require_slabs,
    screen_and_relax,
)
from flows.verification.flow import VerificationRequest, requested_workers
from screening_db.database import Database, campaign_lock
from screening_db.learning.rounds import rounds as recorded_rounds
from screening_db.learning.stale import is_stale, model_of_campaign, require_finished
from screening_db.queries import find_campaign
from screening_db.tables import CampaignRow, RoundRow

if TYPE_CHECKING:
    from flows.learning.fine_tuning import FineTuningResult

_SHOWN = {"loop": 10, "rescore": 20}  # pairs of the ranking


def start_fine_tuning(
    campaign: str,
    database: str | None,
    learning: Learning | None = None,
    *,
    stated: str | None = None,
) -> "FineTuningResult":
    """Fine-tune the serving checkpoint of a campaign on its level's labels, and print the verdict.

    Args:
        campaign: Its name.
        database: Path or URL, before what file and settings say.
        learning: How it is fine-tuned; without it as campaign files do by default.
        stated: Path or URL, as the campaign file says it.

    Returns:
        The verdict and the serving checkpoint.

    Raises:
        UserError, ModelError: there is nothing to learn from, or the checkpoint cannot be tuned.
    """
    from flows.learning.fine_tuning import fine_tune_on_labels

    db = chosen_database(read_settings(), database, stated=stated)
    with logged_run(db, f"fine-tune on labels of {campaign}"):
        row = find_campaign(db, campaign)
        model = model_of_campaign(db, campaign)
        with campaign_lock(db, campaign):
            models = make_folder(db, "models")
            result = fine_tune_on_labels(db, row, model, learning or Learning(), models)
        _show_result(result, model)
        if result.accepted:
            show_lines(f"rank by it with: sabatier rescore {campaign}")
        return result


def _show_result(result: "FineTuningResult", model: str) -> None:
    if result.verdict is None:
        show_lines(f"nothing was trained: {result.why}")
        return
    found = result.verdict
    if result.imported:
        sources = sorted({each.partition(",")[0] for each in result.imported})
        show_lines(f"{len(result.imported)} of the labels are imported: {', '.join(sources)[:200]}")
    show_fine_tuning(model, result.method, result.labels, found.numbers["errors"], found.reasons)
    verb = "serves" if result.accepted else "still serves"
    show_lines(f"{result.serving[:12]} {verb} {model}")


def start_loop(file: Path, rounds: int, budget: int | None, database: str | None) -> RoundRow:
    """Run the loop of the campaign in ``file``, or go on with it.

    Args:
        file: The campaign file.
        rounds: How many rounds the campaign has in all.
        budget: How many adslabs are calculated in all; without it the file's budget each round.
        database: Path or URL, before what file and settings say.

    Returns:
        The last round.

    Raises:
        CampaignError: the budget is less than one calculation.
        UserError: the campaign is verified at another level than it is predicted at.
    """
    from flows.learning.fine_tuning import require_one_level

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
    with logged_run(db, f"loop {campaign.name}"):
        with campaign_lock(db, campaign.name):
            record_start(db, resolved)
            require_one_level(find_campaign(db, campaign.name))
            why = _run_loop(db, resolved, settings, rounds, calculations)
        show_rounds(db, campaign.name)
        show_candidates(db, campaign.name, _SHOWN["loop"])
        show_lines(f"stopped: {why}", f"database     {db.where}")
        return recorded_rounds(db, campaign.name)[-1]


def _run_loop(
    db: Database, resolved: ResolvedCampaign, settings: Settings, rounds: int, calculations: int
) -> str:
    from flows.cluster.prefect_server import control_plane
    from flows.learning.loop import CampaignLoopSteps, Loop, loop_flow
    from flows.screening.flow import Runtime

    campaign = resolved.campaign
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
    with control_plane(settings.prefect_api_url) as plane, plane.connected() as record:
        runtime = Runtime(cluster_plan(campaign, settings), plane)
        if find_campaign(db, campaign.name).status != "finished":
            screen_and_relax(resolved, db, settings, runtime)
        require_slabs(db, campaign.name)
        steps = CampaignLoopSteps(
            db=db,
            resolved=resolved,
            runtime=runtime,
            where=requested_workers(VerificationRequest(), settings, lake_folder(db) / "jobs"),
            engine_locations=read_engine_locations(make_folder(db, "work")),
            models=make_folder(db, "models"),
            record=record,
        )
        return loop_flow(loop, steps)(campaign.name, rounds)


def start_rescoring(campaign: str, database: str | None) -> None:
    """Re-score a campaign and print its ranking, or print that nothing is stale.

    Args:
        campaign: Its name.
        database: Path or URL, where the settings do not say.

    Raises:
        CampaignError: the serving checkpoint does not know the campaign's level.
        DatabaseError: the campaign is unknown or not finished.
    """
    settings = read_settings()
    db = chosen_database(settings, database)
    with logged_run(db, f"rescore {campaign}"):
        row = find_campaign(db, campaign)
        require_finished(db, row)
        with campaign_lock(db, campaign):
            checkpoint = serving_checkpoint(db, model_of_campaign(db, campaign))
            if is_stale(db, campaign, checkpoint.sha256):
                _run_rescoring(db, row, settings)
            else:
                served = f"{checkpoint.sha256[:12]}, which serves"
                show_lines(f"{campaign} is ranked by {served}; nothing is stale")


def _run_rescoring(db: Database, row: CampaignRow, settings: Settings) -> None:
    from flows.screening.flow import Runtime
    from flows.screening.ranking.rescore import rescore

    cluster = cluster_plan(recorded_campaign(row), settings)
    done = rescore(db, row.name, Runtime(cluster, settings.prefect_api_url))
    show_candidates(db, row.name, _SHOWN["rescore"])
    show_funnel(db, row.name)
    show_lines(
        f"{done.predicted} placements predicted again; ranked by {done.checkpoint_sha256[:12]}, "
        f"before by {done.before_sha256[:12]}"
    )
