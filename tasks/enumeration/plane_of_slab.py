"""Find which lattice plane a slab shows, from the slab alone.

Atoms that in-plane translations make equal are averaged to one column of atoms; the vector that
climbs from one period of the column to the next completes the lattice of the crystal below the
surface. spglib names its symmetry and the standard axes, in which the plane has its Miller index.
A slab too thin for that, or too far relaxed, is compared with the ideal crystal of its element.

An index is read in the axes that fit the crystal: standard ones, and of tetragonal and orthorhombic
crystals any other choice in use, since nobody can tell which one was meant.

Shapes  N atoms of the slab, K atoms of the column, S rotations.
Units   Å.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from tasks.enumeration.lattice_planes import (
    Crystal,
    distinct_millers,
    find_symmetry,
    plane_basis,
    plane_spacing,
    primitive_miller,
)
from tasks.enumeration.miller import Miller, reduced_miller
from tasks.enumeration.prototypes import crystal, ground_state
from tasks.errors import UserError
from tasks.structures.standard_frame import in_plane_vectors

_SAME_ANG = 0.5  # an atom this near a translated one is its image: relaxed and rattled surfaces
_MATCHED = 0.75  # of the atoms have an image: adatoms and steps have none
_LEAST_CLIMB_ANG = 0.4
_RUMPLED_ANG = 0.2  # an atom may lie so much above its ideal height
_SYMPRECS_ANG = (0.05, 0.1, 0.2, 0.3)  # the highest symmetry among these is the crystal's
_SCALE = (0.9, 1.1)  # of a slab's lattice constant over that of its element
_STRETCH = 0.04  # of an in-plane vector, after that scale
_SPACING = 0.25  # of the plane spacing
_SEEN_OVER_ANG = 1.0  # a climb from one layer alone may be that of a relaxed surface
_ORTHORHOMBIC, _TETRAGONAL, _TRIGONAL = 16, 75, 143  # the first space group of each
_LEAST_ROTATIONS = 8  # noise leaves fewer; the crystals that truly have fewer are not told
_UNFEIGNED_ROTATIONS = 24  # of 6/mmm; a stretch leaves 16 of a cube's 48
# From a body-centred cell to the face-centred one, four atoms of a cube that was stretched.
_CUBE_33 = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], dtype=np.int64)
_RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
_HIGHEST_MILLER = 3  # of the planes of an element that a thin slab is compared with


@dataclass(frozen=True)
class PlaneFit:
    """The Miller index of a slab's plane in one choice of axes, and the rotations in those axes."""

    miller: Miller
    rotations_S33: NDArray[np.int64]
    crystal: str

    def holds(self, miller: Miller) -> bool:
        """Return whether symmetry makes ``miller`` the plane of this slab."""
        return reduced_miller(miller) in self._images()

    def preferred(self) -> Miller:
        """Return the index that an enumeration gives this plane: few and late minus signs."""
        return min(self._images(), key=_rank)

    @property
    def is_hexagonal(self) -> bool:
        """Return whether the axes are hexagonal, so that four indices can be counted by them."""
        sixfold_33 = np.array([[0, -1, 0], [1, -1, 0], [0, 0, 1]])  # a turn by 120 degrees
        both = (sixfold_33, sixfold_33.T)
        return any((self.rotations_S33 == each).all(axis=(1, 2)).any() for each in both)

    def _images(self) -> set[Miller]:
        images_S3 = np.array(self.miller) @ self.rotations_S33
        return {(h, k, l) for h, k, l in np.vstack([images_S3, -images_S3]).tolist()}  # noqa: E741


@dataclass(frozen=True)
class _Column:
    """The atoms of a slab that in-plane translations leave distinct; ``plane_22`` spans those."""

    numbers_K: NDArray[np.int64]
    positions_K3: NDArray[np.float64]
    plane_22: NDArray[np.float64]

    @property
    def cell_33(self) -> NDArray[np.float64]:
        """Return a cell of the column's plane, as ``in_plane_vectors`` takes it."""
        cell_33 = np.eye(3)
        cell_33[:2, :2] = self.plane_22
        return cell_33


def plane_fits(slab: Atoms) -> list[PlaneFit]:
    """Return the index of a slab's plane in each choice of axes that fits.

    Args:
        slab: A clean slab with c along z, positions in Å.

    Returns:
        The fits, those that tell elements apart first; none where the plane cannot be told
        (amorphous, reconstructed, monoclinic or triclinic crystals, alloys of two layers).
    """
    fits: list[PlaneFit] = []
    plain = np.full(len(slab), 1)
    for numbers_N in (slab.numbers, plain):
        column = _column(numbers_N, slab.positions, slab.cell.array)
        if column is None:
            continue
        fits += _fits_of_interior(column)
        if len(set(slab.numbers.tolist())) == 1:
            ideal = _fits_of_element(column, slab.get_chemical_symbols()[0])
            return fits if _is_cubic_or_hexagonal(fits) else ideal + fits
    return fits


def _is_cubic_or_hexagonal(fits: list[PlaneFit]) -> bool:
    """Return whether a crystal was found that no stretch of a thin slab can feign."""
    return any(len(np.unique(fit.rotations_S33, axis=0)) >= _UNFEIGNED_ROTATIONS for fit in fits)


def _column(
    numbers_N: NDArray[np.int64], positions_N3: NDArray[np.float64], cell_33: NDArray[np.float64]
) -> _Column | None:
    """Return the atoms averaged over all in-plane translations, or None where these disagree."""
    height_N = positions_N3[:, 2]
    middle = 0.5 * (height_N.min() + height_N.max())
    counts = np.bincount(numbers_N)
    rarest = np.flatnonzero(counts[numbers_N] == counts[counts > 0].min())
    start = rarest[int(np.argmin(np.abs(height_N[rarest] - middle)))]
    steps_T2, owners_TN = [], []
    for end in np.flatnonzero(numbers_N == numbers_N[start]):
        step_3 = positions_N3[end] - positions_N3[start]
        if abs(step_3[2]) > _SAME_ANG:
            continue
        step_3[2] = 0.0
        owner_N, near_N = _images_of(numbers_N, positions_N3 + step_3, positions_N3, cell_33)
        if near_N.mean() >= _MATCHED:
            steps_T2.append(step_3[:2])
            owners_TN.append(np.where(near_N, owner_N, -1))
    plane_22 = _primitive_plane(np.array(steps_T2), cell_33[:2, :2])
    if plane_22 is None:
        return None
    numbers, means = [], []
    taken_N = np.zeros(len(numbers_N), dtype=bool)
    for atom in np.argsort(height_N, kind="stable").tolist():
        if taken_N[atom]:
            continue
        group = sorted({owner_N[atom] for owner_N in owners_TN if owner_N[atom] >= 0} | {atom})
        taken_N[group] = True
        if 2 * len(group) > len(steps_T2):  # fewer are an adatom or a defect
            vectors_G3 = _folded(positions_N3[group] - positions_N3[atom], plane_22)
            numbers.append(int(numbers_N[atom]))
            means.append(positions_N3[atom] + np.median(vectors_G3, axis=0))
    if not numbers:
        return None
    return _Column(np.array(numbers), np.array(means), plane_22)


def _images_of(
    numbers_N: NDArray[np.int64],
    moved_N3: NDArray[np.float64],
    positions_N3: NDArray[np.float64],
    cell_33: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the nearest atom of its element to each moved one, and whether it is near enough."""
    _, lengths_NN = in_plane_vectors(moved_N3, positions_N3, cell_33)
    lengths_NN[numbers_N[:, None] != numbers_N[None]] = np.inf
    owner_N = lengths_NN.argmin(axis=1)
    return owner_N, lengths_NN.min(axis=1) < _SAME_ANG


def _folded(vectors_V3: NDArray[np.float64], plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors less the nearest vectors of an in-plane lattice."""
    turns_V2 = np.rint(vectors_V3[:, :2] @ np.linalg.inv(plane_22))
    folded_V3 = vectors_V3.copy()
    folded_V3[:, :2] -= turns_V2 @ plane_22
    return folded_V3


def _primitive_plane(
    steps_T2: NDArray[np.float64], super_22: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the two shortest vectors that T translations and the cell's vectors span.

    The T translations of a cell make its area T times theirs, which checks that all were found;
    whole multiples of the result are the cell's own vectors, so noise plays no part.
    """
    shifts_I2 = np.array([[i, j] for i in range(-2, 3) for j in range(-2, 3)]) @ super_22
    all_2 = (steps_T2[:, None] + shifts_I2[None]).reshape(-1, 2)
    length = np.linalg.norm(all_2, axis=1)
    all_2 = all_2[np.argsort(length, kind="stable")]
    all_2 = all_2[np.linalg.norm(all_2, axis=1) > _SAME_ANG]
    first_2 = all_2[0]
    crosses = first_2[0] * all_2[:, 1] - first_2[1] * all_2[:, 0]
    across = np.flatnonzero(np.abs(crosses) > _SAME_ANG * np.linalg.norm(first_2))
    rough_22 = np.array([first_2, all_2[across[0]]])
    multiples_22 = np.rint(super_22 @ np.linalg.inv(rough_22))
    if round(abs(float(np.linalg.det(multiples_22)))) != len(steps_T2):
        return None
    return np.asarray(np.linalg.inv(multiples_22) @ super_22)


def _fits_of_interior(column: _Column) -> list[PlaneFit]:
    """Return the fits in the crystal that the column repeats, if it repeats one."""
    climb_3, next_K = _climb(column)
    if climb_3 is None:
        return []
    lattice_33 = np.vstack([np.pad(column.plane_22, ((0, 0), (0, 1))), climb_3])
    motif = _one_period(column, next_K, float(climb_3[2]))
    scaled = column.positions_K3[motif] @ np.linalg.inv(lattice_33)
    cell = (lattice_33.tolist(), scaled.tolist(), column.numbers_K[motif].tolist())
    found = [spglib.get_symmetry_dataset(cell, symprec=each) for each in _SYMPRECS_ANG]
    known = [each for each in found if each is not None]
    best = max(known, key=lambda each: len(np.unique(each.rotations, axis=0)), default=None)
    if best is None or len(np.unique(best.rotations, axis=0)) < _LEAST_ROTATIONS:
        return []
    back_33 = np.linalg.inv(best.transformation_matrix)
    index_3 = np.rint(np.array([0.0, 0.0, 1.0]) @ back_33 * 12.0).astype(np.int64)
    rotations_S33 = np.rint(best.transformation_matrix @ best.rotations @ back_33).astype(np.int64)
    h, k, l = (int(index) for index in index_3)  # noqa: E741
    name = f"a crystal of space group {best.international}"
    fits = [
        PlaneFit(_after(axes_33, (h, k, l)), _turned(axes_33, rotations_S33), name)
        for axes_33 in _settings(best.number)
    ]
    if _TETRAGONAL <= best.number < _TRIGONAL and len(motif) == 1:
        fits.append(PlaneFit(_after(_CUBE_33, (h, k, l)), _cubic_rotations(), name))
    return fits


def _climb(
    column: _Column,
) -> tuple[NDArray[np.float64] | None, NDArray[np.int64]]:
    """Return the vector from one period of the column to the next, and each atom's image there."""
    height_K = column.positions_K3[:, 2]
    counts = np.bincount(column.numbers_K)
    rarest = np.flatnonzero(counts[column.numbers_K] == counts[counts > 0].min())
    start = rarest[int(np.argmin(height_K[rarest]))]
    for end in np.argsort(height_K, kind="stable").tolist():
        step_3 = column.positions_K3[end] - column.positions_K3[start]
        if column.numbers_K[end] != column.numbers_K[start] or step_3[2] < _LEAST_CLIMB_ANG:
            continue
        next_K, moves_K3 = _matched(column, step_3)
        if next_K is not None:
            step_3 = step_3 + np.median(moves_K3, axis=0)
            next_K, moves_K3 = _matched(column, step_3)
        if next_K is not None:
            if np.ptp(height_K[next_K >= 0]) < _SEEN_OVER_ANG:
                break
            return step_3 + np.median(moves_K3, axis=0), next_K
    return None, np.zeros(0, dtype=np.int64)


def _matched(
    column: _Column, step_3: NDArray[np.float64]
) -> tuple[NDArray[np.int64] | None, NDArray[np.float64]]:
    """Return where each atom lands (-1 above the column) and how far its image is off the step."""
    vectors_KK3, lengths_KK = in_plane_vectors(
        column.positions_K3 + step_3, column.positions_K3, column.cell_33
    )
    lengths_KK[column.numbers_K[:, None] != column.numbers_K[None]] = np.inf
    inside_K = column.positions_K3[:, 2] + step_3[2] < column.positions_K3[:, 2].max() + 0.1
    owner_K, near_K = lengths_KK.argmin(axis=1), lengths_KK.min(axis=1) < _SAME_ANG
    met_K = inside_K & near_K
    if met_K.sum() < max(1.0, _MATCHED * inside_K.sum()):
        return None, np.zeros((0, 3))
    vectors_K3 = vectors_KK3[np.arange(len(owner_K)), owner_K]
    return np.where(met_K, owner_K, -1), vectors_K3[met_K]


def _one_period(column: _Column, next_K: NDArray[np.int64], climb_ang: float) -> list[int]:
    """Return one atom of each chain of images, that nearest to the middle of the slab.

    Chains begin in the lowest period; what begins above it has moved too far to be an image.
    """
    height_K = column.positions_K3[:, 2]
    middle = 0.5 * (height_K.min() + height_K.max())
    begins_K = height_K < height_K.min() + climb_ang - _RUMPLED_ANG
    chosen = []
    for first in sorted(set(np.flatnonzero(begins_K).tolist()) - set(next_K.tolist())):
        chain = [first]
        while next_K[chain[-1]] >= 0:
            chain.append(int(next_K[chain[-1]]))
        chosen.append(min(chain, key=lambda atom: abs(height_K[atom] - middle)))
    return chosen


def _settings(space_group: int) -> list[NDArray[np.int64]]:
    """Return the choices of axes in use, as matrices that take an index in standard axes to each.

    Monoclinic and triclinic crystals have too many: none is returned.
    """
    same_33 = np.eye(3, dtype=np.int64)
    if space_group < _ORTHORHOMBIC:
        return []
    if space_group < _TETRAGONAL:
        return [same_33[list(order)] for order in permutations(range(3))]
    if space_group in _RHOMBOHEDRAL:  # hexagonal axes, or those of the rhombohedron
        return [same_33, np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]], dtype=np.int64)]
    return [same_33]


def _cubic_rotations() -> NDArray[np.int64]:
    """Return the 48 rotations of a cube, for a lattice that is one but for a stretch."""
    eye_33 = np.eye(3, dtype=np.int64)
    signs = [(i, j, k) for i in (1, -1) for j in (1, -1) for k in (1, -1)]
    return np.array(
        [eye_33[list(order)] * np.array(sign) for order in permutations(range(3)) for sign in signs]
    )


def _after(axes_33: NDArray[np.int64], miller: Miller) -> Miller:
    h, k, l = (int(index) for index in axes_33 @ np.array(miller))  # noqa: E741
    return reduced_miller((h, k, l))


def _turned(axes_33: NDArray[np.int64], rotations_S33: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rotations, which act on indices as rows, in other axes."""
    forth_33 = axes_33.T.astype(np.float64)
    return np.rint(np.linalg.inv(forth_33) @ rotations_S33 @ forth_33).astype(np.int64)


def _fits_of_element(column: _Column, symbol: str) -> list[PlaneFit]:
    """Return the planes of an element's own crystal that have the slab's in-plane lattice."""
    try:
        prototype = ground_state(symbol)
        ideal = find_symmetry(crystal(symbol, prototype)[0])
    except UserError:
        return []
    return [
        PlaneFit(miller, ideal.conventional_rotations_S33, f"{prototype} {symbol}")
        for miller in distinct_millers(ideal, _HIGHEST_MILLER)
        if _is_plane(column, ideal, miller)
    ]


def _is_plane(column: _Column, ideal: Crystal, miller: Miller) -> bool:
    plane = primitive_miller(ideal, miller)
    basis_23 = (plane_basis(plane, ideal.cell_33) @ ideal.cell_33)[:2]
    wanted_3, found_3 = _metric(basis_23), _metric(column.plane_22)
    scale = float(np.sqrt(_area(found_3) / _area(wanted_3)))
    if not _SCALE[0] < scale < _SCALE[1]:
        return False
    if np.abs(found_3 / scale - wanted_3).max() > _STRETCH * wanted_3[1]:
        return False
    layers = len(column.numbers_K) / len(ideal.numbers_A)
    height = float(np.ptp(column.positions_K3[:, 2]))
    if layers <= 1.0:
        return True
    spacing = plane_spacing(ideal, plane) * scale
    # The atoms of a period fill its spacing; the last period ends at its last atom.
    return (
        (1.0 - _SPACING) * (layers - 1.0) * spacing
        <= height
        <= ((1.0 + _SPACING) * layers * spacing)
    )


def _metric(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths of three shortest vectors of a plane: two and their difference."""
    one, two = plane
    while True:
        if two @ two < one @ one:
            one, two = two, one
        steps = np.rint(one @ two / (one @ one) - 1e-6)
        if steps == 0:
            break
        two = two - steps * one
    third = two - one if one @ two > 0 else two + one
    return np.sort(np.array([np.sqrt(each @ each) for each in (one, two, third)]))


def _area(lengths_3: NDArray[np.float64]) -> float:
    """Return twice the area of a triangle (Heron)."""
    half = 0.5 * lengths_3.sum()
    return float(2.0 * np.sqrt(max(half * np.prod(half - lengths_3), 1e-12)))


def _rank(miller: Miller) -> tuple[int, int, tuple[int, ...]]:
    norm = sum(index * index for index in miller)
    return norm, sum(index < 0 for index in miller), tuple(-index for index in miller)
