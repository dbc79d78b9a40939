"""Small sources of labels: adslabs of a screening, moved a little, with energies that are invented.

Every source holds the same three adsorption energies, so that what is read can be told.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from support.enumeration.crystals import copper_slab
from tasks.enumeration import (
    PlacedAdslab,
    PlacementSpec,
    Slab,
    adsorbate,
    enumerate_placements,
    surface_sites,
)

SLAB_EV = -50.0
GAS_EV: Mapping[str, float] = {"CO": -14.8, "H2": -6.8, "H2O": -14.2}
ENERGIES_EV: Mapping[str, float] = {"O": -1.5, "H": -0.3, "CO": -0.6}  # of adsorption
# by CO, H2O, H2: O is H2O - H2, H is half of H2
REFERENCES_EV = {"O": -14.2 + 6.8, "H": -3.4, "CO": -14.8}
UP_ANG = 0.05


@cache
def own_slab() -> Slab:
    return copper_slab(6.0, 5.0)


@cache
def placements() -> tuple[PlacedAdslab, ...]:
    """Return one placement of each adsorbate, in the order of their energies."""
    slab = own_slab()
    sites = surface_sites(slab)
    found = (
        enumerate_placements(slab, sites, adsorbate(name), PlacementSpec(seed=1))[0][0]
        for name in ENERGIES_EV
    )
    return tuple(found)


def relaxed(placed: PlacedAdslab, up_ang: float = UP_ANG) -> Atoms:
    """Return where the relaxation of a placement ended: its adsorbate is higher by a little."""
    atoms: Atoms = placed.atoms.copy()
    atoms.positions[atoms.get_tags() == 2] += (0.0, 0.0, up_ang)
    return atoms


def with_energy(atoms: Atoms, energy_ev: float, fmax_ev_ang: float = 0.01) -> Atoms:
    """Return atoms with the results of a calculation."""
    forces_N3 = 0.0 * atoms.positions
    forces_N3[-1, 2] = fmax_ev_ang
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=energy_ev, forces=forces_N3)
    return atoms


def adslabs(*, tagged: bool = True) -> list[Atoms]:
    """Return the relaxed adslabs with total energies; untagged ones as programs write them."""
    found = []
    for placed in placements():
        name = placed.adsorbate
        atoms = relaxed(placed)
        if not tagged:
            atoms.set_tags(0)
        total_ev = ENERGIES_EV[name] + SLAB_EV + REFERENCES_EV[name]
        found.append(with_energy(atoms, total_ev))
    return found


def clean_slab() -> Atoms:
    atoms: Atoms = own_slab().atoms.copy()
    atoms.set_tags(0)
    return with_energy(atoms, SLAB_EV)


def gases() -> list[Atoms]:
    """Return the gas molecules of a level in boxes, with total energies."""
    found = []
    for name, energy_ev in GAS_EV.items():
        atoms = molecule(name)
        atoms.set_cell([9.0, 9.0, 9.0])
        atoms.center()
        found.append(with_energy(atoms, energy_ev))
    return found


def write_extxyz(path: Path, frames: Sequence[Atoms] | None = None) -> Path:
    """Write a trajectory of adslabs, the clean slab and gas molecules, without tags."""
    for atoms in frames or [*adslabs(tagged=False), clean_slab(), *gases()]:
        atoms.info.clear()
        write(path, atoms, append=True, format="extxyz")
    return path


def write_table(path: Path, changed: Mapping[int, Mapping[str, str]] | None = None) -> Path:
    """Write a CSV table of adsorption energies beside its structures; ``changed`` by row."""
    folder = path.parent / "structures"
    folder.mkdir(exist_ok=True)
    rows = []
    for number, atoms in enumerate(adslabs(tagged=False)):
        name = placements()[number].adsorbate
        write(folder / f"{name}.traj", atoms)
        row = {
            "structure": f"structures/{name}.traj",
            "energy_ev": str(ENERGIES_EV[name]),
            "adsorbate": name,
        }
        rows.append(row | dict((changed or {}).get(number, {})))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)
    return path


def write_database(path: Path) -> Path:
    """Write an ASE database of total energies."""
    with connect(path) as rows:
        for atoms in [*adslabs(tagged=False), clean_slab(), *gases()]:
            atoms.info.clear()
            rows.write(atoms)
    return path


def write_outputs(folder: Path) -> Path:
    """Write a folder of outputs, one calculation in each folder, and a file that is none."""
    names = [*ENERGIES_EV, "slab", *GAS_EV]
    for name, atoms in zip(names, [*adslabs(tagged=False), clean_slab(), *gases()], strict=True):
        place = folder / (name if name != "CO" or atoms.cell[0, 0] < 8.9 else "CO-gas")
        place.mkdir(parents=True, exist_ok=True)
        write(place / "relaxation.traj", atoms)
    (folder / "notes.md").write_text("not an output")
    return folder


def write_catalysis_hub(folder: Path) -> Path:
    """Write the folders of Catalysis-Hub, with a transition state and a bulk."""
    functional = folder / "MyPublication2026" / "VASP" / "PBE"
    facet = functional / "Cu_fcc" / "111"
    for name, atoms in zip(GAS_EV, gases(), strict=True):
        _write(functional / "gas" / f"{name}gas.traj", atoms)
    _write(facet / "empty_slab.traj", clean_slab())
    _write(functional / "Cu_fcc" / "bulk.traj", clean_slab())
    for name, atoms in zip(ENERGIES_EV, adslabs(tagged=False), strict=True):
        _write(facet / f"{name}gas_star__{name}star" / "top" / f"{name}star.traj", atoms)
    _write(facet / "COgas_star__COstar" / "TS.traj", adslabs()[2])
    (folder / "MyPublication2026" / "publication.txt").write_text("{}")
    return folder


def _write(path: Path, atoms: Atoms) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, atoms)
