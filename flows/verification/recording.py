"""Store what a verification found, and count what became of the adslabs."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.verification.verified_label import label_row
from flows.verification.worker import WorkResult
from screening_db.calculations.failure_policy import after_failure
from screening_db.database.engine import Database
from screening_db.queue.dependencies import record_references
from screening_db.queue.lease import Lease
from screening_db.queue.queue import complete, complete_reference, fail
from screening_db.tables.verification import ReferenceEnergyRow, ReferenceKind
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
        said = f"{self.converged} converged, {self.anomalous} anomalous, {failed} failed"
        return f"{said}, {self.retried} to be tried again" if self.retried else said


def record_result(db: Database, outcome: WorkResult, counts: VerificationCounts) -> None:
    """Store one outcome; one whose lease was lost was reported by another worker.

    An adslab at its step limit is a failure while it has tries left, and then an anomaly.
    """
    lease, verified, provenance = outcome.lease, outcome.verified, outcome.provenance
    if outcome.energy_ev is not None:
        if complete_reference(db, lease, _reference_row(lease, outcome.energy_ev), provenance):
            remove_work_folder(outcome.work)
    elif verified is None:
        kind, times = outcome.failure.value, outcome.times
        state = fail(db, lease, kind, outcome.message, provenance, times=times)
        counts.retried += state == "queued"
        counts.failed += state == "failed" and lease.kind == "adslab"
    elif not verified.converged and _goes_on(lease):
        counts.retried += fail(db, lease, _UNCONVERGED, _why(verified), provenance) == "queued"
    elif complete(db, lease, label_row(db, lease, verified), provenance):
        remove_work_folder(outcome.work)
        counts.converged += verified.trainable
        counts.anomalous += not verified.trainable


def _goes_on(lease: Lease) -> bool:
    """Tell whether a relaxation at its step limit has another try, from where it has come to."""
    return after_failure(_UNCONVERGED, lease.failures, lease.memory_class).state == "queued"


def _why(verified: VerifiedEnergy) -> str:
    limit = next(flag.limit for flag in verified.flags if flag.name == _UNCONVERGED)
    return (
        f"an adslab must reach forces of {limit:g} eV/Å, got {verified.fmax_ev_ang:.3f} eV/Å after "
        f"{verified.steps} steps"
    )


def record_reference_energies(
    db: Database, level: LevelOfTheory, found: Mapping[EnergyKey, float]
) -> None:
    """Store reference energies that were computed on the way to another energy."""
    rows = [
        ReferenceEnergyRow(level=level.name, kind=key.kind, item=key.item, energy_ev=energy)
        for key, energy in found.items()
    ]
    if rows:
        record_references(db, rows)


def _reference_row(lease: Lease, energy_ev: float) -> ReferenceEnergyRow:
    kind: ReferenceKind = "slab" if lease.kind == "slab" else "gas"
    return ReferenceEnergyRow(level=lease.level, kind=kind, item=lease.item, energy_ev=energy_ev)
