"""Verify what a campaign queued, with the engine of the level it is verified at.

``run_verification`` drains the queue with given workers; ``start_verification`` is the command,
which reads settings and prints labels. Clean slabs and gas molecules are computed once each, then
the adslabs that need them. Workers return values; only this process writes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from flows.cluster.workers import ClusterPlan, TlsFiles, default_workers
from flows.config.batch_profile import BatchProfile, BatchSystem, load_batch_profile
from flows.config.engines import read_engine_locations
from flows.config.settings import Settings, read_settings
from flows.display.labels import show_verified
from flows.display.progress import progress_bar
from flows.display.tables import show_lines
from flows.errors import CampaignError
from flows.records.folders import lake_folder, make_folder
from flows.records.from_rows import recorded_level
from flows.records.locations import chosen_database, logged_run
from flows.records.to_rows import level_row
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import Executor
from flows.verification.recording import VerificationCounts
from flows.verification.step_events import StepListener, steps_recorded
from flows.verification.work_items import CalculationSettings, plan_dependencies
from screening_db.database import Database
from screening_db.queries import find_campaign
from screening_db.queue.view import waiting_adslabs
from screening_db.records.screening import record_level
from screening_db.tables import CampaignRow
from tasks.levels import LevelOfTheory
from tasks.verification.engines import (
    EngineLocations,
    checked_engine,
    engine_for,
    engine_location,
)
from tasks.verification.engines.launch import missing_launcher
from tasks.verification.inputs.resources import ResourceLimits
from tasks.verification.relaxation.work_folder import require_work_folder


@dataclass(frozen=True)
class DaskWorkers:
    """Dask workers, here or on a cluster; ``memory_class`` leaves larger items to others.

    Workers have one memory each, and no item gets more of it: a larger class of an item is only
    what it is left to others by.
    """

    cluster: ClusterPlan
    memory_class: int | None = None


@dataclass(frozen=True)
class BatchJobs:
    """Jobs of a batch system, which outlive this process; ``folder`` keeps their files."""

    system: BatchSystem
    profile: BatchProfile
    folder: Path
    jobs: int
    memory_class: int | None = None


def run_verification(
    db: Database,
    campaign: CampaignRow,
    *,
    limit: int | None,
    engine: str | None,
    where: DaskWorkers | BatchJobs,
    engine_locations: EngineLocations | None = None,
    intervals: DriverIntervals | None = None,
    level_name: str | None = None,
) -> VerificationCounts:
    """Verify up to ``limit`` queued candidates, the first in line first.

    Args:
        db: The database.
        campaign: The campaign whose queue is drained.
        limit: How many adslabs are verified at most; None for all that wait.
        engine: The engine that the caller expects; another one is refused.
        where: The workers or jobs that compute.
        engine_locations: Where programs, potentials and work folders are, by engine.
        intervals: How often the queue and the leases are looked after; tests wait less long.
        level_name: The level whose queue is drained, where it is not that of verification.

    Returns:
        How many adslabs ended in which state.

    Raises:
        UserError: ``engine`` belongs to another level, or is not installed; the level cannot be
            computed here, or the work folder not be written.
        DatabaseError: the level was recorded with other settings than it has in this release.
    """
    if campaign.relaxing_level and not level_name and campaign.status != "finished":
        raise CampaignError(
            f"verification follows the relaxing stage; that of campaign {campaign.name} has not "
            "ended: go on with sabatier screen FILE"
        )
    level = recorded_level(db, level_name or campaign.verified_at)
    # Slurm's nodes load programs in the job (the profile's setup); a login node may have none.
    on_slurm = isinstance(where, BatchJobs) and where.system == "slurm"
    (checked_engine if on_slurm else engine_for)(level, engine, engine_locations)
    record_level(db, level_row(level))  # labels and references go by the level's name
    plan_dependencies(db, level)
    waiting = waiting_adslabs(db, campaign.name, level.name)
    total = waiting if limit is None else min(limit, waiting)
    if total == 0:
        return VerificationCounts()
    require_work_folder(engine_location(level, engine_locations).work)
    settings = replace(
        _settings(level, engine_locations or {}, where), relaxed_at=campaign.relaxing_level
    )
    work_filter = WorkFilter(campaign.name, total, where.memory_class)
    with (
        steps_recorded(db, engine_location(level, engine_locations).work) as listener,
        _executor(where, settings, listener) as executor,
        progress_bar(f"verify {campaign.name}", total, 0, "adslabs") as advance,
    ):
        timing = intervals or DriverIntervals()
        return Driver(db, settings, executor, work_filter, timing).run(advance)


def _settings(
    level: LevelOfTheory, engine_locations: EngineLocations, where: DaskWorkers | BatchJobs
) -> CalculationSettings:
    """Return the options that all calculations share; those on this machine divide its cores."""
    if isinstance(where, DaskWorkers):
        limits = ResourceLimits(max_cpus=_cores_each(where.cluster.workers))
        settings = CalculationSettings(level, engine_locations, limits)
        return settings if where.cluster.address else with_launcher(settings)
    limits, launcher = where.profile.limits, where.profile.launcher
    if where.system != "local":
        return CalculationSettings(level, engine_locations, limits, launcher)
    limits = replace(limits, max_cpus=min(limits.max_cpus, _cores_each(where.jobs)))
    return with_launcher(CalculationSettings(level, engine_locations, limits, launcher))


def with_launcher(settings: CalculationSettings) -> CalculationSettings:
    """Return settings by which each calculation runs on one core where none starts several."""
    level, limits = settings.level, settings.limits
    program = missing_launcher(level, settings.engine_locations, settings.launcher)
    if not program or min(limits.max_cpus, limits.cost(level.engine).max_ranks) == 1:
        return settings
    show_lines(
        f"{program} is not found, which starts {level.engine} on several cores: each calculation "
        "runs on one; apt-get install openmpi-bin, or name another launcher in a profile"
    )
    return replace(settings, limits=replace(limits, max_cpus=1))


def _cores_each(workers: int) -> int:
    return max(1, default_workers() // workers)


@contextmanager
def _executor(
    where: DaskWorkers | BatchJobs, settings: CalculationSettings, listener: StepListener
) -> Iterator[Executor]:
    """Yield the executor. Dask and submitit take seconds to import, and one of them is used."""
    if isinstance(where, DaskWorkers):
        from flows.verification.dask_executor import dask_executor

        threads = min(settings.limits.cost(settings.level.engine).threads, settings.limits.max_cpus)
        with dask_executor(where.cluster, threads) as on_dask:
            listener.listen(on_dask.client)
            yield on_dask
        return
    if find_spec("submitit") is None:
        raise CampaignError("jobs are submitted by submitit: pip install 'sabatier[hpc]'")
    from flows.verification.batch_executor import BatchExecutor

    yield BatchExecutor(where.system, where.profile, where.folder, where.jobs)


@dataclass(frozen=True)
class VerificationRequest:
    """Where a command computes; the settings supply the fields that it leaves out."""

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
    stated: str | None = None,
) -> None:
    """Drain the queue of a campaign and print labels beside predictions.

    Args:
        campaign: Its name.
        limit: How many adslabs are verified at most; None for all that wait.
        engine: The engine that the caller expects; another one is refused.
        request: Where it computes.
        database: Path or URL, before what file and settings say.
        stated: Path or URL, as the campaign file says it.

    Raises:
        UserError: the level cannot be computed here.
        DatabaseError: there is no such database or campaign.
    """
    settings = read_settings()
    db, began = chosen_database(settings, database, stated=stated), time.monotonic()
    with logged_run(db, f"verify {campaign}"):
        counts = run_verification(
            db,
            find_campaign(db, campaign),
            limit=limit,
            engine=engine,
            where=requested_workers(request, settings, lake_folder(db) / "jobs"),
            engine_locations=read_engine_locations(make_folder(db, "work")),
        )
        seconds = time.monotonic() - began
        show_verified(db, campaign)
        rate = f"{seconds:.0f} s, {60 * counts.ended / seconds:.1f} a minute"
        show_lines(f"{counts} in this run, {rate}")


def requested_workers(
    request: VerificationRequest, settings: Settings, folder: Path
) -> DaskWorkers | BatchJobs:
    """Return where verification computes: as the request says, else as the settings say.

    Args:
        request: Where the caller wants to compute.
        settings: The values for everything that the request leaves out.
        folder: Where jobs exchange files, unless a profile names another folder.
    """
    on = request.on or settings.on
    if on == "dask":
        workers = request.workers or settings.workers or default_workers()
        tls = TlsFiles(settings.cluster_ca, settings.cluster_certificate, settings.cluster_key)
        plan = ClusterPlan(workers, settings.cluster, tls=tls, insecure=settings.cluster_insecure)
        return DaskWorkers(plan, settings.memory_class)
    stated = request.profile or settings.profile
    profile = load_batch_profile(stated)
    jobs = request.jobs or settings.jobs
    if jobs is None:  # a machine of one's own runs as many as it has cores, unless a profile counts
        jobs = default_workers() if on == "local" and stated is None else profile.jobs
    return BatchJobs(on, profile, profile.folder or folder, jobs, settings.memory_class)
