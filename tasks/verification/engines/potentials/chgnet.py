"""CHGNet, by a checkpoint of one's own.

Its published models learnt energies of Materials Project, with U and with corrections for anions.

Source  Deng et al. 2023, Nat. Mach. Intell. 5, 1031.
"""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import ClassVar

from ase.calculators.calculator import Calculator

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, Setting
from tasks.verification.engines.potentials.checkpoint import CheckpointPotential


@dataclass(frozen=True)
class ChgnetEngine(CheckpointPotential):
    """A checkpoint of CHGNet, which does not list its elements."""

    name: ClassVar[str] = "chgnet"
    package: ClassVar[str] = "chgnet"
    distribution: ClassVar[str] = "chgnet"
    install: ClassVar[str] = "'sabatier[chgnet]'"
    variable: ClassVar[str] = "SABATIER_CHGNET_CHECKPOINT"

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse molecules without a cell: it reads crystals alone."""
        super().check_level(level)
        if level.require_calculation().gas_vacuum_ang is None:
            raise UserError(
                f"chgnet computes periodic cells, and level {level.name} states none for gas "
                "molecules; write calculation: {gas_vacuum_ang: 8.0}"
            )

    def load(self, keywords: Mapping[str, Setting]) -> Calculator:
        """Return CHGNet's calculator, without what it prints of its device."""
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet

        with redirect_stdout(io.StringIO()):
            model = CHGNet.from_file(self.location.potentials)
            made: Calculator = CHGNetCalculator(model=model, use_device="cpu")
        return made
