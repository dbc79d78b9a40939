"""The size at which a level of theory has the least energy of a crystal."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from tasks.enumeration import Bulk, FileSpec, FormulaSpec, SlabSpec, enumerate_slabs, resolve_bulks
from tasks.errors import UserError
from tasks.levels import level
from tasks.levels.calculation import KPoints, Spin
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    Rung,
    engine_for,
)
from tasks.verification.engines.base import LADDER
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.engines.replay import ReplayEngine
from tasks.verification.inputs.sampling import kpoint_mesh, start_moments
from tasks.verification.lattice import crystal_file, equilibrium, kept_stretch, write_crystal

pytestmark = pytest.mark.medium

EMT_LEVEL = level("emt")


@dataclass(frozen=True)
class Watched(EmtEngine):
    """EMT that keeps what it was asked, and needs the ladder for the first of it."""

    ladder: ClassVar[tuple[Rung, ...]] = LADDER
    seen: list[CalculationJob] = field(default_factory=list)

    def calculator(self, job: CalculationJob) -> Calculator:
        self.seen.append(job)
        if len(self.seen) == 1:
            raise EngineError(FailureKind.SCF_NOT_CONVERGED, "stuck")
        return EMT()


def crystal(formula: str, prototype: str | None = None) -> Bulk:
    (bulk,), _ = resolve_bulks([FormulaSpec(formula, prototype)])
    return bulk


def scanned(atoms: Atoms) -> float:
    """Return the stretch with the lowest energy of a fine scan with EMT itself."""
    stretches = np.arange(0.98, 1.005, 0.0001)
    energies = []
    for stretch in stretches:
        sized = atoms.copy()
        sized.set_cell(atoms.cell.array * stretch, scale_atoms=True)
        sized.calc = EMT()
        energies.append(sized.get_potential_energy())
    return float(stretches[int(np.argmin(energies))])


def written(bulk: Bulk, folder: Path) -> Path:
    engine = engine_for(EMT_LEVEL)
    file = crystal_file(bulk, folder)
    write_crystal(file, bulk, EMT_LEVEL, engine, equilibrium(bulk.atoms, EMT_LEVEL, engine))
    return file


@pytest.mark.parametrize(("formula", "prototype"), [("Cu", None), ("Cu3Pt", "L1_2")])
def test_a_lattice_constant_is_the_one_of_least_energy(formula: str, prototype: str | None) -> None:
    bulk = crystal(formula, prototype)
    found = equilibrium(bulk.atoms, EMT_LEVEL, engine_for(EMT_LEVEL))
    assert found.stretch == pytest.approx(scanned(bulk.atoms), abs=2e-4)
    assert found.stretch != pytest.approx(1.0, abs=4e-3)
    assert len(found.points) == 5


@pytest.mark.parametrize("start", [0.94, 1.06])
def test_a_start_of_the_wrong_size_is_left(start: float) -> None:
    copper = crystal("Cu").atoms
    wrong = copper.copy()
    wrong.set_cell(copper.cell.array * start, scale_atoms=True)
    found = equilibrium(wrong, EMT_LEVEL, engine_for(EMT_LEVEL))
    assert start * found.stretch == pytest.approx(scanned(copper), abs=2e-4)


def test_a_crystal_without_a_minimum_near_its_size_is_refused_by_name() -> None:
    atoms = crystal("Cu").atoms
    atoms.set_cell(atoms.cell.array * 1.2, scale_atoms=True)
    with pytest.raises(UserError, match=r"Cu at level emt has none from -8 to \+2 % in length"):
        equilibrium(atoms, EMT_LEVEL, engine_for(EMT_LEVEL))


def test_every_size_is_admitted_climbs_the_ladder_and_has_the_mesh_of_the_start() -> None:
    spin = Spin("magnetic-elements", {"Ni": 1.0})
    kpoints = KPoints(14.5)  # 8 at the start of nickel, 7 where it is 2 % longer
    stated = replace(EMT_LEVEL.require_calculation(), kpoints=kpoints, spin=spin)
    at, engine = replace(EMT_LEVEL, calculation=stated), Watched()
    found = equilibrium(crystal("Ni").atoms, at, engine)
    assert len(engine.seen) == 1 + len(found.points)
    meshes = set()
    for job in engine.seen:
        assert job.calculation.kpoints is not None
        meshes.add(kpoint_mesh(job.atoms, job.calculation.kpoints))
        assert start_moments(job.atoms, job.calculation.spin).tolist() == [1.0]
        assert job.atoms.get_initial_magnetic_moments().tolist() == [1.0]
    assert meshes == {(8, 8, 8)}
    with pytest.raises(EngineError, match="no potential for Fe"):
        equilibrium(crystal("Fe").atoms, EMT_LEVEL, engine_for(EMT_LEVEL))


def test_a_table_of_known_energies_has_no_lattice_constant() -> None:
    with pytest.raises(UserError, match="needs energies of crystals, engine replay knows"):
        equilibrium(crystal("Cu").atoms, EMT_LEVEL, ReplayEngine(EngineLocation()))


@pytest.mark.parametrize("prototype", ["L1_0", "hcp"])
def test_a_written_crystal_has_the_surfaces_of_its_start(prototype: str, tmp_path: Path) -> None:
    start = crystal("CuPt" if prototype == "L1_0" else "Cu", prototype)
    file = written(start, tmp_path)
    (read,), refused = resolve_bulks([FileSpec(str(tmp_path / "*"))])
    assert (read.formula, refused) == (start.formula, [])
    stretch = kept_stretch(file, start, EMT_LEVEL)
    assert stretch is not None
    assert np.allclose(read.atoms.cell.array, stretch * start.atoms.cell.array)
    cuts = [enumerate_slabs(bulk, SlabSpec(max_miller=1))[0] for bulk in (start, read)]
    assert [slab.miller for slab in cuts[0]] == [slab.miller for slab in cuts[1]]


def test_a_file_of_another_level_or_making_is_never_overwritten(tmp_path: Path) -> None:
    copper = crystal("Cu")
    file = written(copper, tmp_path)
    other = replace(EMT_LEVEL, name="mine", functional="other")
    with pytest.raises(UserError, match=r"is of level emt \(.*asked for is mine .* with --out"):
        kept_stretch(file, copper, other)
    file.write_text("1\n\nCu 0 0 0\n")
    with pytest.raises(UserError, match="was not written by sabatier lattice; move it"):
        kept_stretch(file, copper, EMT_LEVEL)
