"""Which engine computes a level of theory on this machine."""

from collections.abc import Mapping
from importlib import import_module

from ase.data import chemical_symbols

from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.verification.engines.base import Engine, EngineLocation
from tasks.verification.engines.failures import EngineError, FailureKind
from tasks.verification.engines.plugin import plugin, plugin_names
from tasks.verification.engines.requirements import require_version, version_within

EngineLocations = Mapping[str, EngineLocation]

# Where each built-in engine's class is. Calculators of ASE that some use import matplotlib: 1.5 s
# that only their users wait for.
_BUILT_IN = {
    "emt": "potentials.emt:EmtEngine",
    "gpaw": "dft.gpaw:GpawEngine",
    "quantum-espresso": "dft.espresso:EspressoEngine",
    "cp2k": "dft.cp2k:Cp2kEngine",
    "vasp": "dft.vasp:VaspEngine",
    "fairchem": "potentials.fairchem:FairchemEngine",
    "diep": "potentials.diep:DiepEngine",
    "mace": "potentials.mace:MaceEngine",
    "sevenn": "potentials.sevenn:SevennEngine",
    "chgnet": "potentials.chgnet:ChgnetEngine",
    "replay": "replay:ReplayEngine",
}


def engine_names() -> tuple[str, ...]:
    """Return the engines that levels can name: the built-in ones, then users' own."""
    return (*_BUILT_IN, *(name for name in plugin_names() if name not in _BUILT_IN))


def engine_for(
    level: LevelOfTheory, engine: str | None = None, locations: EngineLocations | None = None
) -> Engine:
    """Return the engine of a level, which it can compute and which is installed.

    Raises:
        UserError: ``engine`` is not the level's, the level is of published labels, or the engine
            cannot compute it as it is written.
        EngineError: the engine is not installed, or of a version that the level excludes.
    """
    found = checked_engine(level, engine, locations)
    missing = found.missing()
    if missing:
        raise EngineError(
            FailureKind.NOT_INSTALLED, f"level {level.name} needs {found.name}; {missing}"
        )
    _require_version(found, level)
    return found


def checked_engine(
    level: LevelOfTheory, engine: str | None = None, locations: EngineLocations | None = None
) -> Engine:
    """Return the engine of a level, checked to compute it, installed here or not.

    Raises:
        UserError: as ``engine_for`` does.
    """
    if engine is not None and engine != level.engine:
        raise UserError(
            f"level {level.name} is computed with {level.engine}, got engine {engine}: its "
            f"labels would be of another level; set engine to {level.engine} or change the level"
        )
    level.require_calculation()
    found = located_engine(level, locations)
    found.check_level(level)
    return found


def why_not_computed(level: LevelOfTheory, locations: EngineLocations | None = None) -> str:
    """Return why no calculation at a level can be made on this machine, or an empty text."""
    try:
        engine = checked_engine(level, None, locations)
    except UserError as fault:
        return str(fault)
    missing = engine.missing()
    return f"level {level.name} needs {engine.name}; {missing}" if missing else ""


def computable_elements(
    level: LevelOfTheory, locations: EngineLocations | None = None
) -> frozenset[str]:
    """Return the elements that can have energies at a level.

    These are all elements where potentials cannot be looked up here: the level holds published
    labels, or its engine is not installed on this machine.
    """
    everything = frozenset(chemical_symbols[1:])
    if not _is_computed_here(level):
        return everything
    engine = located_engine(level, locations)
    return everything if engine.missing() else engine.elements(level)


def check_level(level: LevelOfTheory, locations: EngineLocations | None = None) -> None:
    """Refuse a level that its engine cannot compute as it is written, installed or not.

    A level of published labels, and one of an engine that is not installed, pass.
    """
    if _is_computed_here(level):
        located_engine(level, locations).check_level(level)


def _is_computed_here(level: LevelOfTheory) -> bool:
    return level.calculation is not None and level.engine in engine_names()


def engine_location(level: LevelOfTheory, locations: EngineLocations | None) -> EngineLocation:
    """Return where the engine of a level is and works on this machine."""
    return (locations or {}).get(level.engine, EngineLocation())


def located_engine(level: LevelOfTheory, locations: EngineLocations | None) -> Engine:
    """Return the engine of a level at its location, whether or not it can run here."""
    location = engine_location(level, locations)
    if level.engine in _BUILT_IN:
        return _built_in(level.engine)(location)
    if level.engine in plugin_names():
        return plugin(level.engine, location)
    raise UserError(
        f"level {level.name} ({level.functional}) needs the engine {level.engine}, and this "
        f"installation runs {', '.join(engine_names())}; leave the queue filled, or choose a level "
        "of these engines"
    )


def _built_in(name: str) -> type[Engine]:
    module, _, of = _BUILT_IN[name].partition(":")
    found: type[Engine] = getattr(import_module(f"{__package__}.{module}"), of)
    return found


def _require_version(engine: Engine, level: LevelOfTheory) -> None:
    """Refuse a version that the level excludes; ``compute`` compares one that only output shows."""
    policy = level.require_calculation().engine_version
    version_within("", policy)  # bounds that cannot be read are refused even without a version
    version = "" if policy == "any" else engine.version()
    if version or not engine.version_after_run:
        require_version(engine, level, version, FailureKind.NOT_INSTALLED)
