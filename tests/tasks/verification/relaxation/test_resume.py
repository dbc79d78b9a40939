"""A relaxation that was killed goes on where it was and ends where it would have ended."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read
from support.paths import PYTHONPATH

from tasks.levels import LevelOfTheory, level
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    Rung,
)
from tasks.verification.engines.base import LADDER
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.relaxation import checkpoint
from tasks.verification.relaxation.checkpoint import CheckpointError, RelaxationCheckpoint
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import LastGeometry, Logbook
from tasks.verification.relaxation.work_folder import remove_work_folder

pytestmark = pytest.mark.medium


# EMT keeps its neighbour list while atoms move little, so its energies depend on its past so much.
SAME_EV = 1e-8
LEVEL = level("emt")


def start() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    atoms += Atoms("Cu", positions=[atoms.positions[8] + [1.0, 0.3, 1.9]])
    atoms.set_tags([0] * 8 + [1] * 4 + [2])
    atoms.set_constraint(FixAtoms(range(8)))
    return atoms


class Counting(EMT):
    """EMT that counts its answers and may be stopped after some of them."""

    def __init__(self, engine: "CountingEngine") -> None:
        super().__init__()
        self.engine = engine

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        if len(self.engine.answers) == self.engine.stop_after:
            self.engine.stop()
        self.engine.answers.append(1)
        super().calculate(*args, **kwargs)


def _interrupt() -> None:
    raise KeyboardInterrupt  # passes all that catches failures, as a signal does


@dataclass(frozen=True)
class CountingEngine(EmtEngine):
    stop_after: int = -1
    stop: Callable[[], None] = _interrupt
    answers: list[int] = field(default_factory=list)

    def calculator(self, job: CalculationJob) -> Calculator:
        return Counting(self)


def book(attempt: int = 1, **changed: Any) -> Logbook:
    return Logbook(item="a1", folder="adslab-a1-0123", attempt=attempt, **changed)


def stopped(work: Path, after: int, settled: LevelOfTheory = LEVEL) -> None:
    engine = CountingEngine(EngineLocation(work=str(work)), stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        compute(start(), settled, engine, book=book())


def with_optimiser(name: Any) -> LevelOfTheory:
    stated = LEVEL.require_calculation()
    return replace(
        LEVEL,
        calculation=replace(stated, relaxation=replace(stated.relaxation, optimiser=name)),
    )


@pytest.mark.parametrize("optimiser", ["BFGS", "LBFGS", "FIRE", "BFGS+FIRE"])
def test_a_stopped_relaxation_ends_as_if_it_had_not_been(tmp_path: Path, optimiser: Any) -> None:
    settled = with_optimiser(optimiser)
    whole = CountingEngine()
    undisturbed = compute(start(), settled, whole)
    stopped(tmp_path, 5, settled)
    rest = CountingEngine(EngineLocation(work=str(tmp_path)))
    diary = book(attempt=2)
    done = compute(start(), settled, rest, book=diary)
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)
    assert done.steps == undisturbed.steps
    assert done.initial_fmax_ev_ang == undisturbed.initial_fmax_ev_ang
    assert len(rest.answers) == len(whole.answers) - 5  # nothing is computed twice
    np.testing.assert_allclose(done.atoms.positions, undisturbed.atoms.positions, atol=1e-5)
    assert diary.notes == ["rung1 goes on after step 4"]
    assert [frame.step for frame in diary.frames] == list(range(5, undisturbed.steps + 1))


def test_one_that_was_done_and_not_reported_is_not_computed_again(tmp_path: Path) -> None:
    location = EngineLocation(work=str(tmp_path))
    first = compute(start(), LEVEL, CountingEngine(location), book=book())
    again = CountingEngine(location)
    assert compute(start(), LEVEL, again, book=book(2)).energy_ev == first.energy_ev
    assert again.answers == []


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_resume import CountingEngine, LEVEL, book, start
from tasks.verification.relaxation.compute import compute
from tasks.verification.engines import EngineLocation
import time

class Stops(list):
    def append(self, one):
        if len(self) == 4:
            time.sleep(3600)
        super().append(one)

engine = CountingEngine(EngineLocation(work=sys.argv[1]), answers=Stops())
compute(start(), LEVEL, engine, book=book())
"""


@pytest.mark.medium
def test_kill_9_costs_one_step_at_most(tmp_path: Path) -> None:
    whole = CountingEngine()
    undisturbed = compute(start(), LEVEL, whole)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)],
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
    )
    steps = tmp_path / "emt" / "adslab-a1-0123" / "rung1.steps"
    try:
        _wait_for_lines(steps, 5, child)  # a header and four steps
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    done_before = len(steps.read_bytes().splitlines()) - 1
    assert done_before == 4 < len(whole.answers)
    rest = CountingEngine(EngineLocation(work=str(tmp_path)))
    done = compute(start(), LEVEL, rest, book=book(2))
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)
    assert len(rest.answers) <= len(whole.answers) - done_before + 1


def _wait_for_lines(path: Path, lines: int, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.02)
    raise RuntimeError(f"the child ended with {child.returncode} and did not write {path}")


def test_the_line_that_a_kill_cut_costs_its_step_alone(tmp_path: Path) -> None:
    stopped(tmp_path, 6)
    file = _steps(tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    rest, diary = CountingEngine(EngineLocation(work=str(tmp_path))), book(2)
    done = compute(start(), LEVEL, rest, book=diary)
    assert diary.notes == ["rung1 goes on after step 4"]
    undisturbed = compute(start(), LEVEL, CountingEngine())
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)


def _steps(work: Path) -> Path:
    return work / "emt" / "adslab-a1-0123" / "rung1.steps"


def _cut_in_the_middle(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2][: len(lines[2]) // 2] + b"\n", *lines[3:]]


def _edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"step":1', b'"step":7'), *lines[3:]]


DAMAGE: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "cut": (_cut_in_the_middle, "line 3 .* does not follow"),
    "edited": (_edited, "line 3 .* does not follow"),
    "a line lost": (lambda lines: [lines[0], *lines[2:]], "line 2 .* does not follow"),
    "headless": (lambda lines: lines[1:], "line 1 .* does not follow"),
    "nothing": (lambda lines: [], "is empty"),
    "noise": (lambda lines: [os.urandom(200) + b"\n"], "line 1 .* does not follow"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_calculation_begins_again(
    tmp_path: Path, case: str
) -> None:
    damage, why = DAMAGE[case]
    stopped(tmp_path, 6)
    file = _steps(tmp_path)
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    whole, rest, diary = (
        CountingEngine(),
        CountingEngine(EngineLocation(work=str(tmp_path))),
        book(2),
    )
    undisturbed = compute(start(), LEVEL, whole)
    assert compute(start(), LEVEL, rest, book=diary).energy_ev == undisturbed.energy_ev
    assert rest.answers == whole.answers
    (note,) = diary.notes
    assert "begun again without its checkpoint" in note
    assert re.search(why, note)


def test_a_checkpoint_of_another_calculation_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, 3)
    other = RelaxationCheckpoint(_steps(tmp_path), "slab-b2-4567", 1)
    with pytest.raises(CheckpointError, match="of another calculation"):
        other.read()


def test_a_checkpoint_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tmp_path, 3)
    monkeypatch.setattr(checkpoint, "_FORMAT", 2)
    with pytest.raises(CheckpointError, match="or release"):
        RelaxationCheckpoint(_steps(tmp_path), "adslab-a1-0123", 1).read()


def test_where_the_optimiser_goes_another_way_the_rest_is_computed(tmp_path: Path) -> None:
    """As when a release of the optimiser was installed in between."""
    fire = with_optimiser("FIRE")
    stopped(tmp_path, 8, fire)
    rest = CountingEngine(EngineLocation(work=str(tmp_path)))
    done = compute(start(), LEVEL, rest, book=book(2))
    whole = CountingEngine()
    undisturbed = compute(start(), LEVEL, whole)
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)
    assert len(rest.answers) == len(whole.answers) - 1  # the start alone was known
    again = CountingEngine(EngineLocation(work=str(tmp_path)))
    compute(start(), LEVEL, again, book=book(3))
    assert again.answers == []  # the file holds the new way


def hasty(limit_s: float) -> LevelOfTheory:
    stated = LEVEL.require_calculation()
    relaxation = replace(stated.relaxation, wall_limit_s=limit_s)
    return replace(LEVEL, calculation=replace(stated, relaxation=relaxation))


def test_tries_that_end_at_the_wall_limit_end_at_the_same_energy(tmp_path: Path) -> None:
    engine, whole = CountingEngine(EngineLocation(work=str(tmp_path))), CountingEngine()
    undisturbed = compute(start(), LEVEL, whole)
    for tried in range(undisturbed.steps):  # each goes one step further
        with pytest.raises(EngineError, match=f"were over after {tried} steps") as caught:
            compute(start(), hasty(1e-9), engine, book=book(tried + 1))
        assert caught.value.kind is FailureKind.WALL_LIMIT
    done = compute(start(), hasty(1e-9), engine, book=book(undisturbed.steps + 1))
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)
    assert len(engine.answers) == len(whole.answers)


def test_on_another_machine_it_goes_on_from_the_last_geometry(tmp_path: Path) -> None:
    engine, diary = CountingEngine(EngineLocation(work=str(tmp_path))), book()
    for _ in range(5):
        with pytest.raises(EngineError, match="were over after"):
            compute(start(), hasty(1e-9), engine, book=diary)
    assert diary.atoms is not None
    last = LastGeometry(diary.atoms, 1, diary.frames[0].fmax_ev_ang)
    elsewhere, there = EngineLocation(work=str(tmp_path / "elsewhere")), book(2, last=last)
    done = compute(start(), LEVEL, CountingEngine(elsewhere), book=there)
    undisturbed = compute(start(), LEVEL, CountingEngine())
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=5e-3)
    assert done.steps < undisturbed.steps
    assert done.initial_fmax_ev_ang == undisturbed.initial_fmax_ev_ang
    assert there.notes == ["begun at the last geometry of try 1"]


def test_a_later_try_elsewhere_goes_before_an_older_checkpoint(tmp_path: Path) -> None:
    stopped(tmp_path, 3)
    relaxed = compute(start(), LEVEL, CountingEngine()).atoms
    diary = book(3, last=LastGeometry(relaxed, attempt=2))
    done = compute(start(), LEVEL, CountingEngine(EngineLocation(work=str(tmp_path))), book=diary)
    assert done.steps == 0
    assert diary.notes == ["begun at the last geometry of try 2"]


def test_a_last_geometry_of_other_atoms_is_left_out(tmp_path: Path) -> None:
    diary = book(2, last=LastGeometry(fcc111("Cu", (1, 1, 3), vacuum=8.0), 1))
    compute(start(), LEVEL, CountingEngine(), book=diary)
    assert diary.notes == ["the last geometry is of other atoms and was left out"]


def test_a_folder_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    noted = []

    def meanwhile() -> None:
        late = book(2)
        done = compute(start(), LEVEL, CountingEngine(location), book=late)
        noted.append((done.energy_ev, late.notes))

    location = EngineLocation(work=str(tmp_path))
    engine = CountingEngine(location, stop_after=3, stop=meanwhile)
    done = compute(start(), LEVEL, engine, book=book())
    ((energy_ev, (note,)),) = noted
    assert energy_ev == done.energy_ev
    assert f"held by process {os.getpid()} on " in note


def test_a_work_folder_that_cannot_be_written_costs_the_checkpoint_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    diary = book()
    compute(start(), LEVEL, CountingEngine(EngineLocation(work=str(tmp_path / "file"))), book=diary)
    (note,) = diary.notes
    assert "cannot be written" in note


def test_an_engine_never_sees_files_of_before_and_the_folder_goes_when_it_is_done(
    tmp_path: Path,
) -> None:
    stopped(tmp_path, 3)
    old = _steps(tmp_path).parent / "run-killed" / "rung1"
    old.mkdir(parents=True)
    (old / "gpaw.txt").write_text("of before")
    diary = book(2)
    compute(start(), LEVEL, CountingEngine(EngineLocation(work=str(tmp_path))), book=diary)
    assert list(_steps(tmp_path).parent.glob("run-*")) == []
    remove_work_folder(diary.work_folder)
    assert list((tmp_path / "emt").iterdir()) == []


def test_a_folder_that_is_no_work_folder_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    remove_work_folder(str(tmp_path / "precious"))
    remove_work_folder("")
    assert (tmp_path / "precious").is_dir()


def test_a_step_limit_leaves_its_end_to_go_on_from(tmp_path: Path) -> None:
    stated = LEVEL.require_calculation()
    short = replace(
        LEVEL,
        calculation=replace(stated, relaxation=replace(stated.relaxation, max_steps=3)),
    )
    location, diary = EngineLocation(work=str(tmp_path)), book()
    first = compute(start(), short, CountingEngine(location), book=diary)
    assert not first.converged
    assert diary.atoms is not None
    last = LastGeometry(diary.atoms, 1)
    second = compute(start(), short, CountingEngine(location), book=book(2, last=last))
    assert second.energy_ev < first.energy_ev


@dataclass(frozen=True)
class Stuck(CountingEngine):
    """Electrons that converge on the second rung alone."""

    ladder = LADDER

    def calculator(self, job: CalculationJob) -> Calculator:
        (job.folder / "log.txt").write_text(f"on {job.rung.value}")
        if job.rung is Rung.AS_STATED and not self.answers:
            raise EngineError(FailureKind.SCF_NOT_CONVERGED, "stuck")
        return super().calculator(job)

    outputs = ("log.txt",)

    def version_in_output(self, folder: Path) -> str:
        return (folder / "log.txt").read_text()


def test_what_an_engine_wrote_and_the_steps_are_kept_the_last_rung_first(tmp_path: Path) -> None:
    diary = book()
    done = compute(start(), LEVEL, Stuck(EngineLocation(work=str(tmp_path))), book=diary)
    assert list(diary.files) == ["rung2.extxyz", "rung2-log.txt", "rung1-log.txt"]
    assert diary.files["rung1-log.txt"] == b"on as stated"
    assert diary.versions["emt"] == "on gentle mixing"
    images = read(StringIO(diary.files["rung2.extxyz"].decode()), ":", format="extxyz")
    assert len(images) == done.steps + 1
    assert images[-1].get_potential_energy() == pytest.approx(done.energy_ev, abs=1e-6)
    assert images[0].get_forces().shape == (13, 3)


@dataclass(frozen=True)
class Climbing(CountingEngine):
    """Electrons that converge on the third rung alone; it notes the rungs that it was asked for."""

    ladder = LADDER
    rungs: list[Rung] = field(default_factory=list)

    def calculator(self, job: CalculationJob) -> Calculator:
        self.rungs.append(job.rung)
        if job.rung is not Rung.SMEARED_START:
            raise EngineError(FailureKind.SCF_NOT_CONVERGED, "stuck")
        return super().calculator(job)


def test_the_ladder_goes_on_at_the_rung_where_it_was_stopped(tmp_path: Path) -> None:
    location = EngineLocation(work=str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        compute(start(), LEVEL, Climbing(location, stop_after=3), book=book())
    again, diary = Climbing(location), book(2)
    done = compute(start(), LEVEL, again, book=diary)
    assert again.rungs == [Rung.SMEARED_START]
    assert [tried.kind for tried in done.tries] == [FailureKind.SCF_NOT_CONVERGED] * 2 + [None]
    assert diary.rungs[0] == "as stated: scf_not_converged in an earlier try: stuck"
    assert diary.notes == ["rung3 goes on after step 2"]


def test_a_ladder_that_has_ended_begins_anew_when_it_is_retried(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Lost(Climbing):
        ladder = LADDER[:2]

    for attempt in (1, 2):
        engine = Lost(EngineLocation(work=str(tmp_path)))
        with pytest.raises(EngineError, match="did not converge in 2 tries"):
            compute(start(), LEVEL, engine, book=book(attempt))
        assert engine.rungs == list(LADDER[:2])
