"""Begin a re-scoring from the command line; what runs work is imported where there is some."""

from flows.config.settings import Settings, read_settings
from flows.display.tables import show_candidates, show_funnel
from flows.records.checkpoints import serving_checkpoint
from flows.records.locations import existing_database
from flows.records.recorded import recorded_campaign
from flows.screening.start import cluster_plan
from screening_db.database.engine import Database
from screening_db.database.lock import campaign_lock
from screening_db.learning.stale import is_stale, model_of_campaign, require_finished
from screening_db.queries.campaigns import find_campaign
from screening_db.tables.screening import CampaignRow

_SHOWN = 20


def start_rescoring(campaign: str, database: str | None) -> None:
    """Re-score a campaign and print its ranking, or say that nothing is stale."""
    settings = read_settings()
    db = existing_database(settings, database)
    try:
        row = find_campaign(db, campaign)
        require_finished(db, row)
        with campaign_lock(db, campaign):
            checkpoint = serving_checkpoint(db, model_of_campaign(db, campaign))
            if is_stale(db, campaign, checkpoint.sha256):
                _run(db, row, settings)
            else:
                print(
                    f"{campaign} is ranked by {checkpoint.sha256[:12]}, which serves; "
                    "nothing is stale"
                )
    finally:
        db.close()


def _run(db: Database, row: CampaignRow, settings: Settings) -> None:
    from flows.learning.rescore import rescore
    from flows.screening.flow import Runtime

    cluster = cluster_plan(recorded_campaign(row), settings)
    done = rescore(db, row.name, Runtime(cluster, settings.prefect_api_url))
    show_candidates(db, row.name, _SHOWN)
    show_funnel(db, row.name)
    print(
        f"{done.predicted} placements predicted again; ranked by {done.checkpoint_sha256[:12]}, "
        f"before by {done.before_sha256[:12]}"
    )
