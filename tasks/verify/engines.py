"""Engines: the programs that compute energies, and which level of theory each one serves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from tasks.errors import UserError
from tasks.levels import LevelOfTheory


class FailureKind(StrEnum):
    """Why a calculation gave no energy; each kind has its own way of trying again."""

    BAD_INPUT = "bad_input"  # never tried again
    NUMERICAL = "numerical"  # energies or forces that are not numbers, or absurd
    NOT_CONVERGED = "not_converged"  # a step limit
    ENGINE = "engine"  # the program itself stopped


class EngineError(UserError):
    """A calculation that gave no usable energy, with the class of its failure."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Engine(Protocol):
    """A program behind ASE's calculator interface."""

    @property
    def name(self) -> str:
        """Return the name that a level of theory gives its engine."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """Return the elements that the engine has potentials for."""
        ...

    def calculator(self, level: LevelOfTheory) -> Calculator:
        """Return a fresh calculator at one level of theory."""
        ...


@dataclass(frozen=True)
class EmtEngine:
    """ASE's effective medium theory; H, C, N and O are toys in it."""

    name: str = "emt"
    elements: frozenset[str] = frozenset(
        ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au", "H", "C", "N", "O")
    )

    def calculator(self, level: LevelOfTheory) -> Calculator:
        """Return an EMT calculator; EMT has one parameter set, so the level adds nothing."""
        if level.engine != self.name:
            raise UserError(f"engine {self.name} cannot compute level {level.name}")
        return EMT()


_ENGINES: dict[str, Callable[[], Engine]] = {"emt": EmtEngine}


def engine_names() -> tuple[str, ...]:
    """Return the engines that can be run here."""
    return tuple(_ENGINES)


def engine_for(level: LevelOfTheory, engine: str | None = None) -> Engine:
    """Return the engine of a level; ``engine`` by another name than the level's is refused."""
    if engine is not None and engine != level.engine:
        raise UserError(
            f"level {level.name} is computed with {level.engine}, got engine {engine}: its "
            f"labels would be of another level; set engine to {level.engine} or change the level"
        )
    if level.engine not in _ENGINES:
        raise UserError(
            f"level {level.name} ({level.functional}) needs the engine {level.engine}, and this "
            f"installation runs {', '.join(_ENGINES)}; leave the queue filled, or choose a level "
            f"of these engines"
        )
    return _ENGINES[level.engine]()


def unsupported_elements(engine: Engine, symbols: Iterable[str]) -> list[str]:
    """Return, sorted, the elements that an engine has no potential for."""
    return sorted(set(symbols) - engine.elements)


def require_elements(engine: Engine, symbols: Iterable[str]) -> None:
    """Refuse, by name, elements that an engine has no potential for."""
    missing = unsupported_elements(engine, symbols)
    if missing:
        raise EngineError(
            FailureKind.BAD_INPUT,
            f"engine {engine.name} has no potential for {', '.join(missing)}; it has "
            f"{', '.join(sorted(engine.elements))}",
        )
