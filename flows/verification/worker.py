"""What one worker does of a verification: it computes, and tells what it found as values."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flows.verification.attempts import logbook, with_logbook
from flows.verification.queue_work import (
    ReferenceJob,
    provenance,
    reference_energy_ev,
    require_unchanged,
)
from flows.verification.step_events import StepReporter
from screening_db.calculations.attempts import Provenance, StoredGeometry
from screening_db.queue.lease import Lease
from tasks.enumeration.adsorbates import Adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.identity import require_stored_ids
from tasks.structures.json_text import structure_from_text, structure_text
from tasks.verification.engines import Engine, EngineError, EngineLocations, FailureKind, engine_for
from tasks.verification.labels.energies import EnergyKey
from tasks.verification.labels.verify import RelaxedGeometries, VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.logbook import Logbook


@dataclass(frozen=True)
class WorkItem:
    """One adslab to verify, as it travels to a worker; structures are text."""

    lease: Lease
    adslab: str
    slab: str
    slab_id: str
    adsorbate: Adsorbate
    last: StoredGeometry | None = None  # where an earlier try was stopped
    relaxed: tuple[str, ...] = ()  # adslab and slab as another level relaxed them, if it is to be


@dataclass(frozen=True)
class WorkRequest:
    """At which level, and where its engine is; it travels to the workers."""

    level: LevelOfTheory
    locations: EngineLocations


@dataclass(frozen=True)
class WorkResult:
    """A verified adslab, the energy of a slab or molecule, or why there is neither."""

    lease: Lease
    verified: VerifiedEnergy | None = None
    failure: FailureKind = FailureKind.BAD_INPUT
    message: str = ""
    energy_ev: float | None = None
    times: int = 1  # how often the failure happened under this one lease
    rungs: tuple[str, ...] = ()  # of a failure: what each rung of the SCF ladder came to
    provenance: Provenance | None = None
    work: str = ""  # the folder that the try leaves, to be removed when its result is stored


@dataclass
class KnownEnergies:
    """Reference energies that are recorded, and those found since."""

    recorded: dict[EnergyKey, float]
    found: dict[EnergyKey, float] = field(default_factory=dict)

    def get(self, key: EnergyKey) -> float | None:
        """Return the energy kept under a key, or None."""
        return self.found.get(key, self.recorded.get(key))

    def put(self, key: EnergyKey, energy_ev: float) -> None:
        """Keep one energy."""
        self.found[key] = energy_ev


def verify_group(
    jobs: Sequence[WorkItem | ReferenceJob], order: WorkRequest, recorded: dict[EnergyKey, float]
) -> tuple[list[WorkResult], dict[EnergyKey, float]]:
    """Verify adslabs of one slab, or one slab or molecule; this runs on a worker.

    Also returns the reference energies that had to be computed on the way.
    """
    known = KnownEnergies(recorded)
    try:
        engine = engine_for(order.level, locations=order.locations)
    except UserError as fault:  # where the run began the level can be computed
        return [_not_here(job, order.level, str(fault)) for job in jobs], {}
    return [_verify_one(job, order.level, known, engine) for job in jobs], known.found


def _verify_one(
    job: WorkItem | ReferenceJob, level: LevelOfTheory, known: KnownEnergies, engine: Engine
) -> WorkResult:
    began, reporter = time.time(), StepReporter(job.lease, engine.location.work)
    book = logbook(job.lease, level.level_hash, _texts(job), job.last, reporter)
    try:
        outcome = _computed(job, level, known, engine, book)
    except EngineError as failure:
        outcome = _failed(job.lease, failure)
    except UserError as error:
        outcome = WorkResult(job.lease, None, FailureKind.BAD_INPUT, str(error))
    reporter.end()
    told = replace(_provenance(job, level, outcome, began), rungs=outcome.rungs)
    return replace(outcome, provenance=with_logbook(told, book), work=book.work_folder)


def _not_here(job: WorkItem | ReferenceJob, level: LevelOfTheory, message: str) -> WorkResult:
    outcome = WorkResult(job.lease, failure=FailureKind.NOT_INSTALLED, message=message)
    return replace(outcome, provenance=_provenance(job, level, outcome, time.time()))


def _texts(job: WorkItem | ReferenceJob) -> tuple[str, ...]:
    """Return the structures that go in, the one that is computed first."""
    if isinstance(job, ReferenceJob):
        return (job.structure, job.relaxed) if job.relaxed else (job.structure,)
    return (job.adslab, job.slab, *job.relaxed)


def _failed(lease: Lease, failure: EngineError) -> WorkResult:
    """Return a failure with every rung of the engine's ladder, which count as tries."""
    rungs = tuple(str(done) for done in failure.tries)
    times = sum(done.kind == failure.kind for done in failure.tries)
    return WorkResult(lease, None, failure.kind, str(failure), times=max(1, times), rungs=rungs)


def _computed(
    job: WorkItem | ReferenceJob,
    level: LevelOfTheory,
    known: KnownEnergies,
    engine: Engine,
    book: Logbook,
) -> WorkResult:
    if isinstance(job, ReferenceJob):
        own = KnownEnergies(known.recorded)  # what comes of a lease is stored under the lease alone
        return WorkResult(job.lease, energy_ev=reference_energy_ev(job, level, engine, own, book))
    require_unchanged(job.lease, job.adslab)
    adslab, slab = structure_from_text(job.adslab), structure_from_text(job.slab)
    require_stored_ids(
        adslab,
        slab,
        job.adsorbate.name,
        stored_candidate=job.lease.candidate_id,
        stored_slab=job.slab_id,
    )
    relaxed = RelaxedGeometries(*map(structure_from_text, job.relaxed)) if job.relaxed else None
    found = verify_adslab(
        adslab, slab, job.adsorbate, level, known, engine, relaxed=relaxed, book=book
    )
    return WorkResult(job.lease, found)


def _provenance(
    job: WorkItem | ReferenceJob, level: LevelOfTheory, outcome: WorkResult, began: float
) -> Provenance:
    start, *inputs = _texts(job)
    relaxed = structure_text(outcome.verified.atoms) if outcome.verified else ""
    return provenance(level, start, relaxed, began, inputs=tuple(inputs))
