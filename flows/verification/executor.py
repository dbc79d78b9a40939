"""Where verification computes: what the driver asks of the workers, whichever they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flows.errors import CampaignError
from flows.verification.queue_work import ReferenceJob
from flows.verification.worker import WorkItem, WorkRequest, WorkResult
from screening_db.queue.lease import Lease
from tasks.verification.inputs.resources import Resources
from tasks.verification.labels.energies import EnergyKey


class SubmissionError(CampaignError):
    """A job was not taken; it may be later."""


@dataclass(frozen=True)
class Work:
    """One calculation on its way to a worker: its inputs, what it needs known, what it is given."""

    job: WorkItem | ReferenceJob
    order: WorkRequest
    known: Mapping[EnergyKey, float]
    resources: Resources

    @property
    def lease(self) -> Lease:
        """Return the lease that it is computed under."""
        return self.job.lease


@dataclass(frozen=True)
class Result:
    """How one calculation ended, and the reference energies that were found on the way."""

    outcome: WorkResult
    found: Mapping[EnergyKey, float] = field(default_factory=dict)


class Executor(Protocol):
    """Computes what it is given, some at a time, and tells of each as it ends.

    ``place`` says where jobs run that outlive this process; it is empty where none do.
    """

    place: str

    @property
    def capacity(self) -> int:
        """Return how many calculations may be in flight."""
        ...

    def job_of(self, lease: Lease) -> str:
        """Return the job that computes under a lease, as it is recorded before it is submitted."""
        ...

    def submit(self, work: Work) -> None:
        """Begin one calculation.

        Raises:
            SubmissionError: it was not begun.
        """
        ...

    def collect(self, leases: Sequence[Lease]) -> list[Lease]:
        """Watch jobs that another process submitted; return the leases that have none."""
        ...

    def ended(self, wait_s: float) -> list[Result]:
        """Return what has ended; wait at most so long where nothing has."""
        ...

    def recorded(self, result: Result) -> None:
        """Forget a result: it is in the database."""
        ...

    def drop(self, lease: Lease) -> None:
        """Stop a calculation whose result is not wanted any more, where that can be done."""
        ...
