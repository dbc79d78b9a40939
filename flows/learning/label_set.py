"""Make a set of labels in portions: each run goes on where the last one ended."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase.data import chemical_symbols

from flows.cluster.workers import default_workers, temporary_environment
from flows.config.engines import read_engine_locations
from flows.config.label_plan import load_label_plan
from flows.display.progress import progress_bar
from flows.display.tables import show_lines
from model.files import lock_folder
from model.processes import map_in_processes
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.training_data.label_set import (
    Draw,
    LabelPlan,
    draws,
    read_labels,
    relax_draw,
    write_labels,
)
from tasks.verification.engines import Engine, EngineLocations, engine_for
from tasks.verification.engines.launch import thread_variables
from tasks.verification.labels.energies import MemoryCache

_SHARD, _PART = "labels-{:06d}-{:06d}.parquet", "part-{:06d}.parquet"
_PARTS = ".parts"
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
    next.

    Args:
        request: Plan, level, number of placements, folder and limits.

    Raises:
        CampaignError: the plan breaks a rule.
        EngineError: the level cannot be computed here.
        MachineError: another process writes to the folder.
    """
    plan = load_label_plan(request.file)
    level = named_level(request.level, request.file.parent)
    locations = read_engine_locations()
    engine_for(level, locations=locations)
    with lock_folder(request.out, "a set of labels"):
        parts = request.out / _PARTS
        parts.mkdir(exist_ok=True)
        missing = _missing(request, plan)
        _relax(request, missing, partial(_write_part, plan, level, locations, parts))
        _gather(request.out, parts)
        shards = sorted(request.out.glob("labels-*.parquet"))
        if shards:
            show_lines(*label_lines(read_labels(shards)))


def _missing(request: LabelRequest, plan: LabelPlan) -> list[Draw]:
    """Return the draws of the set that no shard and no part holds."""
    wanted = math.ceil(request.placements / plan.per_slab)
    done = {int(part.stem.removeprefix("part-")) for part in (request.out / _PARTS).iterdir()}
    for shard in request.out.glob("labels-*.parquet"):
        done |= set(pq.read_table(shard, columns=["draw"]).column("draw").to_pylist())
    return [draw for draw in islice(draws(plan), wanted) if draw.number not in done]


def _relax(request: LabelRequest, missing: Sequence[Draw], work: "partial[int]") -> None:
    until = math.inf if request.minutes is None else time.time() + 60 * request.minutes
    processes = request.processes or default_workers()
    done = partial(_before, until, work)
    with (
        temporary_environment(thread_variables(1)),
        progress_bar("labels", len(missing), 0, "slabs") as advance,
    ):
        results = map_in_processes(done, missing, processes=processes, work="a set of labels")
        for count in results:
            if count is not None:
                advance(1)


def _before(until: float, work: "partial[int]", draw: Draw) -> int | None:
    return None if time.time() > until else work(draw)


def _write_part(
    plan: LabelPlan, level: LevelOfTheory, locations: EngineLocations, parts: Path, draw: Draw
) -> int:
    """Relax one draw and write its rows; return how many."""
    engine, cache = _engine_here(level, locations)
    rows = relax_draw(draw, plan, level, engine, cache)
    return write_labels(parts / _PART.format(draw.number), rows)


def _engine_here(level: LevelOfTheory, locations: EngineLocations) -> tuple[Engine, MemoryCache]:
    """Return the engine of this process, and the reference energies that it has computed."""
    if level.level_hash not in _ENGINES:
        _ENGINES[level.level_hash] = engine_for(level, locations=locations), MemoryCache()
    return _ENGINES[level.level_hash]


def _gather(out: Path, parts: Path) -> None:
    """Move the rows of all parts into one shard, then remove the parts."""
    files = sorted(parts.glob("part-*.parquet"))
    rows = pa.concat_tables(map(pq.read_table, files)) if files else None
    if rows is not None and rows.num_rows:
        numbers = rows.column("draw").to_pylist()
        write_labels(out / _SHARD.format(min(numbers), max(numbers)), rows.to_pylist())
    for file in files:
        file.unlink()


def label_lines(labels: pa.Table) -> Iterator[str]:
    """Yield lines on what a set of labels covers and how its relaxations ended."""
    table = labels.select(
        ["family", "adsorbate", "energy_ev", "flags", "seconds", "numbers", "site_changed"]
    ).to_pandas()
    good = table[np.isfinite(table["energy_ev"]) & (table["flags"].map(len) == 0)]
    symbols = {chemical_symbols[z] for numbers in good["numbers"] for z in set(numbers)}
    yield (
        f"{len(table)} placements, {len(good)} trainable: {len(symbols)} elements, "
        f"{good['adsorbate'].nunique()} adsorbates, {good['seconds'].mean():.1f} s each"
    )
    for name, group in table.groupby("family"):
        kept = good[good["family"] == name]
        yield (
            f"  {name}: {len(group)} placements, {len(kept)} trainable, "
            f"{kept['site_changed'].mean():.0%} on another site, "
            f"{kept['numbers'].map(len).median():.0f} atoms"
        )
    flags = Counter(flag for found in table["flags"] for flag in found)
    for flag, count in flags.most_common():
        yield f"  flagged {flag}: {count}"
