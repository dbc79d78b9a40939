"""What a calculation asks for grows with atoms, k-points and spins, and stays within limits."""

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import fcc111, molecule

from tasks.levels import level
from tasks.verification.engines import EngineLocation
from tasks.verification.engines.base import program_missing
from tasks.verification.engines.launch import missing_launcher, thread_variables, with_ranks
from tasks.verification.inputs.resources import (
    COSTS,
    EngineCost,
    ResourceDemand,
    ResourceLimits,
    demand_of,
    molecule_demand,
    resources,
    up_to_time_reversal,
)
from tasks.verification.inputs.sampling import boxed

GPAW, QE = level("gpaw-rpbe"), level("qe-pbe")
LARGE = ResourceDemand(atoms=60, kpoints=8, spins=2)


def slab(size: int, metal: str = "Cu") -> Atoms:
    return fcc111(metal, (size, size, 3), vacuum=8.0, periodic=True)


def test_the_measured_case_is_given_three_times_what_it_took() -> None:
    wide = ResourceLimits(min_wall_h=0.001, min_memory_gb=0.01)
    given = resources("gpaw", ResourceDemand(12, 5, 1, "single_point"), wide)
    assert given.wall_s == pytest.approx(3 * 55, abs=60)
    assert given.memory_gb == pytest.approx(2 * 0.4)  # 0.35 GB were measured


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (ResourceDemand(20, 5), ResourceDemand(21, 5)),
        (ResourceDemand(20, 5), ResourceDemand(20, 6)),
        (ResourceDemand(20, 5, 1), ResourceDemand(20, 5, 2)),
        (ResourceDemand(20, 5, mode="single_point"), ResourceDemand(20, 5)),
    ],
)
def test_more_of_anything_takes_no_less(smaller: ResourceDemand, larger: ResourceDemand) -> None:
    few, many = resources("gpaw", smaller), resources("gpaw", larger)
    assert few.wall_s < many.wall_s
    assert few.memory_gb <= many.memory_gb


@pytest.mark.parametrize("engine", sorted(COSTS))
@pytest.mark.parametrize("kpoints", [1, 2, 5, 7, 13, None])
def test_there_are_never_more_ranks_than_kpoints_and_none_idles(
    engine: str, kpoints: int | None
) -> None:
    given = resources(engine, ResourceDemand(60, kpoints, 2))
    points = kpoints or 1
    assert 1 <= given.ranks <= min(points, COSTS[engine].max_ranks)
    rounds = -(-points // given.ranks)
    assert given.ranks == 1 or -(-points // (given.ranks - 1)) > rounds


def test_gas_molecules_run_serially() -> None:
    hydrogen = boxed(molecule("H2"), 6.0)
    for stated in (GPAW, QE):
        demand = demand_of(hydrogen, stated)
        assert (demand.atoms, demand.kpoints, demand.mode) == (2, 1, "relaxation")
        assert resources(stated.engine, demand).ranks == 1
    assert molecule_demand("CH3OH", GPAW).atoms == 6


def test_what_runs_in_the_workers_own_process_has_one_rank() -> None:
    assert {resources(engine, LARGE).ranks for engine in ("gpaw", "fairchem", "emt")} == {1}
    assert resources("quantum-espresso", LARGE).ranks == 8


def test_each_memory_class_doubles_the_memory_up_to_the_limit() -> None:
    found = [resources("gpaw", LARGE, memory_class=n).memory_gb for n in range(8)]
    assert found[1] == pytest.approx(2 * found[0], abs=0.1)
    assert found[2] == pytest.approx(4 * found[0], abs=0.2)
    assert found[-1] == ResourceLimits().max_memory_gb


def test_limits_hold() -> None:
    limits = ResourceLimits(max_wall_h=2.0, max_memory_gb=4.0, max_cpus=3)
    given = resources("cp2k", ResourceDemand(200, 20, 2), limits, memory_class=3)
    assert (given.wall_s, given.memory_gb) == (7200, 4.0)
    assert given.ranks * given.threads <= 3


def test_a_user_states_what_an_engine_costs() -> None:
    limits = ResourceLimits(engines={"own": EngineCost(scf_s=1.0, max_ranks=4, threads=2, gpus=1)})
    given = resources("own", ResourceDemand(60, 8, 2, "relaxation"), limits)
    assert (given.threads, given.gpus) == (2, 1)
    assert resources("unheard-of", LARGE) == resources("gpaw", LARGE)


@pytest.mark.parametrize(
    ("mesh", "left"),
    [((3, 3, 1), 5), ((4, 4, 1), 10), ((1, 1, 1), 1), ((2, 1, 1), 2), ((5, 5, 5), 63)],
)
def test_time_reversal_leaves_one_of_two_opposite_kpoints(
    mesh: tuple[int, int, int], left: int
) -> None:
    assert up_to_time_reversal(mesh) == left


def test_a_slab_asks_by_its_mesh_and_its_magnetic_elements() -> None:
    copper, nickel = demand_of(slab(2), GPAW), demand_of(slab(2, "Ni"), GPAW)
    assert (copper.spins, nickel.spins) == (1, 2)
    assert copper.atoms == 12
    small = demand_of(slab(1), GPAW).kpoints
    assert small is not None
    assert copper.kpoints is not None
    assert small > copper.kpoints
    assert demand_of(slab(2), level("emt")).kpoints is None


@pytest.mark.parametrize(
    ("command", "ranks", "started"),
    [
        ("", 4, "mpirun -n 4 pw.x"),
        ("", 1, ""),
        ("/opt/qe/pw.x -nk 2", 4, "mpirun -n 4 /opt/qe/pw.x -nk 2"),
        ("srun -n {ranks} pw.x", 1, "srun -n 1 pw.x"),
        ("env A=1 /usr/bin/mpirun -n 16 pw.x", 4, "env A=1 /usr/bin/mpirun -n 16 pw.x"),
    ],
)
def test_the_program_is_started_on_its_ranks(command: str, ranks: int, started: str) -> None:
    locations = {"quantum-espresso": EngineLocation(command, "potentials", "work")}
    found = with_ranks(locations, QE, ranks)
    assert found["quantum-espresso"] == EngineLocation(started, "potentials", "work")


def test_a_program_inside_the_worker_is_not_launched() -> None:
    assert with_ranks({}, GPAW, 4) == {}
    assert with_ranks({}, QE, 3, "srun -n {ranks}")["quantum-espresso"].command == "srun -n 3 pw.x"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``pw.x`` be the one program that is found, beside those of the system."""
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("command", "launcher", "missing"),
    [
        ("", "mpirun -n {ranks}", "mpirun"),
        ("pw.x -nk 2", "srun -n {ranks}", "srun"),
        ("pw.x", "env", ""),
        ("mpirun -n 2 pw.x", "mpirun -n {ranks}", ""),  # the engine itself looks for it
        ("srun -n {ranks} pw.x", "mpirun -n {ranks}", ""),
    ],
)
def test_a_launcher_that_is_not_found_is_named(command: str, launcher: str, missing: str) -> None:
    locations = {"quantum-espresso": EngineLocation(command)}
    assert missing_launcher(QE, locations, launcher) == missing
    assert missing_launcher(GPAW, {}, launcher) == ""


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("pw.x", ""),
        ("mpirun -n 2 pw.x", "mpirun is not found: apt-get install openmpi-bin, or take it out"),
        ("mpiexec -n 2 pw.x", "mpiexec is not found: apt-get install openmpi-bin, or take"),
        ("srun pw.x", "srun is not found: it comes with Slurm: run the command on that cluster"),
        ("cp2k_shell", "cp2k_shell is not found: apt-get install it"),
        ("env A=1 cp2k_shell", "cp2k_shell is not found: apt-get install it"),
    ],
)
def test_what_a_command_lacks_is_named_with_a_way_out(command: str, said: str) -> None:
    found = program_missing(command, "apt-get install it")
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_every_library_gets_the_same_number_of_threads() -> None:
    found = thread_variables(3)
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(found)
    assert set(found.values()) == {"3"}
