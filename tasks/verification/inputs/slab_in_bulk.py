"""Where the atoms of a slab lie in the bulk that it was cut from.

Shapes  N atoms of the slab, A atoms of the bulk's primitive cell.
Units   Å; fractions are of the bulk's own cell.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tasks.enumeration.lattice_planes import (
    Crystal,
    SlabSide,
    find_symmetry,
    plane_basis,
    primitive_miller,
)
from tasks.enumeration.miller import Miller
from tasks.enumeration.slabs import upright_axes
from tasks.errors import UserError

_SAME_ANG = 0.05  # a slab as it was cut lies on its bulk's sites


@dataclass(frozen=True)
class SlabInBulk:
    """A slab's atoms and the two vectors of its surface cell, in fractions of the bulk's cell.

    They are not wrapped. Where the bulk's origin is put is a lattice vector that the slab does not
    tell, the same for every atom.
    """

    fractions_N3: NDArray[np.float64]
    surface_23: NDArray[np.float64]


def slab_in_bulk(slab: Atoms, bulk: Atoms, miller: Miller, side: SlabSide) -> SlabInBulk:
    """Return where the atoms of a slab lie in its bulk.

    Args:
        slab: The slab as it was cut, neither relaxed nor edited.
        bulk: The bulk in the cell that ``miller`` counts by.
        miller: The slab's Miller index.
        side: Which side of the cut the slab is.

    Returns:
        The fractions, in the order of the slab's atoms.

    Raises:
        UserError: the slab's atoms are not on sites of the bulk.
    """
    crystal = find_symmetry(bulk)
    plane = primitive_miller(crystal, miller)
    up = plane if side == "top" else (-plane[0], -plane[1], -plane[2])
    axes_33 = upright_axes(plane_basis(up, crystal.cell_33) @ crystal.cell_33)
    turned_N3 = slab.positions @ axes_33
    shift_3 = _shift_onto_sites(turned_N3, slab.numbers, crystal)
    if shift_3 is None:
        raise UserError(
            f"the atoms of slab {slab.get_chemical_formula()} are not on the sites of its bulk "
            f"{bulk.get_chemical_formula()}; slabs that were edited, strained or relaxed are not "
            "mapped onto it"
        )
    inverse_33 = np.linalg.inv(bulk.cell.array)
    surface_23 = slab.cell.array[:2] @ axes_33 @ inverse_33
    return SlabInBulk((turned_N3 + shift_3) @ inverse_33, surface_23)


def _shift_onto_sites(
    turned_N3: NDArray[np.float64], numbers_N: NDArray[np.int64], crystal: Crystal
) -> NDArray[np.float64] | None:
    """Return the shift (3) that puts every atom on a site of its element, None where none does."""
    sites_A3 = crystal.scaled_A3 @ crystal.cell_33
    inverse_33 = np.linalg.inv(crystal.cell_33)
    for site_3 in sites_A3[crystal.numbers_A == numbers_N[0]]:
        shift_3 = site_3 - turned_N3[0]
        apart_NA3 = (turned_N3 + shift_3)[:, None, :] - sites_A3[None, :, :]
        # Rounding finds any image as near as the limit; it need not find the nearest of far ones.
        scaled_NA3 = apart_NA3 @ inverse_33
        distance_NA = np.linalg.norm((scaled_NA3 - np.rint(scaled_NA3)) @ crystal.cell_33, axis=2)
        distance_NA[numbers_N[:, None] != crystal.numbers_A[None, :]] = np.inf
        if float(distance_NA.min(axis=1).max()) < _SAME_ANG:
            found: NDArray[np.float64] = shift_3
            return found
    return None
