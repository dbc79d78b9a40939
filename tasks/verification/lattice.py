"""The lattice constant of a level of theory, and the file that keeps a crystal at it.

A level's lattice constant is the size at which a crystal has its least energy there; slabs of
another size are strained, which shifts adsorption energies. ``bulks: {structures: ...}`` of a
campaign reads the file back. It is extended XYZ, whose comment says which level and engine computed
it and from which crystal.

Units   Å, Å³, eV; in a file, of the cell in the file.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.eos import EquationOfState
from ase.io import read, write

from model.files import new_file
from tasks.enumeration import Bulk, primitive_cell
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.verification.engines import Engine
from tasks.verification.inputs.sampling import as_crystal
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook

_STEP = 0.01  # of length, between two sizes: five of them reach over 12 % of volume
_REACH = 2  # steps to either side of the middle
_SHIFTS = 3


@dataclass(frozen=True)
class Equilibrium:
    """A crystal at its least energy: ``stretch`` is its length over that of the start.

    ``energy_ev`` and ``points`` (volume in Å³, energy in eV) are of the primitive cell with
    ``atoms`` atoms; ``version`` is the engine's.
    """

    stretch: float
    energy_ev: float
    atoms: int
    points: tuple[tuple[float, float], ...]
    version: str


def require_crystals(engine: Engine) -> None:
    """Refuse an engine that has no energy of a crystal in any size."""
    if not engine.computes_crystals:
        raise UserError(
            f"a lattice constant needs energies of crystals, engine {engine.name} knows those of "
            "adslabs alone; choose a level of another engine"
        )


def equilibrium(crystal: Atoms, level: LevelOfTheory, engine: Engine) -> Equilibrium:
    """Return where ``crystal`` has its least energy when all its lengths change alike.

    Five sizes, one per cent apart in length, are fitted by the equation of state of Birch and
    Murnaghan (Birch 1947); they move along where the lowest energy is at their border. The shape
    and the fractional coordinates stay.

    Args:
        crystal: Any cell of it; its primitive cell is computed.
        level: Level of theory, whose k-points stay those of the start at all sizes.
        engine: The level's engine.

    Returns:
        The stretch of all lengths, the energy (eV) there and the five points of the fit.

    Raises:
        UserError: the engine knows no crystals, or has no minimum of energy near this size.
        EngineError: there is no energy.
    """
    require_crystals(engine)
    cell, book = primitive_cell(crystal), Logbook()
    energies_ev: dict[int, float] = {}  # by steps from the start
    middle = 0
    for _ in range(1 + _SHIFTS):
        window = range(middle - _REACH, middle + _REACH + 1)
        for step in window:
            if step not in energies_ev:
                energies_ev[step] = _energy_ev(cell, 1 + _STEP * step, level, engine, book)
        middle = min(window, key=lambda step: energies_ev[step])
        if middle not in (window[0], window[-1]):
            points = tuple((_volume(cell, step), energies_ev[step]) for step in window)
            fitted = _minimum(points)
            if fitted is None:
                break
            stretch = (fitted[0] / float(cell.cell.volume)) ** (1 / 3)
            version = book.versions.get(engine.name, "")
            return Equilibrium(stretch, fitted[1], len(cell), points, version)
    raise UserError(
        f"a crystal needs a size of least energy, {cell.symbols} at level {level.name} has none "
        f"from {100 * _STEP * min(energies_ev):+.0f} to {100 * _STEP * max(energies_ev):+.0f} % in "
        "length; give a structure file of about the right size"
    )


def _energy_ev(
    cell: Atoms, factor: float, level: LevelOfTheory, engine: Engine, book: Logbook
) -> float:
    sized = as_crystal(cell)
    sized.set_cell(cell.cell.array * factor, scale_atoms=True)
    sized.set_constraint(FixAtoms(range(len(sized))))  # energies alone are asked for
    return compute(sized, _same_mesh(level, factor), engine, "single_point", book).energy_ev


def _same_mesh(level: LevelOfTheory, factor: float) -> LevelOfTheory:
    """Return the level with the k-points that the start has: one more would move the minimum."""
    stated = level.require_calculation()
    if stated.kpoints is None:
        return level
    kpoints = replace(stated.kpoints, length_ang=stated.kpoints.length_ang * factor)
    return replace(level, calculation=replace(stated, kpoints=kpoints))


def _volume(cell: Atoms, step: int) -> float:
    return float(cell.cell.volume) * (1 + _STEP * step) ** 3


def _minimum(points: tuple[tuple[float, float], ...]) -> tuple[float, float] | None:
    """Return the volume (Å³) and the energy (eV) at the minimum of a fitted curve, or None."""
    volumes, energies_ev = zip(*points, strict=True)
    curve = EquationOfState(volumes, energies_ev, eos="birchmurnaghan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scipy, about fits; what comes of them is looked at
        try:
            volume, energy_ev, stiffness = (float(value) for value in curve.fit(warn=False))
        except RuntimeError:  # scipy gives up
            return None
    found = volumes[0] < volume < volumes[-1] and stiffness > 0
    return (volume, energy_ev) if found else None


def crystal_file(bulk: Bulk, folder: Path) -> Path:
    """Return where the crystal that ``bulk`` becomes is kept."""
    return folder / f"{bulk.formula}-{bulk.bulk_id[:12]}.extxyz"


def write_crystal(
    file: Path, bulk: Bulk, level: LevelOfTheory, engine: Engine, found: Equilibrium
) -> None:
    """Write ``bulk`` at the size that was found; a kill leaves no half-written file.

    Args:
        file: From ``crystal_file``; its folder is made.
        bulk: The crystal that the size was computed for.
        level: Level of theory, by which ``kept_stretch`` recognises the file.
        engine: Named with its version in the file.
        found: The minimum; its volumes and energies are scaled to the cell in the file.
    """
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
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with new_file(file) as fresh:
        write(fresh, crystal, format="extxyz")


def kept_stretch(file: Path, bulk: Bulk, level: LevelOfTheory) -> float | None:
    """Return the stretch of a crystal that was computed before, or None where there is none.

    Args:
        file: From ``crystal_file``.
        bulk: The crystal that the file must have started from.
        level: The level that it must have been computed at.

    Returns:
        The factor of all three cell vectors.

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
