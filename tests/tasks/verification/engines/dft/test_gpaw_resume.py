"""GPAW is killed in mid-relaxation and goes on to the same energy."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import add_adsorbate
from support.enumeration.crystals import metal_slab
from support.paths import PYTHONPATH

from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Basis, KPoints, RelaxSettings, Scf
from tasks.verification.engines import EngineLocation, engine_for
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook
from tasks.verification.relaxation.relax import Relaxation

SAME_EV = 2e-3  # the electrons of a step start elsewhere: twice what they are converged to

pytestmark = [
    pytest.mark.skipif(
        find_spec("gpaw") is None, reason="GPAW is not installed: pip install 'sabatier[dft]'"
    ),
    pytest.mark.slow,
    pytest.mark.full,
]


def coarse() -> LevelOfTheory:
    """Return a level for a test of plumbing: its energies are of no worth."""
    theory = level("gpaw-pbe-fast")
    stated = replace(
        theory.require_calculation(),
        basis=Basis(200.0, grid_ang=0.25),
        kpoints=KPoints(6.0),
        scf=Scf(1e-3, max_steps=200),
        relaxation=RelaxSettings("BFGS", 0.05, 30),
    )
    return replace(theory, name="of-the-test", calculation=stated)


def adslab() -> Atoms:
    atoms = metal_slab("Cu", (1, 1, 3), a=3.64, vacuum=5.0, held=3)
    tags = atoms.get_tags()
    add_adsorbate(atoms, "H", 1.3, "fcc")
    atoms.set_tags([*tags, 2])
    return atoms


def relaxed(work: str, book: Logbook) -> Relaxation:
    settled = coarse()
    engine = engine_for(settled, locations={"gpaw": EngineLocation(work=work)})
    return compute(adslab(), settled, engine, book=book)


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
import test_gpaw_resume as here
here.relaxed(sys.argv[1], here.Logbook(item="a", folder="adslab-a"))
"""


def test_gpaw_goes_on_after_a_kill_to_the_same_energy(tmp_path: Path) -> None:
    whole = Logbook()
    undisturbed = relaxed("", whole)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)],
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
    )
    steps = tmp_path / "of-the-test" / "adslab-a" / "rung1.steps"
    try:
        _wait_for_lines(steps, 3, child)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    known = steps.read_bytes().count(b"\n") - 1
    assert 2 <= known <= undisturbed.steps
    rest = Logbook(item="a", folder="adslab-a", attempt=2)
    done = relaxed(str(tmp_path), rest)
    assert done.energy_ev == pytest.approx(undisturbed.energy_ev, abs=SAME_EV)
    assert done.converged
    assert rest.frames[0].step == known  # nothing is computed twice
    assert rest.notes == [f"rung1 goes on after step {known - 1}"]
    assert rest.versions["gpaw"]
    assert b"Energy contributions" in rest.files["rung1-gpaw.txt"]


def _wait_for_lines(path: Path, lines: int, child: subprocess.Popen[bytes]) -> None:
    while not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        if child.poll() is not None:
            raise RuntimeError(f"the child ended with {child.returncode} and did not write {path}")
        time.sleep(0.05)
