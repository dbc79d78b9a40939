"""Store the results of a verification, and count how its adslabs ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.records.to_rows import label_row, reference_row
from flows.verification.executor import WorkResult
from screening_db.calculations import after_failure
from screening_db.database import Database
from screening_db.queue.dependencies import record_references
from screening_db.queue.lease import Lease
from screening_db.queue.queue import complete, complete_reference, fail
from screening_db.tables import ReferenceKind
from tasks.levels import LevelOfTheory
from tasks.verification.engines import FailureKind
from tasks.verification.labels.energies import EnergyKey
from tasks.verification.labels.verify import VerifiedEnergy
from tasks.verification.relaxation.work_folder import remove_work_folder

_UNCONVERGED = FailureKind.IONS_NOT_CONVERGED.value


@dataclass
class VerificationCounts:
    """How the adslabs of one run ended.

    ``dependency_failed`` were not tried, because their slab or a gas molecule failed; ``retried``
    are attempts whose item goes back to the queue.
    """

    converged: int = 0
    anomalous: int = 0
    failed: int = 0
    dependency_failed: int = 0
    retried: int = 0

    @property
    def ended(self) -> int:
        """Return how many adslabs need no more work."""
        return self.converged + self.anomalous + self.failed + self.dependency_failed

    def __str__(self) -> str:
        """Return the counts as they are printed."""
        failed = self.failed + self.dependency_failed
        line = f"{self.converged} converged, {self.anomalous} anomalous, {failed} failed"
        return f"{line}, {self.retried} to be tried again" if self.retried else line


def record_result(db: Database, result: WorkResult, counts: VerificationCounts) -> None:
    """Store one result, and count it.

    An adslab at its step limit is a failure while it has attempts left, and then an anomaly; of an
    engine that repeats no relaxation it is one at once. A
    result whose lease was lost is not stored, nor counted: another worker has the item.

    Args:
        db: The database that the lease is of.
        result: How the work item ended.
        counts: The counts of this run, which are raised.
    """
    lease, verified, provenance = result.lease, result.verified, result.provenance
    if result.energy_ev is not None:
        row = reference_row(lease.level, _kind(lease), lease.item, result.energy_ev)
        if complete_reference(db, lease, row, provenance):
            remove_work_folder(result.work_folder)
    elif verified is None:
        kind, times = result.failure.value, result.times
        state = fail(db, lease, kind, result.message, provenance, times=times)
        counts.retried += state == "queued"
        counts.failed += state == "failed" and lease.kind == "adslab"
    elif not verified.converged and result.repeats and _goes_on(lease):
        state = fail(db, lease, _UNCONVERGED, _not_converged(verified), provenance)
        counts.retried += state == "queued"
    elif complete(db, lease, label_row(db, lease, verified), provenance):
        remove_work_folder(result.work_folder)
        counts.converged += verified.trainable
        counts.anomalous += not verified.trainable


def record_reference_energies(
    db: Database, level: LevelOfTheory, energies_ev: Mapping[EnergyKey, float]
) -> None:
    """Store reference energies that were computed on the way to another energy."""
    rows = [
        reference_row(level.name, key.kind, key.item, energy_ev)
        for key, energy_ev in energies_ev.items()
    ]
    if rows:
        record_references(db, rows)


def _kind(lease: Lease) -> ReferenceKind:
    return "slab" if lease.kind == "slab" else "gas"


def _goes_on(lease: Lease) -> bool:
    """Return whether a relaxation at its step limit has another attempt, from its last geometry."""
    return after_failure(_UNCONVERGED, lease.failures, lease.memory_class).state == "queued"


def _not_converged(verified: VerifiedEnergy) -> str:
    limit = next(flag.limit for flag in verified.flags if flag.name == _UNCONVERGED)
    return (
        f"an adslab must reach forces of {limit:g} eV/Å, got {verified.fmax_ev_ang:.3f} eV/Å after "
        f"{verified.steps} steps"
    )
