"""What a calculation costs, relative to one of a usual cell.

Units   1 is a relaxation in a cell of ``reference_atoms`` atoms.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.acquisition.estimates import AcquisitionError, Floats


@dataclass(frozen=True)
class CostRule:
    """``(atoms / reference_atoms) ** exponent``, for an adslab and its clean slab alike.

    Plane waves cost the second power of the atoms while transforms lead and the third once
    orthogonalisation does (Payne et al. 1992, doi 10.1103/RevModPhys.64.1045). Slabs of 20 to 200
    atoms lie between; measure your own and say so.
    """

    exponent: float = 2.5
    reference_atoms: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.exponent <= 4:
            raise AcquisitionError(
                f"a cost grows with a power of the atoms from 0 to 4, got {self.exponent}"
            )
        if not 0 < self.reference_atoms < math.inf:
            raise AcquisitionError(f"reference_atoms must be above 0, got {self.reference_atoms}")

    def cost(self, atoms_R: ArrayLike) -> Floats:
        """Return the cost of each cell."""
        return (np.asarray(atoms_R, dtype=np.float64) / self.reference_atoms) ** self.exponent
