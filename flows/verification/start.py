"""Begin a verification: read settings, drain the queue, print labels beside predictions."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.cluster.workers import ClusterPlan, default_workers
from flows.config.batch_profile import load_batch_profile
from flows.config.engines import read_engine_locations
from flows.config.settings import Settings, read_settings
from flows.display.labels import show_verified
from flows.display.tables import show_lines
from flows.records.locations import engine_work_folder, existing_database, lake_folder, logged_run
from flows.verification.flow import BatchJobs, DaskWorkers, run_verification
from screening_db.queries.campaigns import find_campaign


@dataclass(frozen=True)
class VerificationRequest:
    """Where a command computes; the settings say what it leaves out."""

    on: Literal["dask", "local", "slurm"] | None = None
    workers: int | None = None
    jobs: int | None = None
    profile: Path | None = None


def start_verification(
    campaign: str,
    limit: int | None,
    engine: str | None,
    request: VerificationRequest,
    database: str | None,
) -> None:
    """Drain the queue of a campaign and print labels beside predictions.

    Args:
        campaign: Its name.
        limit: How many adslabs are verified at most; None for all that wait.
        engine: The engine that the caller expects; another one is refused.
        request: Where it computes.
        database: Path or URL, where the settings do not say.

    Raises:
        UserError: the level cannot be computed here.
        DatabaseError: there is no such database or campaign.
    """
    settings = read_settings()
    db, began = existing_database(settings, database), time.monotonic()
    with logged_run(db, f"verify {campaign}"):
        counts = run_verification(
            db,
            find_campaign(db, campaign),
            limit=limit,
            engine=engine,
            where=place_to_compute(request, settings, lake_folder(db) / "jobs"),
            engine_locations=read_engine_locations(engine_work_folder(db)),
        )
        seconds = time.monotonic() - began
        show_verified(db, campaign)
        rate = f"{seconds:.0f} s, {60 * counts.ended / seconds:.1f} a minute"
        show_lines(f"{counts} in this run, {rate}")


def place_to_compute(
    request: VerificationRequest, settings: Settings, folder: Path
) -> DaskWorkers | BatchJobs:
    """Return where verification computes: as the request says, else as the settings say.

    Args:
        request: What the caller asks for.
        settings: What holds where the request leaves something out.
        folder: Where jobs exchange files, unless a profile names another folder.
    """
    on = request.on or settings.on
    if on == "dask":
        workers = request.workers or settings.workers or default_workers()
        return DaskWorkers(ClusterPlan(workers, settings.cluster), settings.memory_class)
    stated = request.profile or settings.profile
    profile = load_batch_profile(stated)
    jobs = request.jobs or settings.jobs
    if jobs is None:  # a machine of one's own runs as many as it has cores, unless a profile counts
        jobs = default_workers() if on == "local" and stated is None else profile.jobs
    return BatchJobs(on, profile, profile.folder or folder, jobs, settings.memory_class)
