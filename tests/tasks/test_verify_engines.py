from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.levels import level
from tasks.verify.engines import (
    EngineError,
    FailureKind,
    engine_for,
    engine_names,
    require_elements,
    unsupported_elements,
)
from tasks.verify.relax import RelaxSettings, relax, relax_settings

SETTINGS = RelaxSettings("BFGS", 0.05, 200)


class Broken(Calculator):
    """A calculator whose forces are not numbers."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), np.nan)}


def stretched() -> Atoms:
    atoms = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    atoms.set_constraint(FixAtoms(indices=[0]))
    atoms.positions[2, 2] += 0.3
    return atoms


def test_the_emt_level_is_served_by_the_emt_engine() -> None:
    assert engine_names() == ("emt",)
    assert isinstance(engine_for(level("emt")).calculator(level("emt")), EMT)


def test_an_engine_of_another_level_is_refused() -> None:
    with pytest.raises(UserError, match="beef-vdw-co is computed with quantum-espresso, got"):
        engine_for(level("beef-vdw-co"), "emt")
    with pytest.raises(UserError, match="cannot compute level beef-vdw-co"):
        engine_for(level("emt")).calculator(level("beef-vdw-co"))


def test_a_level_whose_engine_is_not_here_is_refused_with_what_is() -> None:
    with pytest.raises(UserError, match="needs the engine vasp, and this installation runs emt"):
        engine_for(level("pbe-d2-molecule"))


def test_elements_without_a_potential_are_named() -> None:
    engine = engine_for(level("emt"))
    assert unsupported_elements(engine, ["Cu", "Ru", "Fe", "O"]) == ["Fe", "Ru"]
    with pytest.raises(EngineError, match="emt has no potential for Fe, Ru") as caught:
        require_elements(engine, ["Ru", "Fe"])
    assert caught.value.kind is FailureKind.BAD_INPUT


def test_a_relaxation_lowers_forces_and_leaves_its_input_and_fixed_atoms() -> None:
    start = stretched()
    before = start.positions.copy()
    done = relax(start, EMT(), SETTINGS)
    assert done.converged
    assert done.fmax_ev_ang <= 0.05 < done.initial_fmax_ev_ang
    assert done.steps > 0
    assert done.atoms.calc is None
    np.testing.assert_array_equal(start.positions, before)
    np.testing.assert_array_equal(done.atoms.positions[0], before[0])


def test_the_same_input_relaxes_to_the_same_energy() -> None:
    assert (
        relax(stretched(), EMT(), SETTINGS).energy_ev
        == relax(stretched(), EMT(), SETTINGS).energy_ev
    )


def test_a_step_limit_is_a_result_that_has_not_converged() -> None:
    done = relax(stretched(), EMT(), RelaxSettings("BFGS", 1e-4, 1))
    assert not done.converged
    assert done.steps == 1


@pytest.mark.parametrize("optimiser", ["BFGS", "LBFGS", "FIRE"])
def test_all_optimisers_find_the_same_minimum(optimiser: str) -> None:
    done = relax(stretched(), EMT(), RelaxSettings(optimiser, 0.01, 500))
    assert done.energy_ev == pytest.approx(relax(stretched(), EMT(), SETTINGS).energy_ev, abs=0.01)


def test_forces_that_are_not_numbers_are_a_failure_of_their_own_class() -> None:
    with pytest.raises(EngineError, match="must be finite") as caught:
        relax(stretched(), Broken(), SETTINGS)
    assert caught.value.kind is FailureKind.NUMERICAL


def test_atoms_on_top_of_each_other_are_a_numerical_failure() -> None:
    atoms = stretched()
    atoms.positions[2] = atoms.positions[1] + 1e-3
    atoms += Atoms("H", positions=[atoms.positions[2] + 1e-6])
    with pytest.raises(EngineError, match=r"overlapping|finite"):
        relax(atoms, EMT(), SETTINGS)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [(("NEWTON", 0.05, 10), "one of BFGS"), (("BFGS", 0.0, 10), "fmax above 0")],
)
def test_impossible_settings_are_refused(settings: tuple[str, float, int], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        RelaxSettings(*settings)


def test_the_emt_level_states_its_relaxation() -> None:
    assert relax_settings(level("emt")) == SETTINGS
