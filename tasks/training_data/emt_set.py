"""Make the EMT training set: our own placements, relaxed by our own verification code.

    python -m tasks.training_data.emt_set --out DIR --n 4000 --processes 2

One part file is written for each slab, whole or not at all, so a stopped run goes on where it was.
EMT has no chemistry for H, C, N and O: the set exists so that the whole loop of screening,
verification and training can be run on a laptop, under a level of theory of its own.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from model.data.rows import TABLE_SCHEMA
from model.errors import SabatierError
from model.files import lock_folder
from model.processes import map_in_processes
from tasks.enumeration import (
    Bulk,
    BulkSpec,
    FormulaSpec,
    Miller,
    PlacedAdslab,
    PlacementSpec,
    Slab,
    SlabSpec,
    SurfaceSites,
    adsorbate,
    alloy_specs,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.structures.identity import seed_from
from tasks.training_data.table import Label, TrainingRow, training_row, write_table
from tasks.verification.engines import EngineError
from tasks.verification.labels.energies import MemoryCache
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab

logger = logging.getLogger(__name__)

METALS = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
# EMT's toy H leaves C, N and O for the metal: OH, NH, CHO, CH3, H2O and the like dissociate in
# every relaxation and give no label, so the set holds species that stay whole.
ADSORBATES = (
    *("H", "C", "N", "O", "CH", "CO", "CN", "NO", "C2", "N2"),
    *("CCH", "CCO", "CO2", "NNO", "NO2"),
)
_STEPPED: Miller = (2, 1, 1)
_IN_PLANE_ANG = (5.5, 8.0)  # small cells are fast, the wide ones are those of a default screening
_THICKNESS_ANG = (5.0, 7.0)
_WIDE_SHARE = 0.15  # of the alloys that get wide cells
_PURE_WEIGHT = 6  # a slab of a pure metal gets this many times the placements of an alloy's
_FOLDS = 5

# What each relaxation was like, flagged or not, beside the rows that training reads.
OUTCOMES = pa.schema(
    [
        ("pair", pa.string()),
        ("adsorbate", pa.string()),
        ("bulk", pa.string()),
        ("energy_ev", pa.float64()),
        ("converged", pa.bool_()),
        ("flags", pa.list_(pa.string())),
        ("site_changed", pa.bool_()),
        ("steps", pa.int32()),
        ("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class EmtOutcome:
    """How one relaxation ended."""

    pair: str
    adsorbate: str
    bulk: str
    energy_ev: float
    converged: bool
    flags: tuple[str, ...]
    site_changed: bool
    steps: int
    seconds: float


@dataclass(frozen=True)
class SlabJob:
    """One slab and how many placements of each adsorbate to relax on it."""

    slab: Slab
    counts: tuple[tuple[str, int], ...]


def emt_bulks() -> list[Bulk]:
    """Return the pure EMT metals and their A3B (L1_2) and AB (L1_0) alloys."""
    specs: list[BulkSpec] = [FormulaSpec(symbol) for symbol in METALS]
    bulks, refused = resolve_bulks(specs + alloy_specs(METALS, ("L1_2", "L1_0")))
    if refused:
        raise UserError(f"bulk {refused[0].item} cannot be made: {refused[0].reason}")
    return bulks


def plan_emt_set(n: int, seed: int) -> list[SlabJob]:
    """Return jobs that make ``n`` placements or a little more, balanced over the adsorbates.

    Which adsorbates each slab gets follows from the seed and the slab's id alone. Jobs are in the
    order of slab ids, which is no order: a part of the set is balanced too.
    """
    if n < 1:
        raise UserError(f"the set needs at least 1 placement, got {n}")
    slabs = [slab for bulk in emt_bulks() for slab in _slabs(bulk, seed)]
    slabs.sort(key=lambda slab: slab.slab_id)
    weights = np.array([_PURE_WEIGHT if _is_pure(slab) else 1 for slab in slabs], dtype=float)
    shares = n * weights / weights.sum()
    return [
        SlabJob(slab, _counts(slab, share, seed))
        for slab, share in zip(slabs, shares.tolist(), strict=True)
    ]


def relax_slab(job: SlabJob, *, seed: int) -> tuple[list[TrainingRow], list[EmtOutcome]]:
    """Relax the placements of one slab with EMT.

    Args:
        job: A slab and its numbers of placements by adsorbate.
        seed: Of the draw of placements.

    Returns:
        Training rows (eV) of the relaxations that passed every check, and the outcomes of all.
    """
    theory, cache, sites = level("emt"), MemoryCache(), surface_sites(job.slab)
    rows: list[TrainingRow] = []
    outcomes: list[EmtOutcome] = []
    for name, count in job.counts:
        for adslab in _sampled(job.slab, sites, name, count, seed):
            started = time.perf_counter()
            try:
                verified = verify_adslab(
                    adslab.atoms, job.slab.atoms, adsorbate(name), theory, cache
                )
            except EngineError as error:
                outcomes.append(_failed(adslab, job.slab, error))
                continue
            outcomes.append(_outcome(adslab, job.slab, verified, time.perf_counter() - started))
            if verified.trainable:
                label = _label(adslab, job.slab, theory, verified.energy_ev)
                rows.append(training_row(label, "unrelaxed", adslab.atoms))
                rows.append(training_row(label, "relaxed", verified.atoms))
    return rows, outcomes


def write_part(job: SlabJob, *, out: Path, seed: int) -> Path:
    """Relax one slab's placements and write its part, unless it is there; return its path.

    The outcomes are written first: a part that exists has them.
    """
    part = out / f"part-{job.slab.slab_id[:20]}.parquet"
    if not part.exists():
        rows, outcomes = relax_slab(job, seed=seed)
        ended = pa.Table.from_pylist([asdict(item) for item in outcomes], schema=OUTCOMES)
        write_table(out / f"outcomes-{job.slab.slab_id[:20]}.parquet", ended)
        write_table(part, pa.Table.from_pylist([asdict(row) for row in rows], schema=TABLE_SCHEMA))
    return part


def relax_all(jobs: Sequence[SlabJob], *, out: Path, seed: int, processes: int) -> Iterator[Path]:
    """Write the parts of all jobs, yielding each one's path as it is done."""
    if processes < 1:
        raise UserError(f"processes is at least 1, got {processes}")
    work = partial(write_part, out=out, seed=seed)
    if processes == 1:
        yield from map(work, jobs)
        return
    yield from map_in_processes(work, jobs, processes=processes, work="the EMT set")


def outcome_lines(out: Path) -> list[str]:
    """Return lines on how the relaxations of a folder ended."""
    parts = sorted(out.glob("outcomes-*.parquet"))
    table = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    flags = Counter(flag for flags in table["flags"] for flag in flags)
    clean = table[table["converged"] & (table["flags"].map(len) == 0)]
    lines = [
        f"{len(table)} relaxations, {len(clean)} trainable, {(~table['converged']).sum()} not "
        f"converged, {int(clean['site_changed'].sum())} trainable ones ended on another site",
        f"{table['seconds'].mean():.2f} s and {table['steps'].mean():.0f} steps each",
    ]
    lines += [f"  flagged {name}: {count}" for name, count in flags.most_common()]
    for name, group in clean.groupby("adsorbate"):
        e = group["energy_ev"]
        lines.append(
            f"  {name:>4} {len(group):5d}  mean {e.mean():6.2f}  std {e.std():5.2f}  "
            f"range {e.min():6.2f} to {e.max():6.2f} eV"
        )
    return lines


def _slabs(bulk: Bulk, seed: int) -> list[Slab]:
    pure = len(set(bulk.atoms.numbers.tolist())) == 1
    rng = np.random.default_rng(seed_from("emt cell", bulk.bulk_id, seed))
    specs = [_spec(rng, None)]
    if pure:  # both cells, and the stepped surface
        specs = [_sized(width, None) for width in _IN_PLANE_ANG]
        specs += [_sized(_IN_PLANE_ANG[0], (_STEPPED,))]
    return [slab for spec in specs for slab in enumerate_slabs(bulk, spec)[0]]


def _spec(rng: np.random.Generator, millers: tuple[Miller, ...] | None) -> SlabSpec:
    return _sized(_IN_PLANE_ANG[int(rng.random() < _WIDE_SHARE)], millers)


def _sized(width_ang: float, millers: tuple[Miller, ...] | None) -> SlabSpec:
    thickness = _THICKNESS_ANG[_IN_PLANE_ANG.index(width_ang)]
    return SlabSpec(
        max_miller=1, millers=millers, min_thickness_ang=thickness, min_in_plane_ang=width_ang
    )


def _is_pure(slab: Slab) -> bool:
    return len(set(slab.atoms.numbers.tolist())) == 1


def _counts(slab: Slab, share: float, seed: int) -> tuple[tuple[str, int], ...]:
    """Return how many placements of which adsorbates: all equally, the rest at random."""
    rng = np.random.default_rng(seed_from("emt adsorbates", slab.slab_id, seed))
    total = int(share) + int(rng.random() < share % 1.0)
    counts = np.full(len(ADSORBATES), total // len(ADSORBATES))
    counts[rng.permutation(len(ADSORBATES))[: total % len(ADSORBATES)]] += 1
    pairs = zip(ADSORBATES, counts.tolist(), strict=True)
    return tuple((name, count) for name, count in pairs if count)


def _sampled(
    slab: Slab, sites: SurfaceSites, name: str, count: int, seed: int
) -> list[PlacedAdslab]:
    """Return ``count`` placements of one pair at random, or all where there are fewer."""
    adslabs, _ = enumerate_placements(slab, sites, adsorbate(name), PlacementSpec(seed=seed))
    rng = np.random.default_rng(seed_from("emt placements", slab.slab_id, name, seed))
    return [adslabs[index] for index in sorted(rng.permutation(len(adslabs))[:count])]


def _label(adslab: PlacedAdslab, slab: Slab, theory: LevelOfTheory, energy_ev: float) -> Label:
    return Label(
        pair=adslab.candidate_id,
        group=slab.bulk_formula,
        set="emt",
        level=theory.name,
        adsorbate=adslab.adsorbate,
        bulk=slab.bulk_formula,
        miller=slab.miller,
        fold=int(slab.slab_id[:8], 16) % _FOLDS,
        energy_ev=energy_ev,
    )


def _outcome(
    adslab: PlacedAdslab, slab: Slab, verified: VerifiedEnergy, seconds: float
) -> EmtOutcome:
    return EmtOutcome(
        pair=adslab.candidate_id,
        adsorbate=adslab.adsorbate,
        bulk=slab.bulk_formula,
        energy_ev=verified.energy_ev,
        converged=verified.converged,
        flags=tuple(flag.name for flag in verified.flags),
        site_changed=verified.site_changed,
        steps=verified.steps,
        seconds=seconds,
    )


def _failed(adslab: PlacedAdslab, slab: Slab, error: EngineError) -> EmtOutcome:
    return EmtOutcome(
        pair=adslab.candidate_id,
        adsorbate=adslab.adsorbate,
        bulk=slab.bulk_formula,
        energy_ev=float("nan"),
        converged=False,
        flags=(f"engine_{error.kind}",),
        site_changed=False,
        steps=0,
        seconds=0.0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the set and log a summary."""
    parser = argparse.ArgumentParser(description="Make the EMT training set.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the part files")
    parser.add_argument("--n", type=int, default=4000, help="placements to relax")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    try:
        jobs = plan_emt_set(options.n, options.seed)
        with lock_folder(options.out, "the EMT set"):
            parts = relax_all(jobs, out=options.out, seed=options.seed, processes=options.processes)
            for done, _ in enumerate(parts, 1):
                if done % 20 == 0 or done == len(jobs):
                    logger.info("%d of %d slabs", done, len(jobs))
        logger.info("\n".join(outcome_lines(options.out)))
    except SabatierError as error:
        parser.exit(2, f"sabatier: {error}\n")


if __name__ == "__main__":
    main()
