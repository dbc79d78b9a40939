"""MACE through mace-torch, by a checkpoint of one's own.

Source  Batatia et al. 2022, arXiv:2206.07697 (the network); 2023, arXiv:2401.00096 (MACE-MP).
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator

from tasks.levels import Setting, added_by
from tasks.verification.engines.potentials.checkpoint import CheckpointPotential


@dataclass(frozen=True)
class MaceEngine(CheckpointPotential):
    """A pickled MACE model; of several heads the level names one by ``keywords: {head: ...}``."""

    name: ClassVar[str] = "mace"
    package: ClassVar[str] = "mace"
    distribution: ClassVar[str] = "mace-torch"
    install: ClassVar[str] = "'sabatier[mace]'"
    variable: ClassVar[str] = "SABATIER_MACE_CHECKPOINT"
    reads: ClassVar[tuple[str, ...]] = ("keywords",)
    setting: ClassVar[str] = "head"

    def load(self, keywords: Mapping[str, Setting]) -> Calculator:
        """Return a calculator of double precision: single precision ends relaxations early."""
        import torch
        from mace.calculators import MACECalculator

        # The import lets torch unpickle whatever this process loads from then on.
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        # By itself it would read its path as a pattern of several files.
        model = torch.load(self.location.potentials, map_location="cpu", weights_only=False)
        # Of a head that is not there it would take the last one.
        self.require_choice(keywords.get("head"), getattr(model, "heads", None) or ["Default"])
        precision = str(added_by(self.name)["default_dtype"])
        made: Calculator = MACECalculator(
            models=[model], device="cpu", default_dtype=precision, **keywords
        )
        return made

    def numbers_of(self, made: Any) -> Collection[int]:
        """Return the atomic numbers of the model's table."""
        return [int(number) for number in made.z_table.zs]
