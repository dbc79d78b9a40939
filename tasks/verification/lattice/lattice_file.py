"""A crystal at a level's lattice constant as a file that ``bulks: {structures: ...}`` reads back.

Extended XYZ, whose comment says what it was computed with and from which crystal. Units: Å, Å³, eV,
of the cell in the file.
"""

from pathlib import Path

import numpy as np
from ase.io import read, write

from tasks.enumeration.bulks import CONVENTIONAL, Bulk
from tasks.errors import UserError
from tasks.levels.theory import LevelOfTheory
from tasks.verification.engines import Engine
from tasks.verification.lattice.lattice import Equilibrium


def crystal_file(bulk: Bulk, folder: Path) -> Path:
    """Return where the crystal that ``bulk`` becomes is kept."""
    return folder / f"{bulk.formula}-{bulk.bulk_id[:12]}.extxyz"


def write_crystal(
    file: Path, bulk: Bulk, level: LevelOfTheory, engine: Engine, found: Equilibrium
) -> None:
    """Write ``bulk`` at the size that was found, at once or not at all."""
    crystal = bulk.atoms.copy()
    crystal.set_cell(crystal.cell.array * found.stretch, scale_atoms=True)
    cells = len(crystal) / found.atoms
    volumes_V, energies_V = cells * np.array(found.points).T
    crystal.info = {
        "level": level.name,
        "level_hash": level.level_hash,
        "engine": f"{engine.name} {found.version or engine.version()}".strip(),
        "energy_ev": cells * found.energy_ev,
        "computed_volumes_ang3": volumes_V,
        "computed_energies_ev": energies_V,
        "start_bulk": bulk.bulk_id,
        "stretch": found.stretch,
        CONVENTIONAL: True,  # Miller indices go on counting from the same cell
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    write(part, crystal, format="extxyz")
    part.replace(file)


def kept_stretch(file: Path, bulk: Bulk, level: LevelOfTheory) -> float | None:
    """Return the stretch of a crystal that was computed before, or None where there is none.

    Raises:
        UserError: the file is of another level or crystal, or of another making.
    """
    if not file.exists():
        return None
    try:
        (crystal,) = read(file, index=":", format="extxyz")
        info = crystal.info
        made = str(info["level"]), str(info["level_hash"]), str(info["start_bulk"])
        stretch = float(info["stretch"])
    except Exception as error:  # parsers raise anything on a file of another making
        raise UserError(
            f"{file} is in the way and was not written by sabatier lattice; move it, or choose "
            "another folder with --out"
        ) from error
    if made[1:] != (level.level_hash, bulk.bulk_id):
        raise UserError(
            f"a file of crystals is never overwritten by another level, {file} is of level "
            f"{made[0]} ({made[1][:8]}), asked for is {level.name} ({level.level_hash[:8]}); "
            "choose another folder with --out"
        )
    return stretch
