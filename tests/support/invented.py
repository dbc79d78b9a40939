"""Baseline checkpoints that are trained in seconds on invented energies."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers

from model.data.domain import domain_of
from model.data.rows import Row
from model.training import baseline

METALS = {
    **{"Ag": -0.1, "Al": -0.8, "Au": 0.2, "Co": -0.6, "Cu": -0.3, "Ir": -0.7, "Ni": -0.6},
    **{"Pd": -0.5, "Pt": -0.7, "Rh": -0.6, "Ru": -0.7},
}
EMT = {
    **{"H": ("H", -0.2), "O": ("O", -1.0), "OH": ("O", -0.6), "CO": ("C", -0.9)},
    "N": ("N", -0.4),
}
CARBON = {"C": ("C", 1.9), "CH": ("C", 1.2), "CH2": ("C", 1.0), "CH3": ("C", 0.6)}
BINDING = {"emt": EMT, "beef-vdw-ch4": EMT | CARBON}  # level -> adsorbate -> atom, energy (eV)
SITES = {"atop": 1, "bridge": 2, "hollow": 3}


def train_invented(folder: Path, metals: Collection[str] = tuple(METALS), *, seed: int) -> Path:
    """Train the baseline into ``folder``; another seed makes one that predicts otherwise."""
    cases = [
        (v, a, m, k) for v in sorted(BINDING) for a in BINDING[v] for m in metals for k in SITES
    ]
    rows = [invented_row(number, *case) for number, case in enumerate(cases)]
    alloys = [replace(row, text=row.text.replace("Cu (", "Cu3Ag (")) for row in rows]
    quick = {"n_estimators": 60, "learning_rate": 0.2, "num_threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline, "_PARAMETERS", baseline._PARAMETERS | quick)
        baseline.train_baseline(rows, rows[::3], domain_of([*rows, *alloys]), folder, seed=seed)
    return folder


def invented_row(number: int, level: str, adsorbate: str, metal: str, kind: str) -> Row:
    """Return a labelled row whose energy follows from adsorbate, metal and site alone."""
    atom, binding_ev = BINDING[level][adsorbate]
    contacts = " ".join([metal] * SITES[kind])
    around = " ".join([f"[{metal} {metal} {metal} {atom}]"] * SITES[kind])
    numbers = [atomic_numbers[metal]] * 4 + Atoms(adsorbate).numbers.tolist()
    return Row(
        uid=str(number),
        pair=str(number),
        set="synthetic",
        level=level,
        adsorbate=adsorbate,
        text=f"{adsorbate}</s>{metal} (1 1 1)</s>[{atom} {contacts} {kind} {around}]",
        kind="unrelaxed",
        fold=number % 5,
        energy_ev=binding_ev + METALS[metal] - 0.05 * SITES[kind],
        numbers_N=np.array(numbers),
        positions_N3=np.zeros((len(numbers), 3)),
        cell_33=np.eye(3) * 10,
        tags_N=np.array([0] * 4 + [2] * (len(numbers) - 4)),
    )
