"""Whether the distances of a structure are those of atoms, in Å.

Units   Å.
Source  Cordero et al. 2008, Dalton Trans. 2832 (covalent radii, as ASE has them).
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from tasks.errors import UserError

# Shortest distance over the sum of covalent radii: uranyl has 0.68, metals 0.85 to 1.2, lead 1.2.
_SHORTEST = 0.5
_LONGEST = 1.35
_NM = 0.2  # lengths in nm read as Å are ten times too short
_SMALLEST_VOLUME_ANG3 = 1.0  # of an atom in its cell; diamond has 5.7
_SHORTEST_VECTOR_ANG = 0.6
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)  # held by no bonds: farther apart
_IN_ANG = "atoms are as far apart as atoms are in Å"


def check_distances(atoms: Atoms) -> None:
    """Check that the nearest atoms are as far apart as atoms are.

    Overlapping atoms are refused, and structures whose lengths are in nm or Bohr.

    Args:
        atoms: A crystal, a slab or a molecule, of finite numbers.

    Raises:
        UserError: the shortest distance is below half or above 1.35 times the sum of covalent
            radii.
    """
    periodic = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    volume_ang3 = abs(atoms.cell.volume) / len(atoms) if atoms.pbc.all() else np.inf
    if (lengths < _SHORTEST_VECTOR_ANG).any() or volume_ang3 < _SMALLEST_VOLUME_ANG3:
        vectors = ", ".join(f"{length:.3g}" for length in lengths)
        raise UserError(
            f"{_IN_ANG}: no cell is as small as this one, whose vectors are {vectors} Å long, as "
            "if the file were in nm"
        )
    radii_N = covalent_radii[atoms.numbers]
    i_P, j_P, apart_P = neighbor_list("ijd", atoms, (_LONGEST * radii_N).tolist())
    if not len(i_P):
        bound = ~np.isin(atoms.numbers, _NOBLE_GASES)
        if bound.any() and (len(atoms) > 1 or atoms.pbc.any()):
            raise UserError(
                f"{_IN_ANG}: no two atoms are nearer than {_LONGEST:g} times the sum of their "
                "covalent radii, as if the file were in Bohr (0.529 Å)"
            )
        return
    ratio_P = apart_P / (radii_N[i_P] + radii_N[j_P])
    nearest = int(ratio_P.argmin())
    if ratio_P[nearest] < _SHORTEST:
        first, second = atoms.symbols[i_P[nearest]], atoms.symbols[j_P[nearest]]
        unit = ""
        if np.isin(np.arange(len(atoms)), i_P[ratio_P < _NM]).all():
            unit = ", as if the file were in nm"
        raise UserError(
            f"{_IN_ANG}: two atoms are nearer than half the sum of their covalent radii, "
            f"{first} and {second}, {apart_P[nearest]:.3g} Å{unit}"
        )
