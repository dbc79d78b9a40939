"""Write twelve crystals in many ways, with noise, and count the ids that they are given.

    PYTHONPATH=.:tests python benchmarks/enumeration/writings.py --writings 1000 --noise 0.005

Each crystal has one id where all is well. Cells (primitive, as given, doubled, with other vectors),
origins, orientations and orders of atoms are drawn by a seed; each coordinate is off by a normal
number of Å. Prints, for each crystal, the ids, the forms before crystals are compared, the furthest
that symmetrisation moved an atom, and milliseconds of CPU a writing.
"""

import argparse
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
from ase import Atoms
from ase.io import write
from support.enumeration.crystals import CRYSTALS, random_writing

from tasks.enumeration import FileSpec, resolve_bulks
from tasks.enumeration.bulks import Bulk, bulk_from_atoms


def main() -> None:
    """Read the counts and print a line for each crystal."""
    parser = argparse.ArgumentParser(description="Count the ids of random writings.")
    parser.add_argument("--writings", type=int, default=100, help="of each crystal")
    parser.add_argument("--noise", type=float, default=0.005, help="of each coordinate, Å")
    parser.add_argument("--seed", type=int, default=0)
    stated = parser.parse_args()
    for name in CRYSTALS:
        print(counted(name, stated.writings, stated.noise, stated.seed), flush=True)


def counted(name: str, writings: int, noise_ang: float, seed: int) -> str:
    """Return a line with the ids of random writings of one crystal."""
    rng = np.random.default_rng(seed)
    written = [random_writing(CRYSTALS[name], rng, noise_ang) for _ in range(writings)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "writings.extxyz"
        write(file, written)
        start = process_time()
        bulks, refused = resolve_bulks([FileSpec(str(file))])
        spent_ms = (process_time() - start) * 1e3 / writings
    others = [item for item in refused if "the same crystal" not in item.reason]
    forms = sum(1 + len(bulk.other_ids) for bulk in bulks)
    return (
        f"{name:12} {len(bulks)} ids, {len(others)} refused, {forms} forms, moved by up to "
        f"{furthest(written[:20]):.3f} Å, {spent_ms:.0f} ms each"
    )


def furthest(written: list[Atoms]) -> float:
    """Return the furthest that symmetrisation moves an atom of some writings (Å)."""
    bulks: list[Bulk] = [bulk_from_atoms(atoms, "") for atoms in written]
    return max(bulk.symmetry.displacement_ang for bulk in bulks if bulk.symmetry)


if __name__ == "__main__":
    main()
