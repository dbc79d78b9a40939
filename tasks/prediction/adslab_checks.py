"""Check an adslab from a file by the rules that a campaign has for its own placements.

The same overlap, depth, image, vacuum and contact rules hold, by the same code; a relaxed adsorbate
may only be a little farther from the surface. Beyond them, lengths must be in Å, the adsorbate must
have the bonds of the species that it is called by, and the slab must be clean by the rule that a
campaign's slabs from files pass.

Shapes  N slab atoms, A adsorbate atoms, B bonds (each listed from both ends).
Units   Å.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from model.contract import ADSORBATE_TAG
from tasks.enumeration import (
    ALIASES,
    OVERLAP_FACTOR,
    Adsorbate,
    Placement,
    Site,
    Slab,
    adsorbate,
    adsorbate_names,
    refusal_reasons,
)
from tasks.enumeration.custom.clean_slab import foreign_elements, require_no_overlap
from tasks.enumeration.landscape import landscape
from tasks.errors import UserError
from tasks.structures.formulas import formula_counts
from tasks.structures.orientation import is_connected, is_same_species, molecule_bonds
from tasks.structures.standard_frame import joined_adsorbate

_RELAXED_CONTACT_ANG = 0.4  # a relaxed bond may be so much longer than one of a placement
_SHORT, _LONG = 0.6, 1.4  # of r_i + r_j: the nearest neighbours of no solid lie outside
_NM = 0.2  # lengths in nm are ten times too short


def require_angstrom(atoms: Atoms) -> None:
    """Check that the distances of a structure are those of matter in Å.

    Raises:
        UserError: most atoms have their nearest neighbour much nearer or farther than a bond.
    """
    radii_N = covalent_radii[atoms.numbers]
    i_B, j_B, length_B = neighbor_list("ijd", atoms, _LONG * radii_N)
    nearest_N = np.full(len(atoms), np.inf)
    np.minimum.at(nearest_N, i_B, length_B / (radii_N[i_B] + radii_N[j_B]))
    usual = float(np.median(nearest_N))
    if _SHORT <= usual <= _LONG:
        return
    found = f"{usual:.2f}" if np.isfinite(usual) else "more"
    unit = "in Bohr (0.529 Å)" if usual > _LONG else "in nm" if usual < _NM else "scaled"
    raise UserError(
        f"lengths are in Å: most atoms have a neighbour at {_SHORT:g} to {_LONG:g} of the sum of "
        f"their radii, here at {found}, as if the file were {unit}; write it in Å"
    )


def require_species(adslab: Atoms, name: str) -> None:
    """Check that the atoms of tag 2 are bonded as the adsorbate that they are called.

    Args:
        adslab: Positions in Å, tags 0 bulk, 1 surface and 2 adsorbate.
        name: The name or formula of the adsorbate.

    Raises:
        UserError: they are other atoms, in pieces, too near each other, or another isomer.
    """
    chosen = adslab[adslab.get_tags() == ADSORBATE_TAG]
    molecule = Atoms(chosen.numbers, joined_adsorbate(chosen))
    found = molecule.get_chemical_formula()
    counts = molecule.symbols.formula.count()
    if counts != formula_counts(name):
        raise UserError(
            f"an adslab carries the adsorbate that is named, {name}; it is {found} here"
        )
    apart_AA = np.linalg.norm(molecule.positions[:, None] - molecule.positions[None], axis=2)
    np.fill_diagonal(apart_AA, np.inf)
    radii_A = covalent_radii[molecule.numbers]
    nearest = float((apart_AA / (radii_A[:, None] + radii_A[None])).min())
    if nearest < OVERLAP_FACTOR:
        raise UserError(
            f"atoms of the adsorbate overlap: two of {name} are at {nearest:.2f} of the sum of "
            f"their radii, at least {OVERLAP_FACTOR:g} allowed"
        )
    if not is_connected(molecule):
        raise UserError(
            f"an adsorbate is one molecule: the atoms of {name} do not hang together, so it has "
            "dissociated; name and predict its parts"
        )
    if ALIASES.get(name, name) in adsorbate_names():
        known = adsorbate(name).atoms
        if not is_same_species(molecule, known):
            raise UserError(
                f"the bonds of an adsorbate are those of its species: {name} has "
                f"{_bond_words(known)}; here they are {_bond_words(molecule)}"
            )


def require_contact(adslab: Atoms, name: str) -> None:
    """Check an adslab in the standard frame by the rules that a campaign's placements pass.

    Raises:
        UserError: atoms overlap, or the adsorbate is below the surface, above all contact, bonded
            to its image or near the next slab.
    """
    is_adsorbate_N = adslab.get_tags() == ADSORBATE_TAG
    slab = Slab("", "", "", (0, 0, 1), 0.0, "top", adslab[~is_adsorbate_N])
    require_no_overlap(slab.atoms)
    ground = landscape(slab)
    chosen = adslab[is_adsorbate_N]
    positions_A3 = joined_adsorbate(chosen)
    species = Adsorbate(name, chosen.get_chemical_formula(), chosen, ())
    x, y, _ = positions_A3.mean(axis=0).tolist()
    placement = Placement(Site("random", (), (x, y, ground.floor_ang)), 0.0)
    (reason,) = refusal_reasons(
        slab, ground, species, [placement], positions_A3[None], _RELAXED_CONTACT_ANG
    )
    if reason:
        raise UserError(reason)


def require_clean_slab(adslab: Atoms, name: str) -> None:
    """Check that nothing but the named adsorbate lies on either side of the slab.

    Raises:
        UserError: an element occurs on the outside of the slab only, or too seldom inside.
    """
    slab = adslab[adslab.get_tags() != ADSORBATE_TAG]
    foreign = foreign_elements(slab)
    if not foreign:
        return
    counts = slab.symbols.formula.count()
    others = ", ".join(f"{counts[symbol]} {symbol}" for symbol in foreign)
    host = slab[~np.isin(slab.get_chemical_symbols(), foreign)].get_chemical_formula()
    raise UserError(
        f"a slab under {name} is clean, its other side too: {others} on this {host} is another "
        "adsorbate, as no such atoms are inside; remove it, the model knows one adsorbate at a time"
    )


def _bond_words(molecule: Atoms) -> str:
    """Return the bonds of a molecule by elements: ``C-H, C-O``."""
    symbols = molecule.get_chemical_symbols()
    pairs = ["-".join(sorted((symbols[i], symbols[j]))) for i, j in molecule_bonds(molecule)]
    counted = {pair: pairs.count(pair) for pair in sorted(pairs)}
    words = [f"{count} {pair}" if count > 1 else pair for pair, count in counted.items()]
    return ", ".join(words) or "no bond"
