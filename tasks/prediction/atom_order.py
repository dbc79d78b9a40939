"""Bring the atoms of an adslab from a file into the order in which a campaign has them.

Texts by the rule ``radii`` list contacts in the order of the atoms, so an answer would otherwise
depend on how a file was written.

Shapes  N slab atoms, A adsorbate atoms.
Units   Å.
"""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core.composition import Composition

from model.contract import ADSORBATE_TAG
from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.structures.orientation import species_colours
from tasks.structures.standard_frame import joined_adsorbate

_ROW_ANG = 0.01  # atoms nearer than this along a lattice vector are in one row
_LAYER_ANG = 1e-3
_OFF_GRID = 0.37  # of a step: no high-symmetry position lies on the border of two


def in_campaign_order(adslab: Atoms, adsorbate_name: str) -> Atoms:
    """Return an adslab with its atoms in an order that does not depend on the one they came in.

    Slab atoms come first: by element as the slab's formula has them, from the surface down, by the
    lattice vector a, then b. Atoms of the adsorbate have the order of the stored species, those
    that are alike in it the order of slab atoms.

    Args:
        adslab: In the standard frame, the adsorbate with tag 2.
        adsorbate_name: Its name or formula; one that is not stored is ordered by its bonds.

    Returns:
        The same atoms, tags and constraints in another order.
    """
    is_adsorbate_N = adslab.get_tags() == ADSORBATE_TAG
    slab, species = adslab[~is_adsorbate_N], adslab[is_adsorbate_N]
    formula = Composition(slab.get_chemical_formula()).reduced_formula
    elements = [element.symbol for element in Composition(formula)]
    rank_N = np.array([elements.index(symbol) for symbol in slab.get_chemical_symbols()])
    in_slab = np.flatnonzero(~is_adsorbate_N)[np.lexsort((*_from_top(slab), rank_N))]
    in_species = np.flatnonzero(is_adsorbate_N)[_species_order(species, adsorbate_name)]
    ordered: Atoms = adslab[np.concatenate([in_slab, in_species])]
    return ordered


def _from_top(atoms: Atoms) -> tuple[NDArray[np.float64], ...]:
    """Return sort keys, the last one first: depth, row along a, place along b."""
    scaled_N2 = np.linalg.solve(atoms.cell.array[:2, :2].T, atoms.positions[:, :2].T).T
    a_N, b_N = ((scaled_N2 + 1e-6) % 1.0 * np.linalg.norm(atoms.cell.array[:2], axis=1)).T
    row_N = np.floor(a_N / _ROW_ANG + _OFF_GRID)
    depth_N = -np.floor(atoms.positions[:, 2] / _LAYER_ANG + _OFF_GRID)
    return b_N, row_N, depth_N


def _species_order(species: Atoms, name: str) -> NDArray[np.int64]:
    colours = species_colours(Atoms(species.numbers, joined_adsorbate(species)))
    try:
        wanted = species_colours(adsorbate(name).atoms)
    except UserError:
        wanted = []
    if sorted(wanted) != sorted(colours):  # no stored species, or one that has rearranged
        wanted = sorted(colours)
    order = np.lexsort(_from_top(species)).tolist()
    found: list[int] = []
    for colour in wanted:
        found.append(next(a for a in order if colours[a] == colour and a not in found))
    return np.array(found, dtype=np.int64)
