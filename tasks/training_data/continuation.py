"""Continue a crystal upwards from its lowest layers by operations other than exact translations.

A slab may be held in so few layers that no held atom lies on another, or be one repeat thick. An
operation of the bulk (a rotation or mirror in the plane, upright or upside down, and a shift) still
carries held atoms onto atoms of their element. Where those are free atoms, which have relaxed, the
shift is the median of what they ask for.

Shapes  N slab atoms, F held atoms, P lattice points.
Units   Å.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tasks.structures.standard_frame import in_plane_vectors

SAME_ANG = 0.12  # a held atom on its image: lattice constants in files are rounded
_STRAIN = 0.02  # an in-plane operation may stretch the cell by no more
_ABOVE_ANG = 1.5  # lattice points are kept up to this far above the slab
_POWERS = 12
_CANDIDATES = 60  # shifts tried for each operation, shortest first


@dataclass(frozen=True)
class LatticePoints:
    """Lattice points above the held atoms; ``numbers_P`` is None where any element may sit."""

    positions_P3: NDArray[np.float64]
    numbers_P: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Operation:
    """x' = x @ turn + shift, with ``turn`` upright (z kept) or upside down."""

    turn_33: NDArray[np.float64]
    shift_3: NDArray[np.float64]

    def __call__(self, positions_F3: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(positions_F3 @ self.turn_33 + self.shift_3)


def continuations(
    slab: Atoms, held_N: NDArray[np.bool_], *, reach_ang: float
) -> Iterator[LatticePoints]:
    """Yield lattice points above the held atoms, for each operation that the slab allows.

    An image of a held atom inside the slab lies on a held atom of its element, or within
    ``reach_ang`` of a free one.
    """
    for turn_33 in _turns(slab):
        for operation in _operations(slab, held_N, turn_33, reach_ang):
            yield _grown(slab, held_N, operation)


def distinct_points(points_P3: NDArray[np.float64], slab: Atoms) -> NDArray[np.bool_]:
    """Return False for points that repeat an earlier one."""
    if len(points_P3) == 0:
        return np.zeros(0, dtype=bool)
    _, apart_PP = in_plane_vectors(points_P3, points_P3, slab.cell.array)
    return np.asarray(~np.tril(apart_PP < 2 * SAME_ANG, -1).any(axis=1))


def _turns(slab: Atoms) -> list[NDArray[np.float64]]:
    """Return the in-plane lattice's own operations, upright ones first, the identity foremost."""
    plane_22 = slab.cell.array[:2, :2]
    inverse_22 = np.linalg.inv(plane_22)
    flat = []
    for entries in product((1, 0, -1), repeat=4):
        turn_22 = inverse_22 @ np.array(entries, dtype=float).reshape(2, 2) @ plane_22
        if np.abs(turn_22 @ turn_22.T - np.eye(2)).max() < _STRAIN:
            flat.append(turn_22)
    flat.sort(key=lambda turn_22: -float(np.trace(turn_22)))
    turns = []
    for upright in (1.0, -1.0):
        for turn_22 in flat:
            turn_33 = np.diag([0.0, 0.0, upright])
            turn_33[:2, :2] = turn_22
            turns.append(turn_33)
    return turns


def _operations(
    slab: Atoms, held_N: NDArray[np.bool_], turn_33: NDArray[np.float64], reach_ang: float
) -> Iterator[_Operation]:
    """Yield the operations of one turn: its shifts carry one held atom to each of its element."""
    held = np.flatnonzero(held_N)
    upright = turn_33[2, 2] > 0
    # The lowest image of the held atoms is the one that is certainly inside the slab.
    order = np.lexsort((*slab.positions[held].T[:2], slab.positions[held, 2].round(2)))
    anchor = held[order[0 if upright else -1]]
    start_3 = slab.positions[anchor] @ turn_33
    ends = np.flatnonzero(slab.numbers == slab.numbers[anchor])
    shifts_S3 = slab.positions[ends] - start_3
    rise_S = slab.positions[ends, 2] - slab.positions[anchor, 2]
    shifts_S3 = shifts_S3[rise_S > 0.1 if upright else rise_S > -reach_ang]
    shifts_S3 = shifts_S3[np.argsort(shifts_S3[:, 2], kind="stable")][:_CANDIDATES]
    for shift_3 in shifts_S3:
        refined = _refined(slab, held_N, _Operation(turn_33, shift_3), reach_ang)
        if refined is not None:
            yield refined


def _refined(
    slab: Atoms, held_N: NDArray[np.bool_], operation: _Operation, reach_ang: float
) -> _Operation | None:
    """Return the operation with the shift that its images ask for, or None where they miss."""
    z_N = slab.positions[:, 2]
    numbers_F = slab.numbers[held_N]
    for tolerance_ang in (reach_ang, SAME_ANG):
        images_F3 = operation(slab.positions[held_N])
        inside = np.flatnonzero(
            (images_F3[:, 2] < z_N.max() + 0.5) & (images_F3[:, 2] > z_N.min() - 0.5)
        )
        apart, length = in_plane_vectors(images_F3[inside], slab.positions, slab.cell.array)
        length[numbers_F[inside][:, None] != slab.numbers] = np.inf
        nearest = length.argmin(axis=1)
        missed = length[np.arange(len(inside)), nearest]
        on_held = held_N[nearest]
        if missed.max() > reach_ang or (on_held.any() and missed[on_held].max() > tolerance_ang):
            return None
        asked = apart[np.arange(len(inside)), nearest]
        asked = asked[on_held] if on_held.any() else asked
        operation = _Operation(operation.turn_33, operation.shift_3 + np.median(asked, axis=0))
    return operation


def _grown(slab: Atoms, held_N: NDArray[np.bool_], operation: _Operation) -> LatticePoints:
    """Return the images of the held atoms above them, under powers of an upright operation."""
    upright = operation.turn_33[2, 2] > 0
    top = slab.positions[:, 2].max() + _ABOVE_ANG
    low = slab.positions[held_N, 2].max() + SAME_ANG
    images_F3, found = slab.positions[held_N], []
    for _ in range(_POWERS if upright else 1):
        images_F3 = operation(images_F3)
        found.append(images_F3)
    points_P3 = np.concatenate(found)
    numbers_P = np.tile(slab.numbers[held_N], len(found))
    above_P = (points_P3[:, 2] >= low) & (points_P3[:, 2] < top)
    points_P3, numbers_P = points_P3[above_P], numbers_P[above_P]
    kept_P = distinct_points(points_P3, slab)
    return LatticePoints(points_P3[kept_P], numbers_P[kept_P])
