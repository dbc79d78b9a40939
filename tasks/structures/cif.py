"""Structures as CIF text, and back.

The text is written from the numbers alone, so equal structures are equal text. Tags and fixed atoms
have no place in a CIF and are lost.
"""

import warnings
from collections.abc import Sequence

from ase import Atoms
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser, CifWriter

from tasks.errors import UserError

_DIGITS = 8  # of fractional coordinates: 1e-7 Å


def cif_text(atoms: Atoms, notes: Sequence[str] = ()) -> str:
    """Return a periodic structure as CIF in P1; ``notes`` become comments on its first lines."""
    for note in notes:
        if "\n" in note:
            raise UserError(f"a note of a CIF is one line, got {note!r}")
    structure = Structure(
        Lattice(atoms.cell.array),
        atoms.get_chemical_symbols(),
        atoms.positions,
        coords_are_cartesian=True,
        to_unit_cell=True,
    )
    body = str(CifWriter(structure, significant_figures=_DIGITS))
    return "".join(f"# {note}\n" for note in notes) + body


def read_cif(text: str) -> Atoms:
    """Return the structure of a CIF with one block, as it is written: nothing is made primitive.

    Raises:
        UserError: the text is not one readable structure.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on rounding of 0.3333 to 1/3, which is meant
            structures = CifParser.from_str(text).parse_structures(primitive=False)
    except Exception as error:  # parsers raise anything on a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"the CIF cannot be read: {lines[0]}") from error
    if len(structures) != 1:
        raise UserError(f"a CIF of an adslab holds one structure, got {len(structures)}")
    atoms = AseAtomsAdaptor.get_atoms(structures[0], msonable=False)
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
