"""Who touches whom in an adslab: the two rules that configuration texts are written by.

``radii``, CatBERTa's: two atoms closer than the sum of their covalent radii + 0.1 Å are bonded.
On crystals whose neighbours are a little farther apart than that (Au, Zn, Cd, strained Pt) nothing
is, and an adsorbate over a bcc(100) hollow touches only the atom below.

``scaled``: atoms of the slab are bonded up to 1.25 times the slab's own nearest-neighbour distance,
so a uniform strain changes nothing. The limit lies between the shells of metals: fcc and hcp have
12 neighbours (Zn and Cd too, whose two shells of 6 are 1.1 apart; the next is at 1.41 and above)
and bcc has 14 (8, and 6 at 1.155; the next are at 1.63). The distance is that of each element: the
median over its atoms of the distance to the nearest one that counts; of two elements the longer is
taken. Nonmetals have a shell of their own: among metals they neither shorten the metal's nor are
reached by it, and two of them are compared by their covalent radii (O-O in IrO2 is no bond, S-S in
FeS2 is one). Where they are a third of the atoms or more (oxides, sulfides, nitrides) the slab is
a compound, and metal atoms are bonded to nonmetals alone.

An adsorbate atom touches the slab atom that is nearest, counted from the sum of covalent radii,
if at most 0.35 Å farther than that sum, and all that are not much farther than the nearest. More
is allowed to the side than below: an atom down in a hollow touches its corners, also where it rests
on the atom under them; over a bridge it does not touch the next row.

Shapes  N atoms, B bonds (each listed from both ends), A adsorbate atoms, M slab atoms or images.
Units   Å.
"""

from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from model.contract import BondRule
from tasks.errors import UserError
from tasks.structures.contacts import BOND_MARGIN_ANG, Neighbours, neighbours

SHELL_FACTOR = 1.25  # of the nearest-neighbour distance: what belongs to the first shell
_NONMETALS = np.array(
    [atomic_numbers[s] for s in ("H", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "I")]
)
_COMPOUND_SHARE = 1 / 3  # of nonmetals: Cu2O and Mo2C are compounds, Pd with some O is a metal
_FIRST_REACH_ANG = 4.0  # holds the first shell of most metals; else it grows
_FARTHEST_ANG = 12.0  # an atom without a neighbour up to here has none
_REACH_ANG = 0.35  # beyond the sum of radii: what the nearest slab atom may be away
_SLACK_ANG = 0.15  # that others may be farther than the nearest, straight below
_SIDE_SLACK_ANG = 0.7  # and so much more level with the adsorbate atom
_POWER = 8
FARTHEST_CONTACT_ANG = _REACH_ANG + _SLACK_ANG + _SIDE_SLACK_ANG
_PERIODIC = np.array([1, 1, 1], dtype=np.int64)


def slab_neighbours(slab: Atoms, rule: BondRule) -> Neighbours:
    """Return the indices of the bonded neighbours of each atom of a clean slab, in index order.

    A neighbour is listed once for each of its images that is bonded.
    """
    if rule == "radii":
        return neighbours(slab)
    i_B, j_B = shell_bonds(slab.numbers, slab.positions, slab.cell.array)
    borders = np.searchsorted(i_B, np.arange(len(slab) + 1)).tolist()
    return tuple(j_B[start:end] for start, end in pairwise(borders))


def shell_bonds(
    numbers_N: NDArray[np.int64], positions_N3: NDArray[np.float64], cell_33: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ends (i, j) of all bonds of the rule ``scaled``, sorted by i, then j.

    Args:
        numbers_N: Atomic numbers of the atoms of a slab or crystal.
        positions_N3: Their positions in Å.
        cell_33: Lattice vectors as rows, Å; all three directions are periodic.

    Returns:
        Indices of the two atoms of each bond, listed from both ends and once for each image.

    Raises:
        UserError: the cell has no volume.
    """
    if abs(float(np.linalg.det(cell_33))) < 1e-6:
        raise UserError("bonds across cell borders need a cell of three vectors: set one along z")
    is_nonmetal_N = np.isin(numbers_N, _NONMETALS)
    is_compound = bool(is_nonmetal_N.mean() >= _COMPOUND_SHARE)
    radii_N = covalent_radii[numbers_N]
    reach = _FIRST_REACH_ANG
    while True:
        i_B, j_B, distance_B = _pairs(positions_N3, cell_33, reach)
        nonmetals_B = is_nonmetal_N[i_B].astype(int) + is_nonmetal_N[j_B]
        counts_B = (nonmetals_B > 0) if is_compound else (is_nonmetal_N[i_B] | (nonmetals_B == 0))
        shell_N = _shells(numbers_N, i_B[counts_B], distance_B[counts_B])
        needed = SHELL_FACTOR * float(shell_N.max())
        if needed <= reach or reach >= _FARTHEST_ANG:
            break
        reach = min(1.6 * reach if np.isinf(needed) else needed + 1e-6, _FARTHEST_ANG)
    shell_N[np.isinf(shell_N)] = 0.0  # an element without any neighbour has no bonds
    sums_B = radii_N[i_B] + radii_N[j_B]
    ratio_N = _shells(numbers_N, i_B[counts_B], (distance_B / sums_B)[counts_B])
    longer_B = np.maximum(shell_N[i_B], shell_N[j_B])
    own_B = np.where(is_nonmetal_N[i_B], shell_N[i_B], shell_N[j_B])
    metals_B = np.zeros_like(longer_B) if is_compound else longer_B
    mixed_B = longer_B if is_compound else own_B
    ratio_N[np.isinf(ratio_N)] = 0.0
    covalent_B = np.maximum(ratio_N[i_B], ratio_N[j_B]) * sums_B
    bonded_B = distance_B <= SHELL_FACTOR * np.choose(nonmetals_B, [metals_B, mixed_B, covalent_B])
    return i_B[bonded_B], j_B[bonded_B]


def _pairs(
    positions_N3: NDArray[np.float64], cell_33: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return i, j and distance of all pairs of atoms and images within reach, by i, then j."""
    points_N3 = np.ascontiguousarray(positions_N3, dtype=np.float64)
    cell = np.ascontiguousarray(cell_33, dtype=np.float64)
    i_B, j_B, _, distance_B = find_points_in_spheres(
        points_N3, points_N3, reach, _PERIODIC, cell, 1e-8
    )
    order = np.lexsort((j_B, i_B))
    # An atom is its own neighbour at distance zero, never a bond; its images may be.
    order = order[distance_B[order] > 1e-6]
    return i_B[order], j_B[order], distance_B[order]


def _shells(
    numbers_N: NDArray[np.int64], i_B: NDArray[np.int64], length_B: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each atom the median, over the atoms of its element, of the least length."""
    least_N = np.full(len(numbers_N), np.inf)
    np.minimum.at(least_N, i_B, length_B)
    shell_N = np.empty_like(least_N)
    for number in set(numbers_N.tolist()):
        of_element_N = numbers_N == number
        shell_N[of_element_N] = np.median(least_N[of_element_N])
    return shell_N


def touching(
    distance_AM: NDArray[np.float64],
    radii_AM: NDArray[np.float64],
    drop_AM: NDArray[np.float64],
    rule: BondRule,
) -> NDArray[np.bool_]:
    """Return which slab atoms each adsorbate atom touches.

    Args:
        distance_AM: Distances in Å from adsorbate atoms to slab atoms or images of them.
        radii_AM: Sums of their covalent radii in Å.
        drop_AM: How far (Å) each slab atom lies below the adsorbate atom, along the normal.
        rule: ``radii`` or ``scaled``.

    Returns:
        (A, M) True where they touch.
    """
    if rule == "radii":
        # Less by a hair: at the limit itself the last bit of a position would decide.
        return np.asarray(distance_AM < radii_AM + 2.0 * BOND_MARGIN_ANG - 1e-6)
    beyond_AM = distance_AM - radii_AM
    near_M = (beyond_AM <= FARTHEST_CONTACT_ANG).any(axis=0)
    touched_AM = np.zeros(distance_AM.shape, dtype=bool)
    if near_M.any():  # a handful of some hundred images
        down_AM = np.clip(drop_AM[:, near_M] / distance_AM[:, near_M], 0.0, 1.0)
        touched_AM[:, near_M] = _touches_scaled(beyond_AM[:, near_M], down_AM)
    return touched_AM


def _touches_scaled(
    beyond_AM: NDArray[np.float64], down_AM: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return who touches whom, from distances beyond the sum of radii and the cosine downwards.

    ``down_AM`` is 1 straight below the adsorbate atom, 0 level with it or above.
    """
    nearest_A1 = beyond_AM.min(axis=1, keepdims=True)
    close_AM = beyond_AM <= nearest_A1 + _SLACK_ANG
    deepest_A1 = np.where(close_AM, down_AM, 0.0).max(axis=1, keepdims=True)
    # The power leaves the side slack to atoms that rest on another one, down in a hollow.
    slack_AM = _SLACK_ANG + _SIDE_SLACK_ANG * (1.0 - down_AM) ** 2 * deepest_A1**_POWER
    return np.asarray((nearest_A1 <= _REACH_ANG) & (beyond_AM <= nearest_A1 + slack_AM))
