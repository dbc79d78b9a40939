"""How fast and how low each optimiser relaxes labels of a set again, from their starts.

    python benchmarks/potentials/optimisers.py benchmarks/labels/diep-r2scan --level diep-r2scan

Prints, for each optimiser with ASE's own steps: steps, CPU seconds, how many did not converge, and
by how much it ends below BFGS (negative) or above it.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.constraints import FixAtoms

from tasks.levels import level as named_level
from tasks.levels.calculation import OPTIMISERS
from tasks.training_data.label_folder import label_files
from tasks.training_data.label_set import read_labels
from tasks.verification.engines import CalculationJob, engine_for
from tasks.verification.relaxation.relax import relax

FOLDER = Path(tempfile.gettempdir())


def main() -> None:
    """Relax a seeded sample of the set's placements with each optimiser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help="a folder that sabatier label wrote")
    parser.add_argument("--level", default="diep-r2scan")
    parser.add_argument("--placements", type=int, default=36)
    given = parser.parse_args()
    level = named_level(given.level)
    engine, settings = engine_for(level), level.require_calculation().relaxation
    table = read_labels(label_files(given.labels)).to_pandas()
    table = table[table["flags"].map(len) == 0].sample(given.placements, random_state=1)
    engine.calculator(CalculationJob(_start(table.iloc[0]), level, FOLDER))  # the model is loaded
    rows = []
    for _, label in table.iterrows():
        start = _start(label)
        for optimiser in OPTIMISERS:
            began = time.process_time()
            calculator = engine.calculator(
                CalculationJob(start, level, Path(tempfile.gettempdir()))
            )
            end = relax(start, calculator, replace(settings, optimiser=optimiser))
            seconds = time.process_time() - began
            rows.append(
                (label["pair"], optimiser, end.steps, seconds, end.converged, end.energy_ev)
            )
    print(_summary(pd.DataFrame(rows, columns=["pair", "by", "steps", "s", "converged", "energy"])))


def _start(label: "pd.Series[float]") -> Atoms:
    atoms = Atoms(
        label["numbers"],
        np.reshape(label["start"], (-1, 3)) / 1000,
        cell=np.reshape(label["cell"], (3, 3)) / 1000,
        pbc=True,
        tags=label["tags"],
    )
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 0))
    return atoms


def _summary(found: pd.DataFrame) -> str:
    energies = found.pivot_table(index="pair", columns="by", values="energy")
    above = energies.sub(energies["BFGS"], axis=0)
    groups = found.groupby("by")
    table = pd.DataFrame(
        {
            "steps": groups["steps"].mean(),
            "CPU s": groups["s"].mean(),
            "not converged": (~found["converged"]).groupby(found["by"]).sum(),
            "above BFGS, eV": above.mean(),
            "over 0.02 eV above": (above > 0.02).sum(),
            "over 0.02 eV below": (above < -0.02).sum(),
        }
    )
    return table.to_string(float_format="%.3f")


if __name__ == "__main__":
    main()
