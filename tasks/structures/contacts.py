"""Bonds of slabs and adslabs by covalent radii, and the adsorbate that they single out.

Two atoms are bonded when they are nearer than r_i + r_j, with ASE's natural cutoffs + 0.05 Å for
each atom: the rule behind CatBERTa's configuration texts.

An adslab that comes without tags, such as one read from a CIF, has as its adsorbate a group of
bonded atoms with the given formula; here the looser rule of molecules holds. Where the slab holds
the same elements (an oxide under CO), only a group outside of all other atoms is certain to be it.

Shapes  N atoms, B bonds (each listed from both ends), C candidates: the atoms of the elements in
        the formula.
Units   Å.
"""

from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from tasks.errors import UserError
from tasks.structures.formulas import formula_counts
from tasks.structures.vacuum import heights_over_vacuum

BOND_MARGIN_ANG = 0.05  # for each atom
_MOLECULE_FACTOR = 1.25  # of r_i + r_j: as ``orientation`` bonds the atoms of a molecule
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
    borders = np.searchsorted(i_B, np.arange(len(atoms) + 1)).tolist()
    return tuple(j_B[start:end] for start, end in pairwise(borders))


def coordination(
    numbers_N: NDArray[np.int64],
    positions_N3: NDArray[np.float64],
    cell_33: NDArray[np.float64],
    cutoffs_N: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return how many bonds each atom has under the given cutoffs."""
    i_B, _ = bonds(numbers_N, positions_N3, cell_33, cutoffs_N)
    return np.bincount(i_B, minlength=len(numbers_N))


def find_adsorbate(atoms: Atoms, formula: str) -> tuple[int, ...]:
    """Return which atoms of an adslab are the adsorbate.

    Args:
        atoms: An adslab in a cell of three vectors, positions in Å.
        formula: Of the adsorbate, as in CH3OH.

    Returns:
        The indices of its atoms, in ascending order.

    Raises:
        UserError: no group of bonded atoms has the formula, all atoms belong to it, or several
            groups could be it.
    """
    wanted = formula_counts(formula)
    _require_atoms(atoms, formula, wanted)
    symbols = np.array(atoms.get_chemical_symbols())
    candidates_C = np.flatnonzero(np.isin(symbols, list(wanted)))
    groups = _groups(atoms, candidates_C)
    fitting = [group for group in groups if _counts(symbols[group]) == wanted]
    if not fitting:
        found = ", ".join(sorted(_formula(symbols[group]) for group in groups)[:5])
        raise UserError(
            f"an adsorbate {formula} is one group of bonded atoms; the atoms of its elements make "
            f"{len(groups)}: {found}; where the slab holds them too, give the adsorbate's atoms "
            "tag 2"
        )
    if len(fitting) > 1 or len(candidates_C) > sum(wanted.values()):
        rest_N = np.setdiff1d(np.arange(len(atoms)), np.concatenate(fitting))
        fitting = [group for group in fitting if _is_outermost(atoms, group, rest_N)]
    if len(fitting) != 1:
        raise UserError(
            f"one group of bonded atoms {formula} lies on the slab; {len(fitting) or 'none'} of "
            f"{len(groups)} groups of these elements do: keep one adsorbate, or, where the others "
            "are of the slab, give the adsorbate's atoms tag 2"
        )
    return tuple(fitting[0].tolist())


def _require_atoms(atoms: Atoms, formula: str, wanted: dict[str, int]) -> None:
    there = _counts(np.array(atoms.get_chemical_symbols()))
    missing = [f"{n} {symbol}" for symbol, n in wanted.items() if there.get(symbol, 0) < n]
    if missing:
        raise UserError(
            f"an adslab with {formula} holds at least {', '.join(missing)}; this one is "
            f"{atoms.get_chemical_formula()}"
        )
    if there == wanted:
        raise UserError(f"an adslab has a slab under its adsorbate; this one is {formula} alone")
    if abs(np.linalg.det(atoms.cell.array)) < 1e-6:
        raise UserError("an adslab has a cell of three vectors; this one has none")


def _groups(atoms: Atoms, candidates_C: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the candidates in groups that hang together by bonds, across cell borders too."""
    radii_C = covalent_radii[atoms.numbers[candidates_C]]
    points_C3 = np.ascontiguousarray(atoms.positions[candidates_C], dtype=np.float64)
    reach = 2.0 * _MOLECULE_FACTOR * float(radii_C.max())
    cell_33 = np.ascontiguousarray(atoms.cell.array, dtype=np.float64)
    i_B, j_B, _, distance_B = find_points_in_spheres(
        points_C3, points_C3, reach, _PERIODIC, cell_33, 1e-8
    )
    bonded_B = distance_B < _MOLECULE_FACTOR * (radii_C[i_B] + radii_C[j_B])
    size = len(candidates_C)
    bonds_CC = csr_array((bonded_B[bonded_B], (i_B[bonded_B], j_B[bonded_B])), shape=(size, size))
    count, group_C = connected_components(bonds_CC, directed=False)
    return [candidates_C[group_C == index] for index in range(count)]


def _is_outermost(atoms: Atoms, group: NDArray[np.int64], rest_N: NDArray[np.int64]) -> bool:
    """Return whether a group lies on one side of ``rest_N``, the widest gap being vacuum."""
    if len(rest_N) == 0:
        return False
    height_N = heights_over_vacuum(atoms)
    above = bool(height_N[group].min() > height_N[rest_N].max())
    return above or bool(height_N[group].max() < height_N[rest_N].min())


def _counts(symbols: NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(symbols, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _formula(symbols: NDArray[np.str_]) -> str:
    return str(Atoms(symbols.tolist()).get_chemical_formula())
