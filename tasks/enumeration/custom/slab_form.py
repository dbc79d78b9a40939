"""One form of a slab from a file, however it was written: cell, orientation, origin and order.

The slab stands upright with its working side up. Its in-plane cell is the smallest that repeats it,
atoms that a translation makes equal lie at their mean, and of all equal choices of vectors and
origin the one with the smallest sorted list of atoms is taken. Heights, relaxation and
reconstruction are those of the file. A slab and its mirror image have two forms.

Shapes  N atoms as given, P atoms of the smallest cell, T translations.
Units   Å.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from tasks.errors import UserError
from tasks.structures.identity import fractional_grid
from tasks.structures.vacuum import heights_over_vacuum

SLAB_TOLERANCE_ANG = 0.05  # atoms nearer than this after a translation are images of each other
_SAME_LENGTH_ANG = 0.02  # of in-plane vectors that may stand for each other
_VACUUM_ANG = 15.0  # while translations are searched
_TOP_ANG = 0.1  # atoms of one element this near the highest may be the origin
_COMBINATIONS = np.array([[i, j] for i, j in product(range(-2, 3), repeat=2) if i or j])


@dataclass(frozen=True)
class SlabForm:
    """The atoms of a slab's smallest in-plane cell; z counts from the lowest atom.

    ``plane_22`` has the vectors as rows, the first along x, right-handed. ``source_P`` says which
    atom of the file each stands for.
    """

    numbers_P: NDArray[np.int64]
    positions_P3: NDArray[np.float64]
    plane_22: NDArray[np.float64]
    source_P: NDArray[np.int64]


def slab_form(atoms: Atoms, labels_N: NDArray[np.int64], *, turned: bool = False) -> SlabForm:
    """Return the standard form of a slab.

    Args:
        atoms: A slab with its vacuum along c, which need not be upright.
        labels_N: What else tells atoms apart (tags, fixed atoms), 0 to 99.
        turned: Whether the lower side is the working side.

    Returns:
        The form, its working side up.

    Raises:
        UserError: the smallest cell cannot be told.
    """
    positions_N3, plane_22 = _upright(atoms, turned)
    kinds_N = atoms.numbers * 100 + labels_N
    small_22, members = _translations(kinds_N, positions_N3, plane_22)
    source_P = np.array([group[0] for group in members])
    positions_P3 = np.array([_mean(positions_N3[group], small_22) for group in members])
    return _smallest(kinds_N[source_P], positions_P3, small_22, source_P)


def _upright(atoms: Atoms, turned: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions with the surface up and z from the lowest atom, and the in-plane cell."""
    a_3, b_3, c_3 = atoms.cell.array
    z_3 = np.cross(a_3, b_3) / np.linalg.norm(np.cross(a_3, b_3))
    x_3 = a_3 / np.linalg.norm(a_3)
    frame_33 = np.array([x_3, np.cross(z_3, x_3), z_3])
    period = float(c_3 @ z_3)
    turns_N = (heights_over_vacuum(atoms) - atoms.positions @ z_3) / period
    whole_N = np.rint(turns_N - turns_N[0])  # a shift of all atoms plays no part
    positions_N3 = (atoms.positions + whole_N[:, None] * c_3) @ frame_33.T
    plane_22 = (atoms.cell.array[:2] @ frame_33.T)[:, :2]
    if turned:  # about x: a rotation, no mirror image
        positions_N3[:, 1:] *= -1.0
        plane_22 = plane_22 * np.array([1.0, -1.0])
    positions_N3[:, 2] -= positions_N3[:, 2].min()
    return positions_N3, plane_22


def _translations(
    kinds_N: NDArray[np.int64], positions_N3: NDArray[np.float64], plane_22: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Return the smallest in-plane cell, and the atoms that its translations make equal."""
    cell_33 = np.zeros((3, 3))
    cell_33[:2, :2] = plane_22
    cell_33[2, 2] = float(np.ptp(positions_N3[:, 2])) + _VACUUM_ANG
    scaled_N3 = positions_N3 @ np.linalg.inv(cell_33)
    found = spglib.get_symmetry_dataset(
        (cell_33.tolist(), scaled_N3.tolist(), kinds_N.tolist()), symprec=SLAB_TOLERANCE_ANG
    )
    if found is None:
        return _reduced(plane_22), [np.array([atom]) for atom in range(len(kinds_N))]
    still = (found.rotations == np.eye(3)).all(axis=(1, 2))
    steps_T2 = found.translations[still][:, :2]
    groups = found.mapping_to_primitive
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    near_2 = (steps_T2[:, None] + _with_zero()[None]).reshape(-1, 2) @ plane_22
    lengths = np.linalg.norm(near_2, axis=1)
    near_2 = near_2[np.argsort(lengths, kind="stable")]
    near_2 = near_2[np.linalg.norm(near_2, axis=1) > 10 * SLAB_TOLERANCE_ANG]
    first_2 = near_2[0]
    across = np.abs(first_2[0] * near_2[:, 1] - first_2[1] * near_2[:, 0])
    second_2 = near_2[across > 10 * SLAB_TOLERANCE_ANG * np.linalg.norm(first_2)][0]
    # Whole multiples of the smallest vectors are the cell's own, so that noise plays no part.
    multiples_22 = np.rint(plane_22 @ np.linalg.inv(np.array([first_2, second_2])))
    count = round(abs(float(np.linalg.det(multiples_22))))
    if count != len(steps_T2) or any(len(group) != count for group in members):
        raise UserError(
            f"a slab repeats its smallest cell: {len(steps_T2)} translations are found within "
            f"{SLAB_TOLERANCE_ANG:g} Å, and vectors for {count}; give one unit of the surface"
        )
    return _reduced(np.linalg.inv(multiples_22) @ plane_22), members


def _with_zero() -> NDArray[np.int64]:
    return np.vstack([np.zeros((1, 2), dtype=np.int64), _COMBINATIONS])


def _reduced(plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two shortest vectors of an in-plane lattice, right-handed."""
    one, two = plane_22
    while True:
        if two @ two < one @ one - 1e-9:
            one, two = two, one
        steps = round(float(one @ two / (one @ one)) - 1e-9)
        if steps == 0:
            break
        two = two - steps * one
    if one[0] * two[1] - one[1] * two[0] < 0:
        two = -two
    return np.array([one, two])


def _mean(positions_G3: NDArray[np.float64], plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of atoms after the lattice vectors that bring them to the first of them."""
    away_G3 = positions_G3 - positions_G3[0]
    away_G3[:, :2] -= np.rint(away_G3[:, :2] @ np.linalg.inv(plane_22)) @ plane_22
    return np.asarray(positions_G3[0] + away_G3.mean(axis=0))


def _smallest(
    kinds_P: NDArray[np.int64],
    positions_P3: NDArray[np.float64],
    plane_22: NDArray[np.float64],
    source_P: NDArray[np.int64],
) -> SlabForm:
    """Return the form whose sorted list of atoms is the smallest, of all vectors and origins."""
    values, counts = np.unique(kinds_P, return_counts=True)
    rank_of = {int(values[i]): rank for rank, i in enumerate(np.lexsort((values, counts)))}
    ranks_P = np.array([rank_of[int(kind)] for kind in kinds_P])
    rarest = np.flatnonzero(ranks_P == 0)
    heights = positions_P3[rarest, 2]
    origins = rarest[heights > heights.max() - _TOP_ANG]
    depth_P = positions_P3[:, 2].max() - positions_P3[:, 2]
    steps_P = fractional_grid(depth_P / 100.0)  # of 0.01 Å
    best: tuple[list[int], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]] | None
    best = None
    for vectors_22 in _bases(plane_22):
        inverse_22 = np.linalg.inv(vectors_22)
        for origin in origins:
            scaled_P2 = (positions_P3[:, :2] - positions_P3[origin, :2]) @ inverse_22
            grid_P2 = fractional_grid(scaled_P2).astype(np.int64)
            code_P = ((ranks_P * 10**4 + steps_P) * 10**4 + grid_P2[:, 0]) * 10**4 + grid_P2[:, 1]
            code = np.sort(code_P).tolist()
            if best is None or code < best[0]:
                best = code, np.argsort(code_P, kind="stable"), scaled_P2, vectors_22
    assert best is not None  # noqa: S101  there is an atom and a basis
    _, order_P, scaled_P2, vectors_22 = best
    flat_22 = _along_x(vectors_22)
    placed_P3 = positions_P3.copy()
    placed_P3[:, :2] = ((scaled_P2 + 1e-6) % 1.0 - 1e-6) @ flat_22  # 0.9999999 belongs at 0
    return SlabForm(kinds_P[order_P] // 100, placed_P3[order_P], flat_22, source_P[order_P])


def _bases(plane_22: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the right-handed pairs of shortest vectors, of those with the widest angle."""
    vectors_V2 = _COMBINATIONS @ plane_22
    lengths_V = np.linalg.norm(vectors_V2, axis=1)
    first, second = np.linalg.norm(plane_22, axis=1)
    pairs = [
        np.array([one, two])
        for one in vectors_V2[np.abs(lengths_V - first) < _SAME_LENGTH_ANG]
        for two in vectors_V2[np.abs(lengths_V - second) < _SAME_LENGTH_ANG]
        if one[0] * two[1] - one[1] * two[0] > 0.5 * first * second  # 30 degrees and more apart
    ]
    dots = [float(pair[0] @ pair[1]) for pair in pairs]
    limit = min(dots) + _SAME_LENGTH_ANG * (first + second)
    return [pair for pair, dot in zip(pairs, dots, strict=True) if dot <= limit]


def _along_x(vectors_22: NDArray[np.float64]) -> NDArray[np.float64]:
    one, two = vectors_22
    length = float(np.linalg.norm(one))
    along = float(one @ two) / length
    across = float(one[0] * two[1] - one[1] * two[0]) / length
    flat_22 = np.array([[length, 0.0], [along, across]])
    flat_22[np.abs(flat_22) < 1e-9] = 0.0
    return flat_22
