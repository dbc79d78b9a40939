"""Read an adslab from a file, check it, and make the configuration that a model reads.

Shapes  N atoms.
Units   Å.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core.composition import Composition

from model.contract import ADSORBATE_TAG, BondRule, Configuration
from tasks.enumeration import Miller
from tasks.enumeration.custom.clean_slab import tags_are_layers
from tasks.enumeration.plane_of_slab import PlaneFit, plane_fits
from tasks.errors import UserError
from tasks.prediction.adslab_checks import (
    require_angstrom,
    require_clean_slab,
    require_contact,
    require_species,
)
from tasks.prediction.atom_order import in_campaign_order
from tasks.prediction.featurise import configuration_text
from tasks.structures.contacts import find_adsorbate
from tasks.structures.files.structure_files import read_structure
from tasks.structures.formulas import formula_counts
from tasks.structures.standard_frame import standard_frame
from tasks.structures.vacuum import vacuum_along_c


@dataclass(frozen=True)
class AdslabDescription:
    """Facts that a structure file lacks: the adsorbate, the surface and, if need be, the bulk."""

    adsorbate: str
    miller: Miller
    bulk: str = ""  # the slab's own formula where empty


def adslab_from_file(file: Path, adsorbate: str) -> Atoms:
    """Return the adslab of a structure file in the standard frame, atoms in campaigns' order.

    Tags of 2 in the file say which atoms are the adsorbate; without any it is searched by formula,
    and so it is where the tags count layers, as ASE's slab builders write them.

    Args:
        file: A CIF or any format that ASE reads, positions in Å, vacuum along any cell vector.
        adsorbate: The formula of the adsorbate.

    Returns:
        The adslab with tags 0 bulk, 1 surface and 2 adsorbate, the adsorbate on top.

    Raises:
        UserError: the file cannot be read, does not hold that adsorbate once on a clean slab, or
            holds it where no placement of a campaign would be.
    """
    if not adsorbate:
        raise UserError("an adslab's adsorbate is named by its formula: give --adsorbate CO")
    return adslab_from_atoms(_read(file), adsorbate)


def adslab_from_atoms(atoms: Atoms, adsorbate: str) -> Atoms:
    """Return what ``adslab_from_file`` does of a structure that is read already.

    Raises:
        UserError: it does not hold that adsorbate once on a clean slab, or where no placement is.
    """
    require_angstrom(atoms)
    atoms = vacuum_along_c(atoms)
    tags_N = np.zeros(len(atoms), dtype=np.int64)
    tags_N[_adsorbate_atoms(atoms, adsorbate)] = ADSORBATE_TAG
    atoms.set_tags(tags_N)
    adslab = in_campaign_order(standard_frame(atoms, ADSORBATE_TAG), adsorbate)
    require_species(adslab, adsorbate)
    require_clean_slab(adslab, adsorbate)
    require_contact(adslab, adsorbate)
    return adslab


def slab_miller(
    adslab: Atoms, stated: Miller | None, *, has_four: bool = False
) -> tuple[Miller, str]:
    """Return the Miller index that texts name, and a note where it was not checked.

    Args:
        adslab: An adslab in the standard frame, tags 0, 1 and 2.
        stated: The index as it was given; None where the slab tells it.
        has_four: Whether it was given as four numbers, as of a hexagonal cell.

    Returns:
        Of all indices that symmetry makes equal, the one that an enumeration gives its slabs.

    Raises:
        UserError: the slab shows another plane, or cannot tell and nothing is stated.
    """
    fits = plane_fits(adslab[adslab.get_tags() != ADSORBATE_TAG])
    if stated is None:
        return _told_by_slab(fits), ""
    if not fits:
        return stated, (
            f"the index {_word(stated)} is taken as given: the plane cannot be told from this slab"
        )
    if has_four and not any(fit.is_hexagonal for fit in fits):
        raise UserError(
            f"four Miller indices count by a hexagonal cell; this slab is of {fits[0].crystal}: "
            "give three"
        )
    for fit in fits:
        if fit.holds(stated):
            return fit.preferred(), ""
    found = list(dict.fromkeys(_word(fit.preferred()) for fit in fits))
    raise UserError(
        f"the Miller index is that of the slab's plane: this slab is {found[0]} of "
        f"{fits[0].crystal}, got {_word(stated)}; leave --miller out, or give the slab's own"
    )


def _told_by_slab(fits: Sequence[PlaneFit]) -> Miller:
    found = list(dict.fromkeys(fit.preferred() for fit in fits))
    if len(found) == 1:
        return found[0]
    reason = "it can be " + " or ".join(map(_word, found)) if found else "its plane cannot be told"
    raise UserError(f"this slab needs its Miller index, {reason}: give --miller '1 1 1'")


def _word(miller: Miller) -> str:
    return "(" + " ".join(map(str, miller)) + ")"


def adslab_configuration(
    adslab: Atoms, named: AdslabDescription, level: str, name: str, rule: BondRule
) -> Configuration:
    """Return the configuration of a tagged adslab at one level of theory.

    Args:
        adslab: Positions in Å, tags 0 bulk, 1 surface and 2 adsorbate.
        named: The adsorbate, the Miller index and, where it is not the slab's formula, the bulk.
        level: The name of the level of theory.
        name: The id that predictions carry.
        rule: Who touches whom, as the checkpoint's texts have it.

    Returns:
        The text, the atoms and the level.

    Example:
        >>> from ase.build import add_adsorbate, fcc111
        >>> from model.prediction.predictor import load_predictor
        >>> adslab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
        >>> add_adsorbate(adslab, "O", 1.2, "fcc")
        >>> adslab.set_tags([0] * 8 + [1] * 4 + [2])
        >>> oxygen = AdslabDescription("O", (1, 1, 1))
        >>> baseline = load_predictor("baseline")
        >>> name, rule = "O on Cu(111)", baseline.bond_rule
        >>> configuration = adslab_configuration(adslab, oxygen, "emt", name, rule)
        >>> (prediction,) = baseline.predict([configuration])
        >>> prediction.candidate_id, prediction.in_domain, round(prediction.energy_ev, 1)
        ('O on Cu(111)', True, -0.8)
    """
    slab = adslab[adslab.get_tags() != ADSORBATE_TAG]
    bulk = named.bulk or str(Composition(slab.get_chemical_formula()).reduced_formula)
    text = configuration_text(adslab, named.adsorbate, bulk, named.miller, rule)
    return Configuration.from_atoms(adslab, candidate_id=name, level=level, text=text)


def _adsorbate_atoms(atoms: Atoms, adsorbate: str) -> NDArray[np.int64]:
    """Return the atoms of tag 2, where these are the adsorbate, or else those that fit."""
    tags_N = atoms.get_tags()
    tagged = np.flatnonzero(tags_N == ADSORBATE_TAG)
    if not len(tagged):
        return np.array(find_adsorbate(atoms, adsorbate))
    counts = atoms[tagged].symbols.formula.count()
    if counts == formula_counts(adsorbate):
        return tagged
    if tags_are_layers(atoms):
        return np.array(find_adsorbate(atoms, adsorbate))
    raise UserError(
        f"atoms of tag {ADSORBATE_TAG} are the adsorbate {adsorbate}; here they are "
        f"{atoms[tagged].get_chemical_formula()}: tag the adsorbate's atoms alone with it, or set "
        "all tags to 0 to have it found"
    )


def _read(file: Path) -> Atoms:
    if not file.is_file():
        raise UserError(f"a structure is read from a file, got {file}, which is none")
    try:
        return read_structure(file)
    except UserError as error:
        raise UserError(f"{file} cannot be read as a structure: {error}") from error
