"""Verify what a campaign queued, with the engine of the level it is verified at.

Clean slabs and gas molecules are computed once each, then the adslabs that need them. What a worker
finds comes back as values; only this process writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from flows.cluster.workers import ClusterPlan, default_workers
from flows.config.batch_profile import BatchProfile, BatchSystem
from flows.display.progress import progress_bar
from flows.errors import CampaignError
from flows.records.recorded import recorded_level
from flows.records.to_rows import level_row
from flows.verification.driver import Driver, DriverIntervals, WorkFilter
from flows.verification.executor import Executor
from flows.verification.recording import VerificationCounts
from flows.verification.step_events import StepListener, steps_recorded
from flows.verification.work_items import CalculationSettings, plan_dependencies
from screening_db.database.engine import Database
from screening_db.queue.view import waiting_adslabs
from screening_db.records.enumeration import record_level
from screening_db.tables.screening import CampaignRow
from tasks.levels import LevelOfTheory
from tasks.verification.engines import (
    EngineLocations,
    checked_engine,
    engine_for,
    engine_location,
)
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
    """Jobs of a batch system, which outlive this process; ``folder`` keeps what they exchange."""

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
) -> VerificationCounts:
    """Verify up to ``limit`` queued candidates, the first in line first.

    Raises:
        UserError: ``engine`` belongs to another level, or is not installed; the level cannot be
            computed here, or the work folder not be written.
        DatabaseError: the level was recorded with other settings than it has in this release.
    """
    level = recorded_level(db, campaign.verified_at)
    # Slurm's nodes load programs in the job (the profile's setup); a login node may have none.
    on_slurm = isinstance(where, BatchJobs) and where.system == "slurm"
    (checked_engine if on_slurm else engine_for)(level, engine, engine_locations)
    record_level(db, level_row(level))  # labels and references go by the level's name
    plan_dependencies(db, level)
    waiting = waiting_adslabs(db, campaign.name)
    total = waiting if limit is None else min(limit, waiting)
    if total == 0:
        return VerificationCounts()
    require_work_folder(engine_location(level, engine_locations).work)
    settings = _settings(level, engine_locations or {}, where)
    work_filter = WorkFilter(campaign.name, total, where.memory_class)
    with (
        steps_recorded(db, engine_location(level, engine_locations).work) as listener,
        _executor(where, settings, listener) as executor,
        progress_bar(f"verify {campaign.name}", total, 0, "adslabs") as advance,
    ):
        return Driver(db, settings, executor, work_filter, intervals or DriverIntervals()).run(
            advance
        )


def _settings(
    level: LevelOfTheory, engine_locations: EngineLocations, where: DaskWorkers | BatchJobs
) -> CalculationSettings:
    """Return what all calculations share; those on this machine share its cores as well."""
    if isinstance(where, DaskWorkers):
        return CalculationSettings(
            level, engine_locations, ResourceLimits(max_cpus=_cores_each(where.cluster.workers))
        )
    limits = where.profile.limits
    if where.system == "local":
        limits = replace(limits, max_cpus=min(limits.max_cpus, _cores_each(where.jobs)))
    return CalculationSettings(level, engine_locations, limits, where.profile.launcher)


def _cores_each(workers: int) -> int:
    return max(1, default_workers() // workers)


@contextmanager
def _executor(
    where: DaskWorkers | BatchJobs, settings: CalculationSettings, listener: StepListener
) -> Iterator[Executor]:
    """Yield what computes. Dask and submitit take seconds to import, and one of them is used."""
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
