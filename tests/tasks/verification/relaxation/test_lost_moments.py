"""Moments that an antiferromagnet lost are found however its relaxation came to its end."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from tasks.levels import Spin, level
from tasks.verification.engines import CalculationJob, EngineLocation
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook

SPIN = Spin("magnetic-elements", {"Cu": 1.0}, "antiferromagnetic", (1, 1, 1))


class Unmagnetic(EMT):
    """Its electrons end without moments, whatever they start with."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.answers = answers

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        self.answers.append(1)
        super().calculate(*args, **kwargs)
        self.results["magmoms"] = np.zeros(len(self.atoms))


@dataclass(frozen=True)
class UnmagneticEngine(EmtEngine):
    answers: list[int] = field(default_factory=list)

    def calculator(self, job: CalculationJob) -> Calculator:
        return Unmagnetic(self.answers)


def ordered() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    atoms.set_tags([0] * 8 + [1] * 4)
    atoms.set_initial_magnetic_moments([1, -1] * 6)
    return atoms


def test_one_that_was_done_and_not_reported_computes_its_end_again(tmp_path: Path) -> None:
    emt = level("emt")
    free = replace(emt, calculation=replace(emt.require_calculation(), spin=SPIN))
    location = EngineLocation(work=str(tmp_path))
    lost, answers = [], []
    for attempt in (1, 2):
        engine = UnmagneticEngine(location)
        book = Logbook(item="a1", folder="slab-a1-0123", attempt=attempt)
        lost.append(compute(ordered(), free, engine, book=book).lost_moments)
        answers.append(len(engine.answers))
    assert lost == [12, 12]
    assert answers[0] > 1
    assert answers[1] == 1
