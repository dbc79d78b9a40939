"""Antiferromagnets: which moments of a slab start up and which down, and whether they stay so.

A level states planes of the bulk's own cell that alternate: (111) for rock salts such as NiO, MnO
and FeO (Roth, Phys. Rev. 110 (1958) 1333), whose moments are parallel within these planes, and
(0 0 6) for hematite in its hexagonal cell, whose pairs of iron layers alternate (Shull, Strauser,
Wollan, Phys. Rev. 83 (1951) 333).

Shapes  N atoms of the slab.
Units   Bohr magnetons.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from tasks.enumeration.lattice_planes import SlabSide
from tasks.enumeration.miller import Miller, miller_word
from tasks.errors import UserError
from tasks.levels import Spin
from tasks.verification.inputs.slab_in_bulk import slab_in_bulk

# Of a spacing. The layers of hematite's (0 0 6) are buckled by 0.13; half-way between two planes an
# atom would belong to neither.
_OFF_PLANE = 0.35
# Length of the mean phase of atoms on planes: 1 where all lie on them, 0.7 in hematite, and 0 where
# they lie on half-planes too, so that nothing says which of the two are meant.
_ON_PLANES = 0.3
_SAME_STEP = 0.01
_KEPT_SHARE = 0.1  # of the moment that an atom starts with; below it has none


def order_signs(
    slab: Atoms, bulk: Atoms, miller: Miller, side: SlabSide, spin: Spin
) -> NDArray[np.int64]:
    """Return 1 or -1 for each magnetic atom of a clean slab, and 0 for the others.

    The highest magnetic atom is 1: all moments turned over have the same energy.

    Args:
        slab: The slab as it was cut.
        bulk: Its bulk, in the cell that ``miller`` counts by.
        miller: The slab's Miller index.
        side: Which side of the cut the slab is.
        spin: The moments and the planes that a level states.

    Returns:
        The signs (N), whatever the order of the atoms.

    Raises:
        UserError: the slab is not a piece of its bulk, an atom is between two planes, or the
            slab's cell repeats moments that should alternate.
    """
    planes = spin.planes
    magnetic_N = np.array([bool(spin.moments.get(s)) for s in slab.symbols])
    signs_N = np.zeros(len(slab), dtype=np.int64)
    if planes is None or not magnetic_N.any():
        return signs_N
    found = slab_in_bulk(slab, bulk, miller, side)
    _require_commensurate(slab, found.surface_23 @ np.array(planes), planes)
    heights_N = found.fractions_N3[magnetic_N] @ np.array(planes)
    phase = np.exp(2j * np.pi * heights_N).mean()
    origin = float(np.angle(phase)) / (2 * np.pi)
    number_N = np.rint(heights_N - origin)
    off = 0.5 if abs(phase) < _ON_PLANES else float(np.abs(heights_N - origin - number_N).max())
    if off > _OFF_PLANE:
        raise UserError(
            f"magnetic atoms lie on the planes {miller_word(planes)} that spin.planes states, one "
            f"of {slab.get_chemical_formula()} is {off:.2f} spacings from the nearest; state the "
            "planes that alternate, in the axes of the bulk's conventional cell"
        )
    signs_N[magnetic_N] = 1 - 2 * (number_N % 2).astype(np.int64)
    upright_N: NDArray[np.int64] = signs_N * signs_N[_highest(slab, magnetic_N)]
    return upright_N


def _require_commensurate(slab: Atoms, steps_2: NDArray[np.float64], planes: Miller) -> None:
    """Refuse a cell that repeats after an odd number of planes: images would be turned over."""
    for name, steps, vector_3 in zip("ab", steps_2.tolist(), slab.cell.array, strict=False):
        if abs(steps - 2 * round(steps / 2)) > _SAME_STEP:
            raise UserError(
                f"planes {miller_word(planes)} alternate, and the cell of "
                f"{slab.get_chemical_formula()} repeats after {abs(steps):g} of them along {name}; "
                "make it twice as long there, as by surfaces: {min_in_plane: "
                f"{1.01 * float(np.linalg.norm(vector_3)):.1f}}}"
            )


def _highest(slab: Atoms, magnetic_N: NDArray[np.bool_]) -> int:
    """Return the highest magnetic atom; of equals the first along a and b."""
    wrapped_N3 = np.round(slab.get_scaled_positions() % 1.0, 4) % 1.0
    keys = [(-wrapped_N3[i, 2], wrapped_N3[i, 0], wrapped_N3[i, 1], i) for i in range(len(slab))]
    return min(key for key, is_magnetic in zip(keys, magnetic_N, strict=True) if is_magnetic)[3]


def with_order(atoms: Atoms, signs_N: Sequence[int]) -> Atoms:
    """Return atoms of which the first, those of the slab, carry their signs as moments."""
    if not any(signs_N):
        return atoms
    ordered: Atoms = atoms.copy()
    moments_N = np.zeros(len(atoms))
    moments_N[: len(signs_N)] = signs_N
    ordered.set_initial_magnetic_moments(moments_N)
    return ordered


def lost_moments(start: Atoms, end_N: ArrayLike | None) -> int:
    """Return how many atoms' moments turned over or vanished; 0 where the program tells none.

    Args:
        start: The atoms with the moments that they started from.
        end_N: The moments that the electrons ended with.
    """
    start_N = start.get_initial_magnetic_moments()
    if end_N is None or not (start_N < 0).any():
        return 0
    kept_N = np.asarray(end_N) * np.sign(start_N) > _KEPT_SHARE * np.abs(start_N)
    return int((~kept_N & (start_N != 0)).sum())
