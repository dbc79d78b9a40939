"""UMA and its kin through fairchem: an engine that is itself a model.

Its oc20 task predicts total energies, so references and clean slabs are computed as with any other
engine. Importing fairchem takes 5 to 9 seconds, so it is imported when a calculator is made.
"""

import importlib.metadata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from tasks.levels import LevelOfTheory, added_by
from tasks.verification.engines.base import CalculationJob
from tasks.verification.engines.potentials.universal import UniversalPotential

# What UMA was trained on: no Po, At, Rn, Fr and Ra, and nothing beyond plutonium.
_ELEMENTS = frozenset([*chemical_symbols[1:84], *chemical_symbols[89:95]])


@dataclass(frozen=True)
class FairchemEngine(UniversalPotential):
    """A checkpoint of fairchem; ``potentials`` of its location is its file."""

    name: ClassVar[str] = "fairchem"
    unpickles: ClassVar[bool] = True
    functionals: ClassVar[frozenset[str]] = frozenset({"RPBE"})  # of the labels of its oc20 task

    def missing(self) -> str:
        """Return what to install or set before it can run; empty where it can."""
        if find_spec("fairchem") is None:
            return "fairchem is not installed: pip install 'sabatier[fairchem]'"
        if not self.model_files():
            return "no checkpoint: set SABATIER_FAIRCHEM_CHECKPOINT to the file of a UMA model"
        return ""

    def version(self) -> str:
        """Return fairchem's version, or nothing where it was not installed as a package."""
        try:
            return importlib.metadata.version("fairchem-core")
        except importlib.metadata.PackageNotFoundError:
            return ""

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that UMA was trained on; a checkpoint does not list them."""
        return _ELEMENTS

    def model_files(self) -> tuple[Path, ...]:
        """Return the checkpoint, which holds the potentials of all elements."""
        path = Path(self.location.potentials or "-")
        return (path,) if path.is_file() else ()

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return fairchem's calculator for adsorption on surfaces; other files stay unread."""
        self.require_stated_file(job.level)
        from fairchem.core import FAIRChemCalculator
        from fairchem.core.units.mlip_unit import load_predict_unit

        unit = load_predict_unit(self.location.potentials, device="cpu")
        task = str(added_by(self.name)["task"])
        made: Calculator = FAIRChemCalculator(unit, task_name=task)
        return made
