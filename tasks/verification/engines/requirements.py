"""The requirements that engines have of a level of theory.

Each function refuses one kind of level and says how to change it. ``Engine.check_level`` calls
those that apply; ``require_version`` needs the installed program, so the registry calls it.
"""

import re
from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tasks.errors import UserError
from tasks.levels import Calculation, LevelOfTheory
from tasks.verification.engines.base import Engine
from tasks.verification.engines.failures import EngineError, FailureKind

DFT_SETTINGS = (
    *("basis", "kpoints", "smearing", "scf", "gas_vacuum_ang", "potentials", "spin", "dipole"),
    *("dispersion", "keywords"),
)
_DFT_PARTS = ("basis", "kpoints", "smearing", "scf", "gas_vacuum_ang")


def require_functional(engine: Engine, level: LevelOfTheory) -> None:
    """Refuse a functional that the engine's module does not translate."""
    if level.functional not in engine.functionals:
        raise UserError(
            f"engine {engine.name} computes {', '.join(sorted(engine.functionals))}; level "
            f"{level.name} states {level.functional}; change one of the two"
        )


def require_energy_key(engine: Engine, level: LevelOfTheory) -> None:
    """Refuse the extrapolated energy of a program whose calculator does not give it."""
    if level.require_calculation().energy_key == "energy" and not engine.extrapolates:
        raise UserError(
            f"{engine.name} gives the free energy alone, level {level.name} states energy_key: "
            "energy (extrapolated to zero smearing); write energy_key: free_energy"
        )


def require_version(engine: Engine, level: LevelOfTheory, version: str, kind: FailureKind) -> None:
    """Refuse a version of the program that the level excludes, as a failure of ``kind``."""
    policy = level.require_calculation().engine_version
    if not version_within(version, policy):
        raise EngineError(
            kind,
            f"level {level.name} is computed with {engine.name} {policy}, found "
            f"{version or 'no version in its output'}; install one of these, or make a "
            "level of your own with another engine_version",
        )


def require_settings(engine: Engine, level: LevelOfTheory, *more: str) -> None:
    """Refuse a level without the settings that each DFT program needs, or one of ``more``."""
    for name in (*_DFT_PARTS, *more):
        if getattr(level.require_calculation(), name) is None:
            raise UserError(
                f"engine {engine.name} needs {name}, which level {level.name} leaves out; state it"
            )


def require_all_read(engine: Engine, level: LevelOfTheory, *read: str) -> None:
    """Refuse settings that the engine does not read: a user would believe that they count."""
    unread = [name for name in _stated(level.require_calculation()) if name not in read]
    if unread:
        raise UserError(
            f"engine {engine.name} does not read {', '.join(unread)}, which level {level.name} "
            "states; leave it out"
        )


def _stated(calculation: Calculation) -> list[str]:
    """Return the settings that are stated and that some engines have and others have not."""
    basis, potentials = calculation.basis, calculation.potentials
    values: dict[str, object] = {
        **{name: getattr(calculation, name) for name in _DFT_PARTS},
        "basis.density_cutoff_ev": basis and basis.density_cutoff_ev,
        "basis.grid_ang": basis and basis.grid_ang,
        "basis.name": basis and basis.name,
        "potentials": potentials,
        "potentials.files": potentials and potentials.files,
        "potentials.kinds": potentials and potentials.kinds,
        "spin": calculation.spin.policy != "none",
        "dipole": calculation.dipole != "none",
        "dispersion": calculation.dispersion != "none",
        "keywords": calculation.keywords,
    }
    return [name for name, value in values.items() if value]


def require_dispersion(engine: Engine, level: LevelOfTheory, offered: Iterable[str]) -> None:
    """Refuse a dispersion correction that the engine's module does not translate."""
    kinds = ("none", *offered)
    if level.require_calculation().dispersion not in kinds:
        raise UserError(
            f"engine {engine.name} computes dispersion {', '.join(kinds)}; level {level.name} "
            f"states {level.require_calculation().dispersion}; change it"
        )


def require_free_keywords(engine: Engine, level: LevelOfTheory, taken: Iterable[str]) -> None:
    """Refuse keywords that other settings of the level set, or that let wrong energies pass."""
    clash = sorted({key.lower() for key in level.require_calculation().keywords} & set(taken))
    if clash:
        raise UserError(
            f"level {level.name}: keywords of {engine.name} must not be {', '.join(clash)}: they "
            "are set from what the level states, or would let wrong energies pass; remove them"
        )


def version_within(version: str, bounds: str) -> bool:
    """Return whether a version such as ``7.2`` lies in bounds such as ``>=6.7,<8``, or ``any``.

    Programs write more behind their numbers (``6.7MaX``, ``6.4.2.18Apr17``); the numbers alone are
    compared. A version that is not known lies in no bounds but ``any``.

    Raises:
        UserError: the bounds are no version specifiers.
    """
    if bounds == "any":
        return True
    try:
        specifiers = SpecifierSet(bounds)
    except InvalidSpecifier:
        specifiers = SpecifierSet()
    if not specifiers:
        raise UserError(f"an engine version is any, or bounds such as >=26.7,<27; got {bounds!r}")
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return numbers is not None and numbers[0] in specifiers
