"""UMA and its kin through fairchem: an engine that is itself a model.

Its oc20 task predicts total energies, so references and clean slabs are computed as with any other
engine. Importing fairchem takes 5 to 9 seconds, so it is imported when a calculator is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ase.calculators.calculator import Calculator

from tasks.levels import Setting, added_by
from tasks.verification.engines.potentials.checkpoint import CheckpointPotential


@dataclass(frozen=True)
class FairchemEngine(CheckpointPotential):
    """A checkpoint of fairchem, which does not list its elements."""

    name: ClassVar[str] = "fairchem"
    functionals: ClassVar[frozenset[str]] = frozenset({"RPBE"})  # of the labels of its oc20 task
    package: ClassVar[str] = "fairchem"
    distribution: ClassVar[str] = "fairchem-core"
    install: ClassVar[str] = "'sabatier[fairchem]'"
    variable: ClassVar[str] = "SABATIER_FAIRCHEM_CHECKPOINT"

    def load(self, keywords: Mapping[str, Setting]) -> Calculator:
        """Return fairchem's calculator for adsorption on surfaces."""
        from fairchem.core import FAIRChemCalculator
        from fairchem.core.units.mlip_unit import load_predict_unit

        unit = load_predict_unit(self.location.potentials, device="cpu")
        task = str(added_by(self.name)["task"])
        made: Calculator = FAIRChemCalculator(unit, task_name=task)
        return made
