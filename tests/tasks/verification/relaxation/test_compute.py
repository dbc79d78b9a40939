"""The SCF ladder, failures of any program, and work folders, with engines made for the test."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from support.enumeration.crystals import metal_slab

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import CalculationMode
from tasks.verification.engines import CalculationJob, EngineError, FailureKind, Rung, engine_for
from tasks.verification.engines.base import LADDER
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.labels.energies import MemoryCache, gas_energy, slab_energy
from tasks.verification.labels.verify import RelaxedGeometries, verify_adslab
from tasks.verification.relaxation.compute import compute

EMT_LEVEL = level("emt")


@dataclass(frozen=True)
class Stubborn(EmtEngine):
    """EMT whose electrons do not converge on some rungs."""

    ladder: ClassVar[tuple[Rung, ...]] = LADDER
    stuck: tuple[Rung, ...] = ()
    seen: list[CalculationJob] = field(default_factory=list)

    def calculator(self, job: CalculationJob) -> Calculator:
        self.seen.append(job)
        if job.rung in self.stuck:
            raise EngineError(FailureKind.SCF_NOT_CONVERGED, f"stuck {job.rung.value}")
        return EMT()


@dataclass(frozen=True)
class Breaking(EmtEngine):
    """An engine whose program does something to its folder and stops."""

    act: Callable[[Path], None] = lambda folder: None

    def calculator(self, job: CalculationJob) -> Calculator:
        self.act(job.folder)
        raise RuntimeError("the program stopped")


def slab() -> Atoms:
    return metal_slab(size=(1, 1, 3))


def test_electrons_that_converge_at_once_are_tried_once() -> None:
    engine = Stubborn()
    done = compute(slab(), EMT_LEVEL, engine)
    assert [(t.rung, t.kind) for t in done.tries] == [(Rung.AS_STATED, None)]


def test_the_ladder_is_climbed_until_the_electrons_converge() -> None:
    engine = Stubborn(stuck=(Rung.AS_STATED, Rung.GENTLE_MIXING))
    done = compute(slab(), EMT_LEVEL, engine)
    stuck = FailureKind.SCF_NOT_CONVERGED
    assert [t.kind for t in done.tries] == [stuck, stuck, None]
    assert [t.rung for t in done.tries] == list(LADDER)
    assert done.energy_ev == compute(slab(), EMT_LEVEL, Stubborn()).energy_ev


def test_every_try_has_a_folder_of_its_own_and_the_same_start() -> None:
    engine = Stubborn(stuck=(Rung.AS_STATED,))
    compute(slab(), EMT_LEVEL, engine)
    assert len({job.folder for job in engine.seen}) == 2
    for job in engine.seen:
        np.testing.assert_array_equal(job.atoms.positions, slab().positions)


def test_after_three_tries_it_is_over_and_all_are_told() -> None:
    engine = Stubborn(stuck=LADDER)
    with pytest.raises(EngineError, match=r"in 3 tries \(as stated, gentle mixing, ") as caught:
        compute(slab(), EMT_LEVEL, engine)
    assert caught.value.kind is FailureKind.SCF_NOT_CONVERGED
    assert [t.message for t in caught.value.tries] == [f"stuck {r.value}" for r in LADDER]


def test_only_electrons_are_tried_again() -> None:
    with pytest.raises(EngineError, match="RuntimeError: the program stopped") as caught:
        compute(slab(), EMT_LEVEL, Breaking())
    assert caught.value.kind is FailureKind.ENGINE
    assert len(caught.value.tries) == 1


def test_a_failure_comes_back_from_another_process_whole() -> None:
    import pickle

    with pytest.raises(EngineError, match="did not converge in 3 tries") as caught:
        compute(slab(), EMT_LEVEL, Stubborn(stuck=LADDER))
    back = pickle.loads(pickle.dumps(caught.value))
    assert (back.kind, str(back), back.tries) == (
        caught.value.kind,
        str(caught.value),
        caught.value.tries,
    )


def test_a_work_folder_that_vanished_is_not_the_programs_fault() -> None:
    with pytest.raises(EngineError, match=r"work folder .* vanished while emt ran") as caught:
        compute(slab(), EMT_LEVEL, Breaking(act=shutil.rmtree))
    assert caught.value.kind is FailureKind.KILLED


def test_the_end_of_a_relaxation_has_the_borders_tags_and_moments_of_its_start() -> None:
    @dataclass(frozen=True)
    class Opening(EmtEngine):
        def prepared(self, atoms: Atoms) -> Atoms:
            opened: Atoms = atoms.copy()
            opened.pbc = (True, True, False)
            return opened

    done = compute(slab(), EMT_LEVEL, Opening())
    assert done.atoms.pbc.all()
    assert done.atoms.get_tags().tolist() == [0, 0, 1]
    assert not done.atoms.has("initial_magmoms")


def single_points() -> LevelOfTheory:
    how = replace(EMT_LEVEL.require_calculation(), mode="single_point", geometry="emt")
    return replace(EMT_LEVEL, name="emt-points", calculation=how)


def test_single_points_are_another_level_that_moves_nothing_but_the_gas() -> None:
    points, engine = single_points(), engine_for(EMT_LEVEL)
    assert points.level_hash != EMT_LEVEL.level_hash
    adslab = slab()
    adslab += Atoms("H", positions=[adslab.positions[2] + [0, 0, 1.6]])
    adslab.set_tags([0, 0, 1, 2])
    cache = MemoryCache()
    placed = RelaxedGeometries(adslab, slab())
    done = verify_adslab(adslab, slab(), adsorbate("H"), points, cache, relaxed=placed)
    assert done.steps == 0
    np.testing.assert_array_equal(done.atoms.positions, adslab.positions)
    e_slab = slab_energy(slab(), points, engine, cache, relaxed=slab()).energy_ev
    assert e_slab > slab_energy(slab(), EMT_LEVEL, engine, cache).energy_ev
    relaxed = gas_energy("H2", EMT_LEVEL, engine, MemoryCache()).energy_ev
    assert gas_energy("H2", points, engine, cache).energy_ev == relaxed
    stretched = molecule("H2")
    stretched.calc = EMT()
    assert stretched.get_potential_energy() > relaxed


def test_a_single_point_stands_on_the_geometry_of_another_engine() -> None:
    """With EMT as the other engine, a point on its minimum is its relaxed energy."""
    adslab = slab()
    adslab += Atoms("O", positions=[adslab.positions[2] + [0, 0, 1.6]])
    adslab.set_tags([0, 0, 1, 2])
    engine = engine_for(EMT_LEVEL)
    relaxed = RelaxedGeometries(
        compute(adslab, EMT_LEVEL, engine).atoms, compute(slab(), EMT_LEVEL, engine).atoms
    )
    oxygen, points = adsorbate("O"), single_points()
    done = verify_adslab(adslab, slab(), oxygen, points, MemoryCache(), relaxed=relaxed)
    whole = verify_adslab(adslab, slab(), oxygen, EMT_LEVEL, MemoryCache())
    assert (done.steps, done.level) == (0, "emt-points")
    assert done.energy_ev == pytest.approx(whole.energy_ev, abs=1e-9)
    assert done.site_changed == whole.site_changed


def test_a_clean_slab_that_reconstructs_is_no_reference() -> None:
    how = EMT_LEVEL.require_calculation()
    strict = replace(how, checks=replace(how.checks, slab_move_ang=0.001))
    theory = replace(EMT_LEVEL, name="strict", calculation=strict)
    cache = MemoryCache()
    with pytest.raises(
        EngineError, match=r"Cu3 must keep its structure, .* \(limit 0.001 Å\)"
    ) as caught:
        slab_energy(slab(), theory, engine_for(theory), cache)
    assert caught.value.kind is FailureKind.BAD_INPUT


def test_a_single_point_of_a_mere_placement_is_refused() -> None:
    adslab = slab()
    adslab += Atoms("O", positions=[adslab.positions[2] + [0, 0, 1.6]])
    adslab.set_tags([0, 0, 1, 2])
    with pytest.raises(UserError, match="as emt relaxed them, and there is none for Cu3"):
        verify_adslab(adslab, slab(), adsorbate("O"), single_points(), MemoryCache())


@pytest.mark.parametrize(
    ("mode", "geometry", "rule"),
    [
        ("single_point", "", "of what another level relaxed, got none"),
        ("single_point", "emt-points", "got emt-points"),
        ("relaxation", "emt", "relaxes, and states geometry: emt as well"),
    ],
)
def test_single_points_name_the_level_that_relaxed(
    mode: CalculationMode, geometry: str, rule: str
) -> None:
    how = replace(EMT_LEVEL.require_calculation(), mode=mode, geometry=geometry)
    with pytest.raises(UserError, match=rule):
        replace(EMT_LEVEL, name="emt-points", calculation=how)


def test_a_geometry_of_another_slab_is_no_geometry_of_this_one() -> None:
    adslab = slab()
    adslab.set_constraint(FixAtoms([0]))
    clean = adslab.copy()
    adslab += Atoms("O", positions=[adslab.positions[2] + [0, 0, 1.6]])
    adslab.set_tags([0, 0, 1, 2])
    moved = adslab.copy()
    moved.set_constraint()
    moved.positions[0] += 0.1
    moved.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="starts with the atoms of its clean slab"):
        verify_adslab(
            adslab,
            clean,
            adsorbate("O"),
            EMT_LEVEL,
            MemoryCache(),
            relaxed=RelaxedGeometries(moved, clean),
        )
