"""What a learnt difference makes of published energies of universal potentials.

    python benchmarks/potentials/difference_on_mamun.py --data DIR [--potentials NAME ...]

Of the 45,000 adsorption energies of Mamun et al. 2019 (Sci. Data 6, 76) the lowest of each pair
(surface, adsorbate), beside the lowest that published potentials relaxed there to; rows whose
relaxation was flagged as anomalous for a potential in use are left out. Five folds by surface: one
is reported, labels are drawn from the other four. Clean slabs are those of the set ``alloy_gmae``.
The checkpoint that a campaign would use is trained, sealed, loaded and asked; beside it stands the
error of its offsets alone.

Units: eV.
"""

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from left_out import folds_left_out
from numpy.typing import NDArray

from model.contract import LevelEnergy
from model.data.rows import Row, read_rows
from model.prediction.difference import Potential
from model.uncertainty.metrics import coverage
from tasks.training_data.benchmark_tables import benchmark_tables

LEVEL = "beef-vdw-gmae"
POTENTIALS = ("sevennet-matpes_pbe", "sevennet-oc20", "uma-oc20")  # trained without +U
HASH = "published"  # its weights are not at hand
DRAWS = {50: 3, 200: 2}  # of labels in each fold, to be averaged; once where unsaid


def pairs_with_energies(data: Path, potentials: Sequence[str]) -> list[Row]:
    """Return one row for each pair that has a clean slab: its label and the potentials' energies.

    Args:
        data: The folder of the published sets.
        potentials: Their names in the table.

    Returns:
        Rows with energies in eV.
    """
    sites = pd.read_parquet(data / "mamun_reactions.parquet")
    normal = np.all([sites[f"cl_{name}"] == "normal" for name in potentials], axis=0)
    columns = ["e_ads", *(f"ml_{name}" for name in potentials)]
    lowest = sites[normal].groupby(["surface", "adsorbate"])[columns].min()
    folds = sites.groupby("surface")["fold"].first()
    rows = []
    slabs = {row.group: row for row in _slabs(data)}
    for key, values in lowest.iterrows():
        surface, adsorbate = map(str, key)  # type: ignore[call-overload]
        slab = slabs.get(surface)
        if slab is None:
            continue
        energies = (LevelEnergy(name, HASH, float(values[f"ml_{name}"])) for name in potentials)
        rows.append(
            replace(
                slab,
                uid=f"{surface} {adsorbate}",
                pair=f"{surface} {adsorbate}",
                adsorbate=adsorbate,
                text=f"{adsorbate}</s>{slab.text.partition('</s>')[2]}",
                fold=int(folds[surface]),
                energy_ev=float(values["e_ads"]),
                energies=tuple(energies),
            )
        )
    return rows


def _slabs(data: Path) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        list(benchmark_tables(data, ["alloy_gmae"], Path(folder)))
        return read_rows(Path(folder) / "alloy_gmae.parquet")


def left_out(rows: Sequence[Row], labels: int | None, draw: int) -> NDArray[np.float64]:
    """Return (R, 3) errors, sigmas and errors of the offsets alone, each fold by the others.

    Args:
        rows: R pairs.
        labels: How many to learn from, None for all.
        draw: Which draw of labels.

    Returns:
        Errors and sigmas in eV, in the order of the rows.
    """
    found_R3 = np.zeros((len(rows), 3))
    on = [Potential(each.level, HASH) for each in rows[0].energies]
    for here, predictor, answers in folds_left_out(rows, labels, draw, on):
        offset_R = predictor.models[LEVEL].offsets.of([rows[i].adsorbate for i in here])
        for i, answer, offset_ev in zip(here, answers, offset_R.tolist(), strict=True):
            label_ev = rows[i].energy_ev
            mean_ev = float(np.mean([each.energy_ev for each in rows[i].energies]))
            error_ev = answer.energy_ev - label_ev
            found_R3[i] = error_ev, answer.sigma_ev, mean_ev + offset_ev - label_ev
    return found_R3


def report(data: Path, potentials: Sequence[str], counts: Iterable[int | None]) -> None:
    """Print a line for each number of labels."""
    rows = pairs_with_energies(data, potentials)
    surfaces = len({row.group for row in rows})
    print(f"{' + '.join(potentials)}: {len(rows):,} pairs on {surfaces:,} surfaces")
    for labels in counts:
        draws = range(DRAWS.get(labels or 0, 1))
        found_R3 = np.concatenate([left_out(rows, labels, draw) for draw in draws])
        error_R, sigma_R, offset_R = found_R3.T
        print(
            f"{'all' if labels is None else f'{labels:,}':>6} labels: "
            f"{np.abs(error_R).mean():.3f} eV, {(np.abs(error_R) < 0.1).mean():.0%} within 0.1 eV, "
            f"{coverage(error_R, sigma_R):.1%} in 90 % intervals, "
            f"offsets alone {np.abs(offset_R).mean():.3f} eV, "
            f"{(np.abs(offset_R) < 0.1).mean():.0%}",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Boosting of the difference on Mamun's pairs.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--potentials", nargs="+", default=POTENTIALS, help="names in the table")
    given = parser.parse_args()
    report(given.data, given.potentials, (50, 200, 1000, None))


if __name__ == "__main__":
    main()
