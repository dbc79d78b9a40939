from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.levels import level
from tasks.verification.engines import EngineError, FailureKind
from tasks.verification.relaxation import relax as relax_module
from tasks.verification.relaxation.checkpoint import Track
from tasks.verification.relaxation.relax import RelaxSettings, ResultReader, relax, single_point

SETTINGS = RelaxSettings("BFGS", 0.05, 200)


class Given(Calculator):
    """A calculator that answers with given numbers."""

    implemented_properties: ClassVar = ["energy", "free_energy", "forces"]

    def __init__(self, energy: float = 0.0, force: float = 0.0, free: float | None = None) -> None:
        super().__init__()
        self.energy, self.force, self.free = energy, force, free

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": self.energy, "forces": np.full((len(atoms), 3), self.force)}
        if self.free is not None:
            self.results["free_energy"] = self.free


def stretched() -> Atoms:
    atoms = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    atoms.set_constraint(FixAtoms(indices=[0]))
    atoms.positions[2, 2] += 0.3
    return atoms


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


@pytest.mark.parametrize("optimiser", ["BFGS", "LBFGS", "FIRE", "BFGS+FIRE"])
def test_all_optimisers_find_the_same_minimum(optimiser: Any) -> None:
    done = relax(stretched(), EMT(), RelaxSettings(optimiser, 0.01, 500))
    assert done.energy_ev == pytest.approx(relax(stretched(), EMT(), SETTINGS).energy_ev, abs=0.01)


def test_fire_takes_over_where_bfgs_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relax_module, "_FIRE_FROM_STEP", 2)
    track = Track()
    done = relax(stretched(), EMT(), RelaxSettings("BFGS+FIRE", 0.01, 500), track=track)
    alone = relax(stretched(), EMT(), RelaxSettings("BFGS", 0.01, 500))
    assert done.converged
    assert done.steps != alone.steps
    assert [frame.step for frame in track.frames] == list(range(done.steps + 1))
    limited = relax(stretched(), EMT(), RelaxSettings("BFGS+FIRE", 1e-6, 5))
    assert (limited.steps, limited.converged) == (5, False)


def test_a_single_point_moves_nothing_and_is_no_relaxation() -> None:
    done = single_point(stretched(), EMT())
    np.testing.assert_array_equal(done.atoms.positions, stretched().positions)
    assert done.steps == 0
    assert done.fmax_ev_ang > 0.05
    assert done.energy_ev > relax(stretched(), EMT(), SETTINGS).energy_ev


def test_where_every_atom_is_fixed_no_forces_are_asked_for() -> None:
    held = stretched()
    held.set_constraint(FixAtoms(range(3)))
    done = relax(held, Given(energy=-3.0, force=float("nan")), SETTINGS)
    assert (done.energy_ev, done.fmax_ev_ang, done.steps) == (-3.0, 0.0, 0)


def test_both_energies_are_kept_and_the_level_says_which_counts() -> None:
    calculator = Given(energy=-3.0, free=-3.1)
    one = single_point(stretched(), calculator)
    other = single_point(stretched(), calculator, ResultReader("free_energy"))
    assert (one.energy_ev, one.free_energy_ev) == (-3.0, -3.1)
    assert (other.energy_ev, other.free_energy_ev) == (-3.1, -3.1)


def test_a_free_energy_that_is_not_given_is_not_replaced_by_another() -> None:
    with pytest.raises(EngineError, match="takes the free energy, which this calculator does not"):
        single_point(stretched(), Given(energy=-3.0), ResultReader("free_energy"))


@pytest.mark.parametrize("energy", [float("nan"), 1e9])
def test_an_energy_that_is_no_energy_is_numerical(energy: float) -> None:
    with pytest.raises(EngineError, match="finite") as caught:
        single_point(stretched(), Given(energy=energy))
    assert caught.value.kind is FailureKind.NUMERICAL


@pytest.mark.parametrize("force", [float("nan"), 1e5])
def test_forces_that_are_not_numbers_or_absurd_are_numerical(force: float) -> None:
    with pytest.raises(EngineError, match="must be finite") as caught:
        relax(stretched(), Given(force=force), SETTINGS)
    assert caught.value.kind is FailureKind.NUMERICAL


class Repelling(Calculator):
    """A potential that pushes one atom away for ever, or that has a hole."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, fall_ev_ang: float = 0.0) -> None:
        super().__init__()
        self.fall = fall_ev_ang

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        forces = np.zeros((len(atoms), 3))
        forces[-1, 2] = 5.0
        self.results = {"energy": -self.fall * atoms.positions[-1, 2], "forces": forces}


@pytest.mark.parametrize(("cell", "limit"), [(True, r"10\.\d"), (False, r"10\.0")])
def test_a_structure_that_flies_apart_is_one_line(cell: bool, limit: str) -> None:
    flown = stretched()
    if not cell:
        flown.cell, flown.pbc = None, False
    rule = rf"an atom may move {limit} Å in a relaxation, Cu 2 moved 1\d.\d Å by step \d+"
    with pytest.raises(EngineError, match=rule) as caught:
        relax(flown, Repelling(), replace(SETTINGS, optimiser="FIRE"))
    assert caught.value.kind is FailureKind.NUMERICAL
    assert "\n" not in str(caught.value)


def test_a_hole_of_a_potential_is_one_line() -> None:
    with pytest.raises(EngineError, match=r"gains at most 10 eV an atom, .* 3 atoms") as caught:
        relax(stretched(), Repelling(fall_ev_ang=1000.0), SETTINGS)
    assert caught.value.kind is FailureKind.NUMERICAL


def test_an_energy_of_electrons_that_did_not_converge_is_none() -> None:
    with pytest.raises(EngineError, match="electrons did not converge") as caught:
        relax(stretched(), EMT(), SETTINGS, ResultReader("energy", lambda: False))
    assert caught.value.kind is FailureKind.SCF_NOT_CONVERGED


def test_a_relaxation_ends_at_its_wall_limit() -> None:
    hasty = replace(SETTINGS, wall_limit_s=1e-9)
    with pytest.raises(EngineError, match=r"may take 1e-09 s, .* after 0 steps") as caught:
        relax(stretched(), EMT(), hasty)
    assert caught.value.kind is FailureKind.WALL_LIMIT


@pytest.mark.parametrize(
    ("settings", "rule"),
    [(("NEWTON", 0.05, 10), "one of BFGS"), (("BFGS", 0.0, 10), "fmax above 0")],
)
def test_impossible_settings_are_refused(settings: Any, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        RelaxSettings(*settings)


def test_the_emt_level_states_its_relaxation() -> None:
    assert level("emt").require_calculation().relaxation == SETTINGS
