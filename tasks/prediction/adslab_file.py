"""Read an adslab that somebody else made, and write it as a model reads it.

Units   Å.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pymatgen.core.composition import Composition

from model.contract import ADSORBATE_TAG, Configuration
from tasks.errors import UserError
from tasks.prediction.featurise import configuration_text
from tasks.structures.contacts import find_adsorbate
from tasks.structures.distances import check_distances
from tasks.structures.standard_frame import standard_frame
from tasks.structures.structure_files import read_structure


@dataclass(frozen=True)
class AdslabDescription:
    """Facts that a structure file lacks: the adsorbate, the surface and, if need be, the bulk."""

    adsorbate: str
    miller: tuple[int, int, int]
    bulk: str = ""  # the slab's own formula where empty


def adslab_from_file(file: Path, adsorbate: str) -> Atoms:
    """Return the adslab of a structure file in the standard frame.

    Tags of 2 in the file say which atoms are the adsorbate; without any it is searched by formula.

    Args:
        file: A CIF or any format that ASE reads, positions in Å.
        adsorbate: The formula of the adsorbate.

    Returns:
        The adslab with tags 0 bulk, 1 surface and 2 adsorbate.

    Raises:
        UserError: the file cannot be read, or does not hold that adsorbate once, on a slab.
    """
    atoms = _read(file)
    tags_N = np.zeros(len(atoms), dtype=np.int64)
    if (atoms.get_tags() == ADSORBATE_TAG).any():
        tags_N[atoms.get_tags() == ADSORBATE_TAG] = ADSORBATE_TAG
    else:
        tags_N[list(find_adsorbate(atoms, adsorbate))] = ADSORBATE_TAG
    atoms.set_tags(tags_N)
    return standard_frame(atoms, ADSORBATE_TAG)


def adslab_configuration(
    adslab: Atoms, named: AdslabDescription, level: str, name: str
) -> Configuration:
    """Return the configuration of a tagged adslab at one level of theory.

    Example:
        >>> from ase.build import add_adsorbate, fcc111
        >>> from model.prediction.predictor import load_predictor
        >>> adslab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
        >>> add_adsorbate(adslab, "O", 1.2, "fcc")
        >>> adslab.set_tags([0] * 8 + [1] * 4 + [2])
        >>> oxygen = AdslabDescription("O", (1, 1, 1))
        >>> configuration = adslab_configuration(adslab, oxygen, "emt", "O on Cu(111)")
        >>> (prediction,) = load_predictor("baseline").predict([configuration])
        >>> prediction.candidate_id, prediction.in_domain, round(prediction.energy_ev, 1)
        ('O on Cu(111)', True, -0.8)
    """
    slab = adslab[adslab.get_tags() != ADSORBATE_TAG]
    bulk = named.bulk or str(Composition(slab.get_chemical_formula()).reduced_formula)
    text = configuration_text(adslab, named.adsorbate, bulk, named.miller)
    return Configuration.from_atoms(adslab, candidate_id=name, level=level, text=text)


def _read(file: Path) -> Atoms:
    if not file.is_file():
        raise UserError(f"a structure is read from a file, got {file}, which is none")
    try:
        atoms = read_structure(file)
        check_distances(atoms)
    except UserError as error:
        raise UserError(f"{file} cannot be read as a structure: {error}") from error
    if not atoms.pbc[:2].all():
        raise UserError(f"an adslab is periodic in its plane; {file} holds another structure")
    return atoms
