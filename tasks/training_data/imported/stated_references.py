"""What an import says of its energies: their kind, their gas molecules, and that they are in eV.

Units   eV.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.errors import UserError
from tasks.levels import LevelOfTheory

EnergyKind = Literal["total", "adsorption"]
_MOLECULE_ITSELF = ("molecule", "the gas molecule itself")
_HYDROGEN = {"Hartree": (-1.20, -1.12), "Ry": (-2.40, -2.24)}  # H2 of any functional and code


@dataclass(frozen=True)
class StatedReferences:
    """What an import says of its energies: total, with gas energies (eV) by molecule, or not.

    ``molecules`` are those that adsorption energies are counted from: ``CO, H2O, H2``.
    """

    energies: EnergyKind
    gases_ev: Mapping[str, float] = field(default_factory=dict)
    molecules: str = ""


def require_references_of(level: LevelOfTheory, stated: StatedReferences) -> frozenset[str]:
    """Return the molecules that adsorption energies state, which must be those of the level.

    Args:
        level: The level of theory that the labels are imported at.
        stated: What the import says of its energies.

    Returns:
        The stated molecules; none where the gas energies are subtracted here.

    Raises:
        UserError: none are stated, others are, or total energies state molecules.
    """
    own = level.reference
    if stated.energies == "total":
        if stated.molecules:
            raise UserError(
                "--reference says what adsorption energies are counted from; of total energies "
                "give the gas energies instead: --gas H2=-6.77, or --gases FILE"
            )
        return frozenset()
    if not stated.molecules:
        raise UserError(
            "adsorption energies state what they are counted from: give --reference "
            f"'{own.label if own.gases else _MOLECULE_ITSELF[0]}', if it is so"
        )
    if own.kind == "molecule" or stated.molecules in _MOLECULE_ITSELF:
        if own.kind == "molecule" and stated.molecules in _MOLECULE_ITSELF:
            return frozenset()
        raise _other_reference(level, stated.molecules)
    molecules = frozenset(re.split(r"[,;\s]+", stated.molecules.strip()))
    if not molecules <= set(own.gases):
        raise _other_reference(level, stated.molecules)
    return molecules


def _other_reference(level: LevelOfTheory, stated: str) -> UserError:
    return UserError(
        f"energies of two references never meet: {level.name} counts from "
        f"{level.reference.label}, the import from {stated}; import total energies with the gas "
        "energies, or at a level of your own with these references"
    )


def require_ev(gases_ev: Mapping[str, float]) -> None:
    """Refuse total energies in another unit, which H2 tells: their labels would look right."""
    energy = gases_ev.get("H2", 0.0)
    for unit, (lowest, highest) in _HYDROGEN.items():
        if lowest <= energy <= highest:
            raise UserError(
                f"energies are in eV, and {energy:.4f} is that of H2 in {unit}: convert all of "
                "this import (1 Hartree = 2 Ry = 27.2114 eV)"
            )
