"""DIEP: a universal potential of 0.4 million parameters whose weights come with its package.

89 elements, MatPES r2SCAN without U. Its energy is slightly discontinuous and its forces are of
single precision, so that a relaxation is followed to 0.1 eV/Å and not below.

Source  Tawfik et al. 2024, Digital Discovery (the network); Kaplan et al. 2025, arXiv:2503.04070
        (MatPES).
"""

import importlib.metadata
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator

from tasks.levels import LevelOfTheory
from tasks.verification.engines.base import CalculationJob
from tasks.verification.engines.potentials.universal import UniversalPotential

_FILES = ("state.pt", "model.pt", "model.json")
_SHIPPED = Path("pretrained_models") / "diep_fold1"


@dataclass(frozen=True)
class DiepEngine(UniversalPotential):
    """The model that the package ships, or the folder that ``potentials`` of its location names."""

    name: ClassVar[str] = "diep"
    functionals: ClassVar[frozenset[str]] = frozenset({"r2SCAN"})

    def missing(self) -> str:
        """Return what to install before it can run; empty where it can."""
        if find_spec("diep") is None:
            return "diep is not installed: pip install diep"
        if not self.model_files():
            return f"no model in {self._folder()}: unset SABATIER_DIEP_MODEL for the one that ships"
        return ""

    def version(self) -> str:
        """Return the package's version."""
        return importlib.metadata.version("diep")

    def model_files(self) -> tuple[Path, ...]:
        """Return weights, sizes and cut-offs, and the names of what is built: all is read."""
        files = tuple(self._folder() / name for name in _FILES)
        return files if all(file.is_file() for file in files) else ()

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that the model lists."""
        description = json.loads((self._folder() / "model.json").read_text(encoding="utf-8"))
        return frozenset(description["kwargs"]["model"]["init_args"]["element_types"])

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator around the one model that this process has loaded."""
        from diep.pretrained import DIEPCalculator

        made: Calculator = DIEPCalculator(potential=_loaded(self._folder()), stress_unit="eV/A3")
        return made

    def _folder(self) -> Path:
        if self.location.potentials:
            return Path(self.location.potentials)
        found = find_spec("diep")
        places = (found and found.submodule_search_locations) or ["."]
        return Path(places[0]) / _SHIPPED


@lru_cache(maxsize=1)  # it takes seconds, and a worker computes at one level
def _loaded(folder: Path) -> Any:
    from diep.pretrained import load_potential

    return load_potential(folder, stress=False)
