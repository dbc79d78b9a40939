"""Resources of one calculation: MPI ranks, threads, memory, wall time.

Everything is scaled from one measured case: 12 copper atoms, Cu(111) 2x2x3 under 10 Å of vacuum, on
3x3 k-points, which time reversal leaves 5 of. With N atoms, k such points (5 for an engine without
any) and s spins (1 or 2)

    work    w = (N / 12)^p * (k / 5) * s
    wall      = 3 * scf_s * w * (12 if atoms are relaxed, else 1) / cpus, within its limits
    memory    = 2 * (base_gb + case_gb * (N / 12)^2 * (k / 5) * s) * 2^class, within its limits

p is 2.5 between the quadratic cost of small cells and the cubic cost of large ones; memory holds
bands times plane waves for each k-point and spin. A relaxation takes 11-21 steps, each cheaper than
the first: measured 4 (H) to 11 (OH) times its slab's single point, so 12. The 3 and the 2 are
margins. A calculation that does not fit into the longest wall time is stopped there and goes on in
the next job.

``scf_s`` is CPU time of one core of a 2-core virtual machine (2026): GPAW, PW(400), 55 s and
0.35 GB; Quantum ESPRESSO 6.7 104 s; CP2K 4 to 10 times GPAW. VASP was not measured and is taken as
GPAW. A program without an entry counts as GPAW without MPI.

Ranks share k-points, so there are never more of them than k-points, and no rank idles: 5 points on
4 ranks take as long as on 3, so 3 are requested. A gas molecule has one k-point and runs serially
(GPAW without ScaLAPACK dies on it otherwise), and so does what ends within the shortest wall time
on one core. GPAW and potentials compute in the worker's own process and have one rank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated

from ase import Atoms
from ase.formula import Formula
from pydantic import Field

from tasks.levels import CalculationMode, LevelOfTheory, Positive, StrictSettings
from tasks.verification.inputs.sampling import is_gas, kpoint_mesh, start_moments

_CASE_ATOMS, _CASE_KPOINTS = 12, 5
_MEMORY_POWER = 2.0
_RELAXED = 12.0
_POTENTIAL_STEPS = 40.0  # whose steps cost as much as the first
_ELECTRONS_POWER = 2.0  # of an engine that computes them
_TIME_MARGIN, _MEMORY_MARGIN = 3.0, 2.0
_HOUR_S, _MINUTE_S = 3600, 60

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class EngineCost(StrictSettings):
    """Cost of an engine in the measured case, and its largest number of ranks.

    ``scf_s`` is CPU time of one energy. ``max_ranks`` is 1 for a program that runs inside the
    worker's own process.
    """

    scf_s: Positive = 55.0
    power: Positive = 2.5  # of the number of atoms
    base_gb: Positive = 0.3  # Python, ASE and the program before it has any atoms
    case_gb: Positive = 0.1
    max_ranks: Count = 1
    threads: Count = 1  # of each rank
    gpus: Annotated[int, Field(ge=0)] = 0


COSTS: Mapping[str, EngineCost] = MappingProxyType(
    {
        "emt": EngineCost(scf_s=0.01, power=1.0, case_gb=0.001),
        "replay": EngineCost(scf_s=0.01, power=1.0, case_gb=0.001),  # a row of a table is read
        "gpaw": EngineCost(),
        "quantum-espresso": EngineCost(scf_s=104.0, max_ranks=16),
        "cp2k": EngineCost(scf_s=385.0, max_ranks=16),
        "vasp": EngineCost(max_ranks=16),
        # EquiformerV2 31M: 2.2 s at 38 atoms, 6.5 s at 102; its weights and torch take the memory
        "fairchem": EngineCost(scf_s=0.8, power=1.0, base_gb=3.0, case_gb=0.01),
        # Rough guesses between the two: none of them was measured here.
        "mace": EngineCost(scf_s=0.8, power=1.0, base_gb=2.0, case_gb=0.02),
        "sevenn": EngineCost(scf_s=0.4, power=1.0, base_gb=1.5, case_gb=0.02),
        "chgnet": EngineCost(scf_s=0.1, power=1.0, base_gb=1.0, case_gb=0.01),
        "diep": EngineCost(scf_s=0.08, power=1.2, base_gb=0.9, case_gb=0.01),
    }
)
_UNKNOWN = EngineCost()


@dataclass(frozen=True)
class ResourceLimits(StrictSettings):
    """Limits of a machine for one calculation, and costs of engines that replace ``COSTS``."""

    min_wall_h: Positive = 0.5
    max_wall_h: Positive = 24.0
    min_memory_gb: Positive = 1.0
    max_memory_gb: Positive = 128.0
    max_cpus: Count = 32
    engines: dict[str, EngineCost] = field(default_factory=dict)

    def cost(self, engine: str) -> EngineCost:
        """Return the cost of an engine on this machine."""
        return self.engines.get(engine, COSTS.get(engine, _UNKNOWN))


@dataclass(frozen=True)
class ResourceDemand:
    """The properties of a structure and its level that decide the cost.

    ``kpoints`` are up to time reversal, and None where the level samples none.
    """

    atoms: int
    kpoints: int | None = None
    spins: int = 1
    mode: CalculationMode = "relaxation"


@dataclass(frozen=True)
class Resources:
    """The resources that one calculation is given."""

    ranks: int
    threads: int
    memory_gb: float
    wall_s: int
    gpus: int = 0


def relaxation_seconds(level: LevelOfTheory, atoms: float) -> float:
    """Return about how long (s of one core) a relaxation takes without k-points or spin."""
    cost = ResourceLimits().cost(level.engine)
    steps = _POTENTIAL_STEPS if cost.power < _ELECTRONS_POWER else _RELAXED
    return float(cost.scf_s * (atoms / _CASE_ATOMS) ** cost.power * steps)


def resources(
    engine: str, demand: ResourceDemand, limits: ResourceLimits | None = None, memory_class: int = 0
) -> Resources:
    """Return the resources of a calculation.

    Args:
        engine: Name of the engine; one without an entry in ``COSTS`` counts as serial GPAW.
        demand: Number of atoms and of k-points, spins, and mode.
        limits: Of the machine, and costs of engines on it.
        memory_class: How often the memory is doubled, after attempts that ran out of it.

    Returns:
        Ranks, threads, memory (GB), wall time (s, whole minutes) and GPUs within ``limits``.
    """
    limits = limits or ResourceLimits()
    cost = limits.cost(engine)
    sampled = (demand.kpoints or _CASE_KPOINTS) / _CASE_KPOINTS * demand.spins
    relative = demand.atoms / _CASE_ATOMS
    serial_s = _TIME_MARGIN * cost.scf_s * relative**cost.power * sampled
    serial_s *= _RELAXED if demand.mode == "relaxation" else 1.0
    threads = min(cost.threads, limits.max_cpus)
    enough = serial_s / threads <= limits.min_wall_h * _HOUR_S
    most = min(cost.max_ranks, limits.max_cpus // threads)
    ranks = 1 if enough else _ranks(demand.kpoints or 1, most)
    wall_s = _within(
        serial_s / (ranks * threads), limits.min_wall_h * _HOUR_S, limits.max_wall_h * _HOUR_S
    )
    own_gb = cost.base_gb * ranks + cost.case_gb * relative**_MEMORY_POWER * sampled
    memory_gb = _within(_MEMORY_MARGIN * own_gb, limits.min_memory_gb, limits.max_memory_gb)
    memory_gb = min(memory_gb * 2**memory_class, limits.max_memory_gb)
    return Resources(ranks, threads, round(memory_gb, 1), _whole_minutes(wall_s), cost.gpus)


def demand_of(atoms: Atoms, level: LevelOfTheory) -> ResourceDemand:
    """Return the demand of ``atoms`` at a level; a gas molecule is always relaxed."""
    stated = level.require_calculation()
    rule = stated.kpoints
    kpoints = None if rule is None else up_to_time_reversal(kpoint_mesh(atoms, rule))
    spins = 2 if start_moments(atoms, stated.spin).any() else 1
    mode: CalculationMode = "relaxation" if is_gas(atoms) else stated.mode
    return ResourceDemand(len(atoms), kpoints, spins, mode)


def molecule_demand(name: str, level: LevelOfTheory) -> ResourceDemand:
    """Return the demand of a gas molecule by its formula; it may have free spins."""
    stated = level.require_calculation()
    atoms = sum(Formula(name).count().values())
    return ResourceDemand(
        atoms, None if stated.kpoints is None else 1, 1 if stated.spin.policy == "none" else 2
    )


def up_to_time_reversal(mesh: tuple[int, int, int]) -> int:
    """Return how many k-points of a mesh around Gamma differ by more than their sign."""
    own_opposite = math.prod(2 - count % 2 for count in mesh)
    return (math.prod(mesh) + own_opposite) // 2


def _ranks(kpoints: int, allowed: int) -> int:
    """Return the fewest ranks that end as early as ``allowed`` ones."""
    most_on_one = math.ceil(kpoints / max(1, min(allowed, kpoints)))
    return math.ceil(kpoints / most_on_one)


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def _whole_minutes(seconds: float) -> int:
    """Return whole minutes where that is one or more: batch systems count in them."""
    if seconds < _MINUTE_S:
        return max(1, math.ceil(seconds))
    return math.ceil(seconds / _MINUTE_S) * _MINUTE_S
