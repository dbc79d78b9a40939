"""A sample of adslabs is relaxed from two starts, and what does not agree is flagged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from support.enumeration.crystals import metal_slab

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level, read_level
from tasks.verification.engines import CalculationJob, EngineError, EngineLocation, FailureKind
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.labels.checks import limits_of
from tasks.verification.labels.energies import MemoryCache
from tasks.verification.labels.two_starts import displaced, is_sampled
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.logbook import Logbook

IDS = [f"{n:064x}" for n in range(2000)]


def sampling(share: float, **limits: float) -> LevelOfTheory:
    emt = level("emt")
    stated = emt.require_calculation()
    checks = replace(stated.checks, two_start_share=share, **limits)
    return replace(emt, name="sampled", calculation=replace(stated, checks=checks))


def slab() -> Atoms:
    return metal_slab(held=12)


def adslab() -> Atoms:
    atoms = slab()
    atoms += Atoms("O", positions=[atoms.positions[8] + [1.2, 0.7, 1.3]])
    atoms.set_tags([0] * 8 + [1] * 4 + [2])
    return atoms


def verified(
    settled: LevelOfTheory, engine: EmtEngine | None = None, **changed: Any
) -> VerifiedEnergy:
    book = Logbook(item=IDS[0], folder="adslab-a", **changed)
    engine = engine or EmtEngine()
    return verify_adslab(
        adslab(), slab(), adsorbate("O"), settled, MemoryCache(), engine, book=book
    )


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_stated_share_is_sampled_and_always_the_same(share: float) -> None:
    settled = sampling(share)
    chosen = [item for item in IDS if is_sampled(item, settled)]
    assert len(chosen) == pytest.approx(
        share * len(IDS), abs=3 * (share * 2000 * (1 - share)) ** 0.5
    )
    assert chosen == [item for item in IDS if is_sampled(item, settled)]
    assert set(chosen) <= {item for item in IDS if is_sampled(item, sampling(1.0))}


def test_dft_levels_sample_and_emt_does_not() -> None:
    shares = {n: limits_of(level(n)).two_start_share for n in ("emt", "gpaw-rpbe", "qe-pbe")}
    assert shares == {"emt": 0.0, "gpaw-rpbe": 0.05, "qe-pbe": 0.05}
    assert sampling(0.1).level_hash != sampling(0.2).level_hash


def test_a_share_beyond_all_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("based_on: emt\nname: mine\ncalculation: {checks: {two_start_share: 1.5}}\n")
    with pytest.raises(UserError, match="two_start_share: value should be less than or equal to 1"):
        read_level(file)


def test_the_adsorbate_alone_is_moved_and_by_the_stated_distance() -> None:
    limits = replace(limits_of(level("emt")), two_start_ang=0.2)
    moved = displaced(adslab(), "a", limits)
    moves_N = np.linalg.norm(moved.positions - adslab().positions, axis=1)
    np.testing.assert_allclose(moves_N, [0.0] * 12 + [0.2])
    np.testing.assert_array_equal(moved.positions, displaced(adslab(), "a", limits).positions)
    assert not np.allclose(moved.positions, displaced(adslab(), "b", limits).positions)


def test_two_starts_that_agree_make_a_label_with_their_distance() -> None:
    done = verified(sampling(1.0))
    assert done.trainable
    assert done.two_start_ev is not None
    assert done.two_start_ev < 0.05
    assert verified(sampling(0.0)).two_start_ev is None


def test_two_starts_that_differ_are_flagged_with_their_distance() -> None:
    done = verified(sampling(1.0, two_start_ev=1e-9))
    (flag,) = done.flags
    assert (flag.name, flag.value, flag.limit) == ("not_reproducible", done.two_start_ev, 1e-9)
    assert not done.trainable
    assert done.energy_ev == verified(sampling(0.0)).energy_ev


@dataclass(frozen=True)
class Failing(EmtEngine):
    """EMT that has no energy for the second start."""

    kind: FailureKind = FailureKind.SCF_NOT_CONVERGED

    def calculator(self, job: CalculationJob) -> Calculator:
        if len(job.atoms) == 13 and not np.allclose(job.atoms.positions, adslab().positions):
            raise EngineError(self.kind, "no energy there")
        return EMT()


def test_no_energy_from_the_second_start_confirms_nothing() -> None:
    done = verified(sampling(1.0), Failing())
    (flag,) = done.flags
    assert (flag.name, flag.value) == ("not_reproducible", float("inf"))


def test_a_second_start_that_was_stopped_is_tried_again_and_the_first_is_not(
    tmp_path: Path,
) -> None:
    location = EngineLocation(work=str(tmp_path))
    with pytest.raises(EngineError, match="no energy there") as caught:
        verified(sampling(1.0), Failing(location, kind=FailureKind.WALL_LIMIT))
    assert caught.value.kind is FailureKind.WALL_LIMIT
    kept = {path.name for path in (tmp_path / "sampled" / "adslab-a").glob("*.steps")}
    assert kept == {"rung1.steps", "second-start-rung1.steps"}
    done = verified(sampling(1.0), EmtEngine(location), attempt=2)
    assert done.energy_ev == verified(sampling(1.0)).energy_ev
