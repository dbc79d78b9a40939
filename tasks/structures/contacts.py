"""Who touches whom: bonds of slabs and adslabs by covalent radii.

Two atoms are bonded when they are nearer than r_i + r_j, with ASE's natural cutoffs + 0.05 Å for
each atom: the rule behind CatBERTa's configuration texts.

Shapes  N atoms, B bonds (each listed from both ends).
Units   Å.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from tasks.errors import UserError

BOND_MARGIN_ANG = 0.05  # for each atom
_PERIODIC = np.array([1, 1, 1], dtype=np.int64)

Neighbours = tuple[NDArray[np.int64], ...]


def cutoffs(numbers_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each atom's share of a bond length (Å): its natural cutoff + 0.05."""
    return np.asarray(covalent_radii[numbers_N] + BOND_MARGIN_ANG, dtype=np.float64)


def bonds(
    numbers_N: NDArray[np.int64],
    positions_N3: NDArray[np.float64],
    cell_33: NDArray[np.float64],
    cutoffs_N: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ends (i, j) of all bonds, periodic along three vectors, sorted by i, then j."""
    if abs(np.linalg.det(cell_33)) < 1e-6:
        raise UserError("bonds across cell borders need a cell of three vectors: set one along z")
    radii_N = cutoffs(numbers_N) if cutoffs_N is None else cutoffs_N
    points_N3 = np.ascontiguousarray(positions_N3, dtype=np.float64)
    cell = np.ascontiguousarray(cell_33, dtype=np.float64)
    reach = 2.0 * float(radii_N.max())
    i_B, j_B, _, distance_B = find_points_in_spheres(
        points_N3, points_N3, reach, _PERIODIC, cell, 1e-8
    )
    # An atom is its own neighbour at distance zero, never a bond; its images may be.
    bonded_B = (distance_B < radii_N[i_B] + radii_N[j_B]) & (distance_B > 1e-6)
    i_B, j_B = i_B[bonded_B], j_B[bonded_B]
    order = np.lexsort((j_B, i_B))
    return i_B[order], j_B[order]


def neighbours(atoms: Atoms) -> Neighbours:
    """Return the indices of each atom's bonded neighbours, in index order."""
    i_B, j_B = bonds(atoms.numbers, atoms.positions, atoms.cell.array)
    starts = np.searchsorted(i_B, np.arange(1, len(atoms)))
    return tuple(np.split(j_B, starts))


def coordination(
    numbers_N: NDArray[np.int64],
    positions_N3: NDArray[np.float64],
    cell_33: NDArray[np.float64],
    cutoffs_N: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return how many bonds each atom has under the given cutoffs."""
    i_B, _ = bonds(numbers_N, positions_N3, cell_33, cutoffs_N)
    return np.bincount(i_B, minlength=len(numbers_N))
