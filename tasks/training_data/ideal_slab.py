"""Recover the ideal clean slab under a relaxed adslab.

The lower layers of a published relaxation were held at bulk positions. A vector t that carries
every held atom onto another one, or up into the free layers, continues the crystal: the ideal slab
is the held atoms and their images under t, 2t, ... Free atoms snap to the nearest of these.

A slab may be held in so few layers that no held atom lies on another, or be one repeat thick. Then
other operations of the bulk are tried: a rotation or mirror in the plane, upright or upside down,
and a shift, which carry held atoms onto atoms of their element. Where those are free atoms, which
have relaxed, the shift is the median of the shifts to them.

Shapes  N slab atoms, F held atoms, P lattice points.
Units   Å.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from tasks.errors import UserError
from tasks.structures.identity import fixed_mask
from tasks.structures.standard_frame import VACUUM_ANG, in_plane_vectors, surface_mask

_SNAP_ANG = 1.1  # a free atom that moved further has reconstructed
_GOOD_FIT_ANG2 = 0.04  # mean squared move of an ordinary relaxation: no other step is better
_STEPS_TRIED = 24  # vectors to held atoms above, the nearest first
_SAME_ANG = 0.12  # a held atom on its image: lattice constants in files are rounded
_STRAIN = 0.02  # an in-plane operation may stretch the cell by no more
_ABOVE_ANG = 1.5  # lattice points are kept up to this far above the slab
_POWERS = 12
_SHIFTS_TRIED = 60  # shifts tried for each operation, shortest first


@dataclass(frozen=True)
class _LatticePoints:
    """Lattice points above the held atoms; ``numbers_P`` is None where any element may sit."""

    positions_P3: NDArray[np.float64]
    numbers_P: NDArray[np.int64] | None = None


def ideal_slab(slab: Atoms) -> Atoms:
    """Return the bulk-truncated slab of a relaxed one in its standard frame, atoms in order.

    Held atoms are those of ``FixAtoms``, or the lower half where there is none.
    """
    held_N = _held(slab)
    steps = (_continued(slab, held_N, step_3) for step_3 in _steps(slab, held_N))
    best = _best_fit(slab, held_N, steps)
    if best is None:
        operations = _continuations(slab, held_N, _SNAP_ANG)
        best = _best_fit(slab, held_N, operations)
    if best is None:
        raise UserError(
            "no bulk lattice continues the held layers: free atoms of "
            f"{slab.get_chemical_formula()} would have to lie within {_SNAP_ANG} Å of its points"
        )
    return _as_slab(slab, best[1])


def _best_fit(
    slab: Atoms, held_N: NDArray[np.bool_], guesses: Iterable[_LatticePoints | None]
) -> tuple[float, NDArray[np.float64]] | None:
    """Return the least mean squared move of the free atoms, and the ideal positions of all."""
    best: tuple[float, NDArray[np.float64]] | None = None
    for points in guesses:
        snapped = None if points is None else _snapped(slab, held_N, points)
        if snapped is not None and (best is None or snapped[0] < best[0]):
            best = snapped
        if best is not None and best[0] < _GOOD_FIT_ANG2:
            break
    return best


def _held(slab: Atoms) -> NDArray[np.bool_]:
    """Return the atoms at bulk positions: the fixed ones, or the lower half."""
    fixed_N = fixed_mask(slab)
    if fixed_N.any():
        return fixed_N
    z_N = slab.positions[:, 2]
    return np.asarray(z_N <= np.median(z_N) - 1e-3)


def _steps(slab: Atoms, held_N: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return vectors from the lowest held atom to the next ones above it, lowest first."""
    held_F3 = slab.positions[held_N]
    first = int(np.lexsort((held_F3[:, 0], held_F3[:, 1], held_F3[:, 2].round(2)))[0])
    vectors_F3, lengths_F = in_plane_vectors(held_F3[first : first + 1], held_F3, slab.cell.array)
    vectors_F3, lengths_F = vectors_F3[0], lengths_F[0]
    rising = np.flatnonzero(vectors_F3[:, 2] > 0.1)
    order = rising[np.argsort(lengths_F[rising], kind="stable")]
    return [vectors_F3[index] for index in order[:_STEPS_TRIED]]


def _continued(
    slab: Atoms, held_N: NDArray[np.bool_], step_3: NDArray[np.float64]
) -> _LatticePoints | None:
    """Return the lattice points above the held atoms, or None where the step does not fit them."""
    held_F3 = slab.positions[held_N]
    top_held, top = held_F3[:, 2].max(), slab.positions[:, 2].max()
    counts = np.arange(1, int(np.ceil((top + 1.5 - held_F3[:, 2].min()) / step_3[2])) + 1)
    images_P3 = (held_F3[None] + counts[:, None, None] * step_3).reshape(-1, 3)
    inside_P = images_P3[:, 2] < top_held + _SAME_ANG
    if inside_P.any():
        _, apart = in_plane_vectors(images_P3[inside_P], held_F3, slab.cell.array)
        if apart.min(axis=1).max() > _SAME_ANG:
            return None
    above_P3 = images_P3[~inside_P & (images_P3[:, 2] < top + 1.5)]
    return _LatticePoints(above_P3[_distinct(above_P3, slab)])


def _snapped(
    slab: Atoms, held_N: NDArray[np.bool_], points: _LatticePoints
) -> tuple[float, NDArray[np.float64]] | None:
    """Return the mean squared move and the ideal positions, or None where they do not fit."""
    free = np.flatnonzero(~held_N)
    points_P3 = points.positions_P3
    if len(points_P3) < len(free):
        return None
    vectors, lengths = in_plane_vectors(slab.positions[free], points_P3, slab.cell.array)
    if points.numbers_P is not None:
        lengths[slab.numbers[free][:, None] != points.numbers_P] = np.inf
    chosen = lengths.argmin(axis=1)
    moves = lengths[np.arange(len(free)), chosen]
    if len(set(chosen.tolist())) < len(free) or moves.max() > _SNAP_ANG:
        return None
    if _leaves_holes(points_P3, chosen):
        return None
    ideal_N3 = slab.positions.copy()
    ideal_N3[free] += vectors[np.arange(len(free)), chosen]
    return float((moves**2).mean()), ideal_N3


def _leaves_holes(points_P3: NDArray[np.float64], chosen: NDArray[np.int64]) -> bool:
    """Return whether a lattice point below the lowest empty top layer stays empty."""
    empty = np.setdiff1d(np.arange(len(points_P3)), chosen)
    if len(empty) == 0:
        return False
    return bool(points_P3[empty, 2].min() < points_P3[chosen, 2].max() - _SAME_ANG)


def _as_slab(slab: Atoms, ideal_N3: NDArray[np.float64]) -> Atoms:
    ideal = Atoms(slab.numbers, ideal_N3, cell=slab.cell, pbc=True)
    z_N = ideal_N3[:, 2]
    ideal.cell[2, 2] = z_N.max() - z_N.min() + VACUUM_ANG
    ideal.set_tags(surface_mask(ideal).astype(int))
    held = np.flatnonzero(z_N <= 0.5 * (z_N.min() + z_N.max()) + 1e-6)
    ideal.set_constraint(FixAtoms(indices=held))
    return ideal


@dataclass(frozen=True)
class _Operation:
    """x' = x @ turn + shift, with ``turn`` upright (z kept) or upside down."""

    turn_33: NDArray[np.float64]
    shift_3: NDArray[np.float64]

    def __call__(self, positions_F3: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(positions_F3 @ self.turn_33 + self.shift_3)


def _continuations(
    slab: Atoms, held_N: NDArray[np.bool_], reach_ang: float
) -> Iterator[_LatticePoints]:
    """Yield lattice points above the held atoms, for each operation that the slab allows.

    An image of a held atom inside the slab lies on a held atom of its element, or within
    ``reach_ang`` of a free one.
    """
    for turn_33 in _turns(slab):
        for operation in _operations(slab, held_N, turn_33, reach_ang):
            yield _grown(slab, held_N, operation)


def _distinct(points_P3: NDArray[np.float64], slab: Atoms) -> NDArray[np.bool_]:
    """Return False for points that repeat an earlier one."""
    if len(points_P3) == 0:
        return np.zeros(0, dtype=bool)
    _, apart_PP = in_plane_vectors(points_P3, points_P3, slab.cell.array)
    return np.asarray(~np.tril(apart_PP < 2 * _SAME_ANG, -1).any(axis=1))


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
    shifts_S3 = shifts_S3[np.argsort(shifts_S3[:, 2], kind="stable")][:_SHIFTS_TRIED]
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
    for tolerance_ang in (reach_ang, _SAME_ANG):
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
        shift_F3 = apart[np.arange(len(inside)), nearest]
        shift_F3 = shift_F3[on_held] if on_held.any() else shift_F3
        operation = _Operation(operation.turn_33, operation.shift_3 + np.median(shift_F3, axis=0))
    return operation


def _grown(slab: Atoms, held_N: NDArray[np.bool_], operation: _Operation) -> _LatticePoints:
    """Return the images of the held atoms above them, under powers of an upright operation."""
    upright = operation.turn_33[2, 2] > 0
    top = slab.positions[:, 2].max() + _ABOVE_ANG
    low = slab.positions[held_N, 2].max() + _SAME_ANG
    images_F3, found = slab.positions[held_N], []
    for _ in range(_POWERS if upright else 1):
        images_F3 = operation(images_F3)
        found.append(images_F3)
    points_P3 = np.concatenate(found)
    numbers_P = np.tile(slab.numbers[held_N], len(found))
    above_P = (points_P3[:, 2] >= low) & (points_P3[:, 2] < top)
    points_P3, numbers_P = points_P3[above_P], numbers_P[above_P]
    kept_P = _distinct(points_P3, slab)
    return _LatticePoints(points_P3[kept_P], numbers_P[kept_P])
