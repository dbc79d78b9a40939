"""Whether a slab from a file is clean, and whether its tags count layers.

A non-metal or an alkali metal that only lies on the outside of a slab is an adsorbate, since an
oxide, a nitride or a hydride has some of it inside.

Shapes  N slab atoms, B bonds (each listed from both ends).
Units   Å.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from tasks.enumeration.docking import OVERLAP_FACTOR
from tasks.errors import UserError
from tasks.structures.vacuum import heights_over_vacuum

_BOND_FACTOR = 1.25  # of r_i + r_j, as within molecules
_FOREIGN = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
_ALKALI = ("Li", "Na", "K", "Rb", "Cs")
_SURROUNDED = 0.4  # mean of the unit vectors to the neighbours: 0 inside, 0.6 in a hollow on top
_INSIDE_ANG = 2.5  # below the highest and above the lowest atom of the others: no step is as deep
_DISSOLVED = 0.1  # of the metal atoms: fewer non-metal atoms inside make no compound


def foreign_elements(slab: Atoms) -> list[str]:
    """Return the elements of a slab, c along z, that are an adsorbate on it, sorted.

    They occur on the outside of the slab only, on either side, or too seldom inside.
    """
    counts = slab.symbols.formula.count()
    most = max(counts, key=lambda symbol: counts[symbol])
    return [
        symbol
        for symbol in sorted(counts)
        if symbol in _FOREIGN + _ALKALI and symbol != most and not _is_of_crystal(slab, symbol)
    ]


def _is_of_crystal(slab: Atoms, symbol: str) -> bool:
    """Return whether an element is part of the slab's crystal: somewhere inside, or at all others.

    The last holds for one layer of a compound, such as MoS2.
    """
    is_symbol_N = np.asarray(slab.symbols == symbol)
    height_N = slab.positions[:, 2]
    others = height_N[~is_symbol_N]
    deep_N = (height_N > others.min() + _INSIDE_ANG) & (height_N < others.max() - _INSIDE_ANG)
    i_B, j_B, vector_B3 = neighbor_list("ijD", slab, _BOND_FACTOR * covalent_radii[slab.numbers])
    kept_B = is_symbol_N[i_B] & ~is_symbol_N[j_B]
    i_B, j_B, vector_B3 = i_B[kept_B], j_B[kept_B], vector_B3[kept_B]
    unit_B3 = vector_B3 / np.linalg.norm(vector_B3, axis=1)[:, None]
    sum_N3 = np.zeros((len(slab), 3))
    np.add.at(sum_N3, i_B, unit_B3)
    bonds_N = np.bincount(i_B, minlength=len(slab))
    mean_N = np.linalg.norm(sum_N3, axis=1) / np.maximum(bonds_N, 1)
    inside_N = is_symbol_N & (deep_N | ((bonds_N > 1) & (mean_N < _SURROUNDED)))
    metals = int((~np.isin(slab.get_chemical_symbols(), _FOREIGN)).sum())
    if symbol in _FOREIGN and is_symbol_N.sum() < _DISSOLVED * metals:
        return False
    covered = len(set(j_B.tolist())) == int((~is_symbol_N).sum())
    return bool(inside_N.any()) or covered


def require_no_overlap(slab: Atoms) -> None:
    """Check that no two atoms of a slab are nearer than a placement's may be to it.

    Raises:
        UserError: two are.
    """
    radii_N = covalent_radii[slab.numbers]
    i_B, j_B, length_B = neighbor_list("ijd", slab, OVERLAP_FACTOR * radii_N)
    if len(length_B):
        worst = int(np.argmin(length_B / (radii_N[i_B] + radii_N[j_B])))
        ratio = float(length_B[worst] / (radii_N[i_B] + radii_N[j_B])[worst])
        raise UserError(
            f"atoms of the slab overlap: {slab.symbols[i_B[worst]]} and "
            f"{slab.symbols[j_B[worst]]} at {ratio:.2f} of the sum of their radii, at least "
            f"{OVERLAP_FACTOR:g} allowed"
        )


def tags_are_layers(atoms: Atoms) -> bool:
    """Return whether tags from 1 up order atoms by height, as ASE's slab builders number layers."""
    tags_N, height_N = atoms.get_tags(), heights_over_vacuum(atoms)
    layers = [height_N[tags_N == tag] for tag in range(1, int(tags_N.max()) + 1)]
    if not all(map(len, layers)):
        return False
    steps = np.diff([float(layer.mean()) for layer in layers])
    return bool((steps < 0).all() or (steps > 0).all())
