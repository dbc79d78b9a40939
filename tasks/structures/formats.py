"""Structures as text: CIF, and the JSON of the database.

Text is written from the numbers alone, so equal structures are equal text. Tags and fixed atoms are
kept by JSON; a CIF cannot hold them.

Units   positions and cell in Å. JSON is rounded to 1e-10: a structure that is read back must keep
        its id, whose grid of about 1e-3 Å is then missed once in 10^7 coordinates.
"""

import json
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifWriter

from tasks.errors import UserError
from tasks.structures.files.cif_blocks import UnreadStructure, read_cif_blocks
from tasks.structures.identity import fixed_mask

_CIF_DIGITS = 8  # of fractional coordinates: 1e-7 Å
_JSON_DECIMALS = 10


def read_cif(text: str) -> Atoms:
    """Return the structure of a CIF with one block, as it is written: nothing is made primitive.

    Raises:
        UserError: the text is not one readable structure.

    Example:
        >>> from ase.build import bulk
        >>> copper = read_cif(cif_text(bulk("Cu", cubic=True)))
        >>> copper.get_chemical_formula(), round(float(copper.cell.lengths()[0]), 2)
        ('Cu4', 3.61)
    """
    try:
        read = read_cif_blocks(text, keep_order=False)
    except UserError as error:
        raise UserError(f"the CIF cannot be read: {error}") from error
    if len(read) != 1:
        raise UserError(f"a CIF of an adslab holds one structure, got {len(read)}")
    if isinstance(read[0], UnreadStructure):
        raise UserError(f"the CIF cannot be read: {read[0].reason}")
    return read[0].atoms


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
    body = str(CifWriter(structure, significant_figures=_CIF_DIGITS))
    return "".join(f"# {note}\n" for note in notes) + body


def structure_text(atoms: Atoms) -> str:
    """Return species, cell, positions, tags and fixed atoms as JSON, as the database stores it."""
    parts = {
        "numbers": atoms.numbers.tolist(),
        "positions": _rounded(atoms.positions),
        "cell": _rounded(atoms.cell.array),
        "pbc": [bool(periodic) for periodic in atoms.pbc],
        "tags": atoms.get_tags().tolist(),
        "fixed": np.flatnonzero(fixed_mask(atoms)).tolist(),
    }
    return json.dumps(parts, separators=(",", ":"), allow_nan=False)


def structure_from_text(text: str) -> Atoms:
    """Return the structure that ``structure_text`` wrote."""
    try:
        parts = json.loads(text)
        fixed = parts.pop("fixed")
        atoms = Atoms(**parts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"a stored structure is JSON with numbers, positions, cell, pbc, tags and fixed; this "
            f"one cannot be read ({error}): it was changed or damaged; screen it again in a new "
            "database"
        ) from error
    if fixed:
        atoms.set_constraint(FixAtoms(indices=fixed))
    return atoms


def atoms_from_pymatgen(structure: Structure) -> Atoms:
    """Return an ordered crystal of pymatgen as atoms, without properties of its sites."""
    if not structure.is_ordered:
        raise UserError(
            "every site must hold one element; this crystal is disordered (partial occupancy): "
            "give an ordered approximant"
        )
    numbers = [site.specie.Z for site in structure]
    return Atoms(numbers, structure.cart_coords, cell=structure.lattice.matrix, pbc=True)


def _rounded(values: NDArray[np.float64]) -> list[list[float]]:
    rounded: list[list[float]] = (np.round(values, _JSON_DECIMALS) + 0.0).tolist()  # no -0.0
    return rounded
