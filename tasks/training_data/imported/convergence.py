"""Whether a row is relaxed: what it says itself, else the forces that its source gives.

Shapes  N atoms.
Units   eV/Å.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.levels import LevelOfTheory
from tasks.training_data.imported.source_rows import SourceRow, computed

_PUBLISHED_FMAX_EV_ANG = 0.1  # published levels state no limit; the loosest of the shipped ones


def largest_force(row: SourceRow, free_N: NDArray[np.bool_]) -> float | None:
    """Return the largest force of a row, None where it has none that must vanish.

    Args:
        row: One that states it, or was read with forces and the atoms that were held.
        free_N: Atoms that nobody holds. Where the held ones are not known the force on these is a
            lower bound.
    """
    forces_N3 = computed(row.atoms, "forces") if row.fmax_ev_ang is None else None
    if forces_N3 is None or not free_N.any():
        return row.fmax_ev_ang
    return float(np.linalg.norm(np.asarray(forces_N3)[free_N], axis=1).max())


def fmax_limit(level: LevelOfTheory) -> float:
    """Return the largest force of a relaxed structure at a level; 0.1 where it states none."""
    stated = level.calculation
    return _PUBLISHED_FMAX_EV_ANG if stated is None else stated.relaxation.fmax_ev_ang


def is_converged(row: SourceRow, level: LevelOfTheory, free_N: NDArray[np.bool_]) -> bool:
    """Return whether a row says so, or its forces are within the limit; without any it is."""
    if row.converged is not None:
        return row.converged
    force = largest_force(row, free_N)
    return force is None or force <= fmax_limit(level)
