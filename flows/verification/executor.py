"""Inputs and results of workers as values, and the protocol of executors, which carry them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.errors import CampaignError
from screening_db.calculations import Provenance, StoredGeometry
from screening_db.queue.lease import Lease
from tasks.enumeration import Adsorbate
from tasks.levels import LevelOfTheory
from tasks.verification.engines import EngineLocations, FailureKind
from tasks.verification.inputs.resources import Resources
from tasks.verification.labels.energies import EnergyKey
from tasks.verification.labels.verify import VerifiedEnergy


class SubmissionError(CampaignError):
    """A work item was not accepted; it may be later."""


@dataclass(frozen=True)
class AdslabInputs:
    """An adslab to verify; structures are text.

    ``relaxed`` holds the adslab and its slab as another level relaxed them: what single points are
    of, and relaxations start from.
    ``signs`` are those of the slab's moments, atom by atom, in an antiferromagnet.
    """

    adslab: str
    slab: str
    slab_id: str
    adsorbate: Adsorbate
    relaxed: tuple[str, ...] = ()
    signs: tuple[int, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Return the structures that go in, the one that is computed first."""
        return (self.adslab, self.slab, *self.relaxed)


@dataclass(frozen=True)
class ReferenceInputs:
    """A clean slab or gas molecule to compute; structures are text.

    ``structure`` is empty for a molecule that the level's references name, and ``relaxed`` is a
    slab as another level relaxed it, for single points. ``signs`` are as in ``AdslabInputs``.
    """

    structure: str = ""
    relaxed: str = ""
    signs: tuple[int, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Return the structures that go in, the one that is computed first."""
        return (self.structure, self.relaxed) if self.relaxed else (self.structure,)


@dataclass(frozen=True)
class WorkItem:
    """One calculation as it travels to a worker.

    ``reference_energies`` (eV) are recorded already, and ``last_geometry`` is where an earlier
    attempt was stopped.
    """

    lease: Lease
    inputs: AdslabInputs | ReferenceInputs
    level: LevelOfTheory
    engine_locations: EngineLocations
    resources: Resources
    reference_energies: Mapping[EnergyKey, float] = field(default_factory=dict)
    last_geometry: StoredGeometry | None = None


@dataclass(frozen=True)
class WorkResult:
    """A verified adslab, the energy of a slab or molecule (eV), or why there is neither.

    ``reference_energies`` (eV) are those that had to be computed on the way to an adslab's energy.
    """

    lease: Lease
    verified: VerifiedEnergy | None = None
    failure: FailureKind = FailureKind.BAD_INPUT
    message: str = ""
    energy_ev: float | None = None
    times: int = 1  # how often the failure happened under this one lease
    rungs: tuple[str, ...] = ()  # of a failure: how each rung of the SCF ladder ended
    provenance: Provenance | None = None
    repeats: bool = True  # whether a relaxation at its step limit has another attempt
    work_folder: str = ""  # left by the attempt, to be removed when its result is stored
    reference_energies: Mapping[EnergyKey, float] = field(default_factory=dict)


class Executor(Protocol):
    """Computes work items, some at a time, and returns the result of each as it ends.

    ``location`` names where jobs run that outlive this process; it is empty where none do.
    """

    location: str

    @property
    def capacity(self) -> int:
        """Return how many work items may be in flight."""
        ...

    def job_name(self, lease: Lease) -> str:
        """Return the job that computes under a lease, as it is recorded before it is submitted."""
        ...

    def submit(self, item: WorkItem) -> None:
        """Begin one work item.

        Raises:
            SubmissionError: it was not begun.
        """
        ...

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        """Watch jobs that another process submitted; return the leases that have none."""
        ...

    def wait_for_results(self, wait_s: float) -> list[WorkResult]:
        """Return the results that have come; wait at most so long for the first."""
        ...

    def forget(self, result: WorkResult) -> None:
        """Remove a result that is stored in the database."""
        ...

    def cancel(self, lease: Lease) -> None:
        """Stop a work item whose result is not wanted any more, where that can be done."""
        ...
