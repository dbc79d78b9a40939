"""Make a set of labels in portions: each run goes on where the last one ended."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.cluster.workers import default_workers, temporary_environment, worker_variables
from flows.config.engines import read_engine_locations
from flows.config.label_plan import load_label_plan
from flows.display.progress import progress_bar
from flows.display.tables import show_lines
from model.files import lock_folder
from model.processes import map_in_processes
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.training_data.label_folder import (
    gather_parts,
    label_files,
    missing_draws,
    open_label_folder,
    write_draw,
)
from tasks.training_data.label_report import label_lines
from tasks.training_data.label_set import (
    Draw,
    LabelPlan,
    read_labels,
    relax_draw,
    require_references,
)
from tasks.verification.engines import Engine, EngineLocations, engine_for
from tasks.verification.labels.energies import MemoryCache

_ENGINES: dict[str, tuple[Engine, MemoryCache]] = {}  # of this process, by hash of the level


@dataclass(frozen=True)
class LabelRequest:
    """What is asked of one run: a plan, a level, how many placements the set has, and limits."""

    file: Path
    level: str
    placements: int
    out: Path
    minutes: float | None = None
    processes: int | None = None


def start_labels(request: LabelRequest) -> None:
    """Relax placements until the set has as many as are wanted, or the time is over.

    Each draw is written whole or not at all. A run that ends, by itself or by its limit, gathers
    its draws in one shard ``labels-FIRST-LAST.parquet``; one that is killed leaves them to the
    next. Where most draws give no slab, the set ends with fewer placements after ten times as many
    draws as would do.

    Args:
        request: Plan, level, number of placements, folder and limits.

    Raises:
        CampaignError: the plan breaks a rule.
        EngineError: the level cannot be computed here.
        MachineError: another process writes to the folder.
        UserError: an adsorbate has no reference at the level, or the folder holds labels of another
            plan or level.
    """
    plan = load_label_plan(request.file)
    level = named_level(request.level, request.file.parent)
    locations = read_engine_locations()
    require_references(plan, level, engine_for(level, locations=locations).elements(level))
    until = math.inf if request.minutes is None else time.time() + 60 * request.minutes
    with lock_folder(request.out, "a set of labels"):
        open_label_folder(request.out, plan, level)
        work = partial(_relaxed, until, plan, level, locations, request.out)
        while time.time() < until:
            missing = missing_draws(request.out, plan, request.placements)
            if not missing or not _relax(missing, work, request.processes or default_workers()):
                break
        gather_parts(request.out)
        if shards := label_files(request.out):
            show_lines(*label_lines(read_labels(shards)))


def _relax(missing: Sequence[Draw], work: "partial[bool]", processes: int) -> bool:
    """Relax draws side by side; return False where the time was over before all were begun."""
    with (
        temporary_environment(worker_variables(1)),
        progress_bar("labels", len(missing), 0, "slabs") as advance,
    ):
        done = []
        for written in map_in_processes(work, missing, processes=processes, work="a set of labels"):
            advance(int(written))
            done.append(written)
    return all(done)


def _relaxed(
    until: float,
    plan: LabelPlan,
    level: LevelOfTheory,
    locations: EngineLocations,
    folder: Path,
    draw: Draw,
) -> bool:
    """Relax one draw and keep its rows, unless the time is over."""
    if time.time() > until:
        return False
    engine, cache = _engine_here(level, locations)
    write_draw(folder, draw, relax_draw(draw, plan, level, engine, cache))
    return True


def _engine_here(level: LevelOfTheory, locations: EngineLocations) -> tuple[Engine, MemoryCache]:
    """Return the engine of this process, and the reference energies that it has computed."""
    if level.level_hash not in _ENGINES:
        _ENGINES[level.level_hash] = engine_for(level, locations=locations), MemoryCache()
    return _ENGINES[level.level_hash]
