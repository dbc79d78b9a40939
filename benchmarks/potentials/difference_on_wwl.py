"""What a learnt difference makes of a potential's energies on published relaxed geometries.

    python -m tasks.training_data.benchmark_tables --data DIR --out TABLES --sets wwl_simple
    python benchmarks/potentials/difference_on_wwl.py --table TABLES/wwl_simple.parquet

Energies of the potential are those that ``published_geometries.py`` keeps, of the geometries as
they are, adslab less its own slab and the gas. Five folds: one is reported, labels are drawn from
the other four. The checkpoint that a campaign would use is trained, sealed, loaded and asked.

Units: eV.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from left_out import FOLDS, folds_left_out
from numpy.typing import NDArray
from published_geometries import AS_PUBLISHED, HERE, read_cache

from model.contract import LevelEnergy
from model.data.rows import Row, read_rows
from model.prediction.difference import Potential
from model.uncertainty.metrics import coverage
from tasks.enumeration import adsorbate
from tasks.levels import LevelOfTheory, level
from tasks.verification.engines import engine_for
from tasks.verification.labels.energies import MemoryCache, gas_energy

KIND = "relaxed"  # the structures that the potential's energies are of
DRAWS = {50: 5, 200: 3}  # of labels in each fold, to be averaged; once where unsaid


def main() -> None:
    """Print a line for each number of labels."""
    parser = argparse.ArgumentParser(description="Differences from a potential on wwl_simple.")
    parser.add_argument("--table", type=Path, required=True, help="of the set wwl_simple")
    parser.add_argument("--level", default="diep-r2scan")
    parser.add_argument("--cache", type=Path, default=HERE / "results" / "diep-r2scan.parquet")
    parser.add_argument("--labels", type=int, nargs="*", default=[50, 200])
    parser.add_argument("--write", type=Path, help="write the potential's energies, and no more")
    given = parser.parse_args()
    theory = level(given.level)
    rows = rows_with_energies(given.table, given.cache, theory)
    print(f"{len(rows):,} rows with energies at {theory.name}")
    if given.write:
        energies = {row.pair: row.energies[0].energy_ev for row in rows}
        pd.Series(energies, name="energy_ev").rename_axis("pair").to_frame().to_parquet(given.write)
        return
    for labels in (*given.labels, None):
        draws = range(DRAWS.get(labels or 0, 1))
        error_R, sigma_R = np.concatenate([left_out(rows, labels, n, theory) for n in draws]).T
        fold_R = np.tile([row.fold for row in rows], len(draws))
        by_fold = [f"{np.abs(error_R[fold_R == fold]).mean():.3f}" for fold in range(FOLDS)]
        print(
            f"{'all' if labels is None else labels:>4} labels: MAE {np.abs(error_R).mean():.3f} eV "
            f"(folds {' '.join(by_fold)}), {(np.abs(error_R) < 0.1).mean():.0%} within 0.1 eV, "
            f"{coverage(error_R, sigma_R):.1%} in 90 % intervals",
            flush=True,
        )


def rows_with_energies(table: Path, cache: Path, theory: LevelOfTheory) -> list[Row]:
    """Return the rows of relaxed structures that the potential has an energy (eV) for."""
    kept = read_cache(cache, theory)
    kept = kept[(kept.way == AS_PUBLISHED) & kept.energy_ev.notna()]
    bound_ev = dict(zip(kept.uid, kept.energy_ev - kept.slab_ev, strict=True))
    rows = [row for row in read_rows(table) if row.kind == KIND and row.pair in bound_ev]
    gas_ev = gas_references({row.adsorbate for row in rows}, theory)
    energies_ev = (bound_ev[row.pair] - gas_ev[row.adsorbate] for row in rows)
    return [
        replace(row, energies=(LevelEnergy(theory.name, theory.level_hash, energy_ev),))
        for row, energy_ev in zip(rows, energies_ev, strict=True)
    ]


def gas_references(names: Iterable[str], theory: LevelOfTheory) -> dict[str, float]:
    """Return the gas references (eV) of adsorbates at the potential's level."""
    engine, cache = engine_for(theory), MemoryCache()
    references = {}
    for species in map(adsorbate, sorted(names)):
        gases = theory.reference.weights(species.name, species.formula)
        energies = {gas: gas_energy(gas, theory, engine, cache).energy_ev for gas in gases}
        references[species.name] = theory.reference.reference_ev(
            species.name, species.formula, energies
        )
    return references


def left_out(
    rows: Sequence[Row], labels: int | None, draw: int, theory: LevelOfTheory
) -> NDArray[np.float64]:
    """Return (R, 2) errors and sigmas in eV, in the order of the rows, each fold by the others.

    Args:
        rows: R rows with the potential's energies.
        labels: How many to learn from, None for all.
        draw: Which draw of labels.
        theory: The potential's level.

    Returns:
        Predicted less published energies, and the sigmas of the predictions.
    """
    found_R2 = np.zeros((len(rows), 2))
    on = [Potential(theory.name, theory.level_hash)]
    for here, _, answers in folds_left_out(rows, labels, draw, on):
        for i, answer in zip(here, answers, strict=True):
            found_R2[i] = answer.energy_ev - rows[i].energy_ev, answer.sigma_ev
    return found_R2


if __name__ == "__main__":
    main()
