"""Count slabs and sites beside pymatgen's, and search for equivalent and missing ones.

    PYTHONPATH=.:tests python benchmarks/enumeration/beside_pymatgen.py

Metals, alloys and compounds, Miller index up to ``--max-miller``. The search is independent of how
slabs and sites are found: faces and sites are told by distances between atoms. Prints a line for
each crystal: slabs and sites of ours and of pymatgen's, pairs of ours that are equivalent, faces of
pymatgen's cuts that are missed, and sites of pymatgen's that are farther than 0.8 Å from ours: all,
and those from which a carbon atom slides to no site of ours.
"""

import argparse

import numpy as np
from ase import Atoms
from ase.build import bulk as ase_bulk
from ase.spacegroup import crystal
from numpy.typing import NDArray
from support.enumeration.beside_pymatgen import sites_of, terminations
from support.enumeration.crystals import CRYSTALS

from tasks.enumeration import Bulk, FormulaSpec, SlabSpec, enumerate_slabs, resolve_bulks
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.enumeration.lattice_planes import distinct_millers, find_symmetry

METALS = ("Cu", "Al", "Fe", "Ru", "Zn", "Ti", "Co")
ALLOYS = (("Cu3Pt", "L1_2"), ("NiAl", "B2"), ("TiAl", "L1_0"))
COMPOUNDS: dict[str, Atoms] = {
    "rutile": CRYSTALS["rutile"],
    "rock salt": CRYSTALS["rock salt"],
    "zincblende": CRYSTALS["zincblende"],
    "wurtzite": CRYSTALS["wurtzite"],
    "CeO2": ase_bulk("CeO2", "fluorite", a=5.411, cubic=True),
    "SrTiO3": crystal(
        ["Sr", "Ti", "O"],
        [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
        spacegroup=221,
        cellpar=[3.905, 3.905, 3.905, 90, 90, 90],
    ),
    "anatase": crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0, 0, 0.208)],
        spacegroup=141,
        cellpar=[3.785, 3.785, 9.514, 90, 90, 90],
    ),
    "FeS2": crystal(
        ["Fe", "S"],
        [(0, 0, 0), (0.385, 0.385, 0.385)],
        spacegroup=205,
        cellpar=[5.418, 5.418, 5.418, 90, 90, 90],
    ),
    "MoS2": crystal(
        ["Mo", "S"],
        [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)],
        spacegroup=194,
        cellpar=[3.16, 3.16, 12.3, 90, 90, 120],
    ),
}


def bulks() -> dict[str, Bulk]:
    """Return the crystals by name."""
    specs = [FormulaSpec(metal) for metal in METALS] + [FormulaSpec(*each) for each in ALLOYS]
    named = {bulk.formula: bulk for bulk in resolve_bulks(specs)[0]}
    return named | {name: bulk_from_atoms(atoms, name) for name, atoms in COMPOUNDS.items()}


def main() -> None:
    """Print a line for each crystal and the sums."""
    parser = argparse.ArgumentParser(description="Slabs and sites beside pymatgen's.")
    parser.add_argument("--max-miller", type=int, default=1)
    stated = parser.parse_args()
    total = np.zeros(9, dtype=np.int64)
    for name, bulk in bulks().items():
        counts = counted(bulk, stated.max_miller)
        total += counts
        print(line(name, counts), flush=True)
    print(line("all", total))


def counted(bulk: Bulk, max_miller: int) -> NDArray[np.int64]:
    """Return the nine counts of one crystal."""
    cut_tolerance_ang = SlabSpec().cut_tolerance_ang
    slabs = [
        (found.ours, found.pymatgen, found.equivalent, found.missed)
        for miller in distinct_millers(find_symmetry(bulk.atoms), max_miller)
        for found in [terminations(bulk, miller, cut_tolerance_ang)]
    ]
    sites = [
        (sum(found.ours), sum(found.pymatgen), found.equivalent, found.far, found.missed)
        for slab in enumerate_slabs(bulk, SlabSpec(max_miller=max_miller, max_atoms=400))[0]
        for found in [sites_of(slab)]
    ]
    return np.concatenate([np.sum(slabs, axis=0), np.sum(sites, axis=0)])


def line(name: str, counts: NDArray[np.int64]) -> str:
    """Return the counts in words."""
    ours, theirs, same, missed, own_sites, their_sites, same_sites, far, missed_sites = counts
    return (
        f"{name:10} slabs {ours:3} pymatgen {theirs:3} equivalent {same} missed {missed}; "
        f"sites {own_sites:4} pymatgen {their_sites:4} equivalent {same_sites} far {far} "
        f"missed {missed_sites}"
    )


if __name__ == "__main__":
    main()
