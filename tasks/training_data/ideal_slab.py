"""Recover the ideal clean slab under a relaxed adslab.

The lower layers of a published relaxation were held at bulk positions. A vector t that carries
every held atom onto another one, or up into the free layers, continues the crystal: the ideal slab
is the held atoms and their images under t, 2t, ... Free atoms snap to the nearest of these. Where
too little is held to know t, other operations of the crystal are tried (``continuation``).

Shapes  N slab atoms, F held atoms, P lattice points.
Units   Å.
"""

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from tasks.errors import UserError
from tasks.structures.identity import fixed_mask
from tasks.structures.standard_frame import VACUUM_ANG, in_plane_vectors, surface_mask
from tasks.training_data.continuation import SAME_ANG, LatticePoints, continuations, distinct_points

_SNAP_ANG = 1.1  # a free atom that moved further has reconstructed
_GOOD_FIT_ANG2 = 0.04  # mean squared move of an ordinary relaxation: no other step is better
_CANDIDATES = 24


def ideal_slab(slab: Atoms) -> Atoms:
    """Return the bulk-truncated slab of a relaxed one in its standard frame, atoms in order.

    Held atoms are those of ``FixAtoms``, or the lower half where there is none.
    """
    held_N = _held(slab)
    steps = (_continued(slab, held_N, step_3) for step_3 in _steps(slab, held_N))
    best = _best_fit(slab, held_N, steps)
    if best is None:
        operations = (points for points in continuations(slab, held_N, reach_ang=_SNAP_ANG))
        best = _best_fit(slab, held_N, operations)
    if best is None:
        raise UserError(
            "no bulk lattice continues the held layers: free atoms of "
            f"{slab.get_chemical_formula()} would have to lie within {_SNAP_ANG} Å of its points"
        )
    return _as_slab(slab, best[1])


def _best_fit(
    slab: Atoms, held_N: NDArray[np.bool_], guesses: Iterable[LatticePoints | None]
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
    return [vectors_F3[index] for index in order[:_CANDIDATES]]


def _continued(
    slab: Atoms, held_N: NDArray[np.bool_], step_3: NDArray[np.float64]
) -> LatticePoints | None:
    """Return the lattice points above the held atoms, or None where the step does not fit them."""
    held_F3 = slab.positions[held_N]
    top_held, top = held_F3[:, 2].max(), slab.positions[:, 2].max()
    counts = np.arange(1, int(np.ceil((top + 1.5 - held_F3[:, 2].min()) / step_3[2])) + 1)
    images_P3 = (held_F3[None] + counts[:, None, None] * step_3).reshape(-1, 3)
    inside_P = images_P3[:, 2] < top_held + SAME_ANG
    if inside_P.any():
        _, apart = in_plane_vectors(images_P3[inside_P], held_F3, slab.cell.array)
        if apart.min(axis=1).max() > SAME_ANG:
            return None
    above_P3 = images_P3[~inside_P & (images_P3[:, 2] < top + 1.5)]
    return LatticePoints(above_P3[distinct_points(above_P3, slab)])


def _snapped(
    slab: Atoms, held_N: NDArray[np.bool_], points: LatticePoints
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
    return bool(points_P3[empty, 2].min() < points_P3[chosen, 2].max() - SAME_ANG)


def _as_slab(slab: Atoms, ideal_N3: NDArray[np.float64]) -> Atoms:
    ideal = Atoms(slab.numbers, ideal_N3, cell=slab.cell, pbc=True)
    z_N = ideal_N3[:, 2]
    ideal.cell[2, 2] = z_N.max() - z_N.min() + VACUUM_ANG
    ideal.set_tags(surface_mask(ideal).astype(int))
    held = np.flatnonzero(z_N <= 0.5 * (z_N.min() + z_N.max()) + 1e-6)
    ideal.set_constraint(FixAtoms(indices=held))
    return ideal
