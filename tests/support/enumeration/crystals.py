"""Crystals with random writings of them, and small surfaces with their tags.

Writings differ in cell, origin, orientation, order and noise. Tags are 0 below, 1 on top and 2 for
an adsorbate.
"""

import numpy as np
import spglib
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from ase.spacegroup import crystal
from numpy.random import Generator
from numpy.typing import NDArray

from tasks.enumeration import FormulaSpec, Slab, SlabSpec, enumerate_slabs, resolve_bulks


def _cubic(
    symbols: list[str], basis: list[tuple[float, float, float]], group: int, a: float
) -> Atoms:
    return crystal(symbols, basis, spacegroup=group, cellpar=[a, a, a, 90, 90, 90])


CRYSTALS: dict[str, Atoms] = {
    "copper": bulk("Cu", cubic=True),
    "hcp": bulk("Ru"),
    "rock salt": _cubic(["Ni", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)], 225, 4.17),
    "zincblende": _cubic(["Zn", "S"], [(0, 0, 0), (0.25, 0.25, 0.25)], 216, 5.41),
    "wurtzite": crystal(
        ["Zn", "O"],
        [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.382)],
        spacegroup=186,
        cellpar=[3.25, 3.25, 5.207, 90, 90, 120],
    ),
    "rutile": crystal(
        ["Ti", "O"],
        [(0, 0, 0), (0.305, 0.305, 0)],
        spacegroup=136,
        cellpar=[4.594, 4.594, 2.959, 90, 90, 90],
    ),
    "L1_0": Atoms(
        "Pt2Fe2",
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
        cell=[3.86, 3.86, 3.71],
        pbc=True,
    ),
    "Pnma": crystal(
        ["Sr", "Ru", "O", "O"],
        [(0.02, 0.25, 0.99), (0, 0, 0.5), (0.49, 0.25, 0.06), (0.28, 0.03, 0.72)],
        spacegroup=62,
        cellpar=[5.57, 7.85, 5.53, 90, 90, 90],
    ),
    "P2_1/c": crystal(
        ["Zr", "O", "O"],
        [(0.2754, 0.0395, 0.2083), (0.0700, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)],
        spacegroup=14,
        cellpar=[5.151, 5.212, 5.317, 90, 99.23, 90],
    ),
    "C2/m": crystal(
        ["Ga", "Ga", "O", "O", "O"],
        [
            (0.0904, 0, 0.7948),
            (0.3414, 0, 0.6857),
            (0.1674, 0, 0.1011),
            (0.4957, 0, 0.2553),
            (0.8279, 0, 0.4365),
        ],
        spacegroup=12,
        cellpar=[12.214, 3.0371, 5.7981, 90, 103.83, 90],
    ),
    "quartz": crystal(
        ["Si", "O"],
        [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.4524)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    ),
    "triclinic": Atoms(
        "Cu2VO",
        scaled_positions=[(0.1, 0.2, 0.3), (0.63, 0.55, 0.12), (0.35, 0.8, 0.7), (0.85, 0.15, 0.6)],
        cell=[4.1, 5.3, 6.2, 81, 97, 108],
        pbc=True,
    ),
}


def random_writing(atoms: Atoms, rng: Generator, noise_ang: float = 0.0) -> Atoms:
    """Return a crystal as somebody else may write it.

    Args:
        atoms: The crystal.
        rng: What draws the cell (primitive, as given or doubled, with other vectors), the origin,
            the orientation and the order of the atoms.
        noise_ang: One standard deviation of what each coordinate is off.

    Returns:
        The same crystal, not its mirror image.
    """
    written = [_primitive(atoms), Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)]
    written.append(written[1].repeat(rng.permutation([2, 1, 1])))
    chosen = written[rng.integers(3)]
    cell_33 = _whole_turn(rng) @ chosen.cell.array
    turn_33 = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn_33 *= np.sign(np.linalg.det(turn_33))
    order = rng.permutation(len(chosen))
    positions_N3 = (chosen.positions + rng.random(3) @ cell_33)[order]
    positions_N3 = positions_N3 @ turn_33.T + rng.normal(0, noise_ang, positions_N3.shape)
    other = Atoms(chosen.numbers[order], positions_N3, cell=cell_33 @ turn_33.T, pbc=True)
    other.wrap()
    return other


def _primitive(atoms: Atoms) -> Atoms:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.find_primitive(cell)
    assert found is not None
    cell_33, scaled_N3, numbers_N = found
    return Atoms(numbers_N, scaled_positions=scaled_N3, cell=cell_33, pbc=True)


def _whole_turn(rng: Generator) -> NDArray[np.int64]:
    """Return a random integer matrix of determinant 1: other vectors of the same lattice."""
    turn_33 = np.eye(3, dtype=int)
    for _ in range(rng.integers(4)):
        i, j = rng.choice(3, 2, replace=False)
        turn_33[i] += rng.choice([-1, 1]) * turn_33[j]
    turn_33 = turn_33[rng.permutation(3)] * rng.choice([-1, 1], (3, 1))
    return np.asarray(turn_33 * round(np.linalg.det(turn_33)))


def metal_slab(
    metal: str = "Cu",
    size: tuple[int, int, int] = (2, 2, 3),
    *,
    a: float | None = None,
    vacuum: float = 8.0,
    held: int = 0,
) -> Atoms:
    """Return fcc(111), periodic, whose lowest ``held`` atoms do not move; lengths in Å."""
    slab: Atoms = fcc111(metal, size, a=a, vacuum=vacuum, periodic=True)
    slab.set_tags((slab.get_tags() == 1).astype(int))
    if held:
        slab.set_constraint(FixAtoms(range(held)))
    return slab


def copper_slab(thickness_ang: float = 4.0, in_plane_ang: float = 4.0) -> Slab:
    """Return Cu(111) as enumeration cuts it, at least so thick and wide."""
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
    spec = SlabSpec(
        millers=((1, 1, 1),), min_thickness_ang=thickness_ang, min_in_plane_ang=in_plane_ang
    )
    return enumerate_slabs(copper, spec)[0][0]
