"""Structures as JSON text, the form in which the screening database stores them.

Units   positions and cell in Å, rounded to 1e-10: a structure that is read back must keep its id,
        whose grid of about 1e-3 Å is then missed once in 10^7 coordinates.
"""

import json

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.structures.identity import fixed_mask

_DECIMALS = 10


def structure_text(atoms: Atoms) -> str:
    """Return species, cell, positions, tags and fixed atoms; equal structures are equal text."""
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


def _rounded(values: np.ndarray) -> list[list[float]]:
    rounded: list[list[float]] = (np.round(values, _DECIMALS) + 0.0).tolist()  # no -0.0
    return rounded
