"""SevenNet, by a checkpoint of one's own.

Source  Park et al. 2024, J. Chem. Theory Comput. 20, 4857 (the network); Kim et al. 2024,
        J. Am. Chem. Soc. 147, 1042 (several fidelities in one).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator

from tasks.errors import first_line
from tasks.levels import Setting
from tasks.verification.engines.failures import EngineError, FailureKind
from tasks.verification.engines.potentials.checkpoint import CheckpointPotential


@dataclass(frozen=True)
class SevennEngine(CheckpointPotential):
    """A checkpoint of SevenNet; of several data sets the level names one: ``modal: ...``."""

    name: ClassVar[str] = "sevenn"
    package: ClassVar[str] = "sevenn"
    distribution: ClassVar[str] = "sevenn"
    install: ClassVar[str] = "'sabatier[sevenn]'"
    variable: ClassVar[str] = "SABATIER_SEVENN_CHECKPOINT"
    reads: ClassVar[tuple[str, ...]] = ("keywords",)
    setting: ClassVar[str] = "modal"

    def load(self, keywords: Mapping[str, Setting]) -> Calculator:
        """Return SevenNet's calculator; a file that lists several data sets needs one of them.

        Raises:
            EngineError: the level names none of them, or one of a file that has one alone.
        """
        from sevenn.calculator import SevenNetCalculator

        try:
            made: Calculator = SevenNetCalculator(
                model=self.location.potentials, file_type="checkpoint", device="cpu", **keywords
            )
        except ValueError as fault:
            raise EngineError(
                FailureKind.NOT_INSTALLED,
                f"sevenn refuses {self.location.potentials}: {first_line(fault)}; a checkpoint of "
                "several data sets needs keywords: {modal: NAME} in the level",
            ) from fault
        modal = getattr(made, "modal", None)  # None where a stated one was ignored
        self.require_choice(keywords.get("modal"), [] if modal is None else [modal])
        return made

    def numbers_of(self, made: Any) -> Collection[int]:
        """Return the atomic numbers that the checkpoint lists."""
        return [int(number) for number in made.type_map]
