"""Engines of users' own, by the entry point group ``sabatier.engines``.

An entry point ``mine = "my_package:engine"`` names an object with a calculator factory and a check
of its level; the rest of the protocol is optional:

    class MyEngine:
        def calculator(self, atoms, level, folder): ...    # an ASE calculator
        def check_level(self, level): ...                   # raise where it cannot compute it
        def elements(self, level): ...                      # optional: symbols with potentials
        version = "1.0"                                     # optional
        missing = ""                                        # optional: what to install

A level with ``engine: mine`` is then computed by it. All that changes an energy belongs into the
level's ``keywords``: they are hashed.
"""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.verification.engines.base import CalculationJob, Engine, EngineLocation
from tasks.verification.engines.failures import Rung

GROUP = "sabatier.engines"


@dataclass(frozen=True)
class PluginEngine(Engine):
    """A user's engine behind the protocol."""

    called: str = ""
    engine: Any = None

    ladder = (Rung.AS_STATED,)  # no common keyword changes its mixing

    @property
    def name(self) -> str:  # type: ignore[override]
        """Return the name of its entry point."""
        return self.called

    def missing(self) -> str:
        """Return the engine's own message on missing programs or files."""
        return str(getattr(self.engine, "missing", ""))

    def version(self) -> str:
        """Return the version that the engine states."""
        return str(getattr(self.engine, "version", ""))

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that it lists, or all where it lists none."""
        listed = getattr(self.engine, "elements", None)
        return frozenset(chemical_symbols[1:] if listed is None else listed(level))

    def check_level(self, level: LevelOfTheory) -> None:
        """Let the engine check its level."""
        self.engine.check_level(level)

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return the calculator that the engine makes."""
        made: Calculator = self.engine.calculator(job.atoms, job.level, job.folder)
        return made


def plugin_names() -> tuple[str, ...]:
    """Return the names of the installed engines of users' own."""
    return tuple(sorted(_found()))


def plugin(name: str, location: EngineLocation) -> PluginEngine:
    """Return a user's engine.

    Raises:
        UserError: it cannot be imported, or lacks a method of the protocol.
    """
    point = _found()[name]
    try:
        loaded = point.load()
    except Exception as error:
        raise UserError(
            f"engine {name} ({point.value}) cannot be imported: {error}; mend or uninstall it"
        ) from error
    engine = loaded() if isinstance(loaded, type) else loaded
    for part in ("calculator", "check_level"):
        if not callable(getattr(engine, part, None)):
            raise UserError(f"engine {name} ({point.value}) needs a method {part}; see {__name__}")
    return PluginEngine(location, called=name, engine=engine)


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
