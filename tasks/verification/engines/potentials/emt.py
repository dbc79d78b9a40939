"""ASE's effective medium theory: seven metals; H, C, N and O are toys in it. For tests only."""

from dataclasses import dataclass
from typing import ClassVar

import ase
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from tasks.levels import LevelOfTheory
from tasks.verification.engines.base import CalculationJob, Engine
from tasks.verification.engines.failures import Rung
from tasks.verification.engines.requirements import require_all_read, require_functional

_ELEMENTS = frozenset(("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au", "H", "C", "N", "O"))


@dataclass(frozen=True)
class EmtEngine(Engine):
    """Effective medium theory: no electrons, so no ladder and nothing to converge."""

    name: ClassVar[str] = "emt"
    ladder: ClassVar[tuple[Rung, ...]] = (Rung.AS_STATED,)
    functionals: ClassVar[frozenset[str]] = frozenset({"EMT"})

    def missing(self) -> str:
        """Return nothing: ASE brings it."""
        return ""

    def version(self) -> str:
        """Return ASE's version."""
        return str(ase.__version__)

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that have parameters."""
        return _ELEMENTS

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse settings that EMT does not have."""
        require_functional(self, level)
        require_all_read(self, level)

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return an EMT calculator; EMT has one parameter set, so the level adds nothing."""
        return EMT()
