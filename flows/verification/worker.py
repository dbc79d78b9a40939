"""The work of one worker in a verification: it computes, and returns its results as values."""

import time
from dataclasses import dataclass, field, replace

from flows.verification.attempts import open_logbook, provenance_of
from flows.verification.executor import AdslabInputs, ReferenceInputs, WorkItem, WorkResult
from flows.verification.step_events import StepReporter
from screening_db.calculations import sha256_of
from screening_db.queue.lease import Lease
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.formats import structure_from_text
from tasks.structures.identity import require_stored_ids, slab_id
from tasks.verification.engines import Engine, EngineError, FailureKind, engine_for
from tasks.verification.inputs.magnetic_order import with_order
from tasks.verification.labels.energies import EnergyCache, EnergyKey, gas_energy, slab_energy
from tasks.verification.labels.verify import RelaxedGeometries, VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.logbook import Logbook


@dataclass
class KnownEnergies:
    """Reference energies (eV) that are recorded, and those found since."""

    recorded: dict[EnergyKey, float]
    found: dict[EnergyKey, float] = field(default_factory=dict)

    def get(self, key: EnergyKey) -> float | None:
        """Return the energy kept under a key, or None."""
        return self.found.get(key, self.recorded.get(key))

    def put(self, key: EnergyKey, energy_ev: float) -> None:
        """Keep one energy."""
        self.found[key] = energy_ev


def compute_work_item(item: WorkItem) -> WorkResult:
    """Verify an adslab, or compute a clean slab or gas molecule; this runs on a worker.

    Args:
        item: The calculation, with the reference energies that are recorded already.

    Returns:
        Its result; a failure of the engine or a fault of the inputs is a result as well. A worker
        that lacks the engine returns ``NOT_INSTALLED``, which is no fault of the item.
    """
    began = time.time()
    try:
        engine = engine_for(item.level, locations=item.engine_locations)
    except UserError as fault:  # the level can be computed where the run began, not here
        missing = WorkResult(item.lease, failure=FailureKind.NOT_INSTALLED, message=str(fault))
        return replace(missing, provenance=provenance_of(item, missing, began))
    reporter = StepReporter(item.lease, engine.location.work)
    book = open_logbook(item, reporter)
    energies = KnownEnergies(dict(item.reference_energies))
    try:
        result = _computed(item, energies, engine, book)
    except EngineError as failure:
        result = _failed(item.lease, failure)
    except UserError as fault:
        result = WorkResult(item.lease, failure=FailureKind.BAD_INPUT, message=str(fault))
    reporter.end()
    return replace(
        result,
        provenance=provenance_of(item, result, began, book),
        work_folder=book.work_folder,
        reference_energies=energies.found,
    )


def reference_energy_ev(
    lease: Lease,
    inputs: ReferenceInputs,
    level: LevelOfTheory,
    engine: Engine,
    cache: EnergyCache,
    book: Logbook | None = None,
) -> float:
    """Return the energy of a clean slab or gas molecule.

    Args:
        lease: The slab or molecule, by id or formula.
        inputs: Its structure, where the level's references do not name it.
        level: The level it is computed at.
        engine: The engine of that level.
        cache: The reference energies that are known; the new one is put into it.
        book: The logbook of the attempt.

    Returns:
        The energy, in eV, of the whole slab or molecule.

    Raises:
        UserError: the structure is not the one that was queued.
        EngineError: the calculation failed.
    """
    start = structure_from_text(inputs.structure) if inputs.structure else None
    if lease.kind == "gas":
        return gas_energy(lease.item, level, engine, cache, start, book).energy_ev
    require_unchanged(lease, inputs.structure)
    if start is None or slab_id(start) != lease.item:
        raise UserError(
            f"a clean slab has the id of its content; slab {lease.item[:12]} is stored with "
            "another structure or none; screen it again in a new database"
        )
    start = with_order(start, inputs.signs)
    relaxed = None
    if inputs.relaxed:
        relaxed = with_order(structure_from_text(inputs.relaxed), inputs.signs)
    return slab_energy(start, level, engine, cache, book, relaxed=relaxed).energy_ev


def require_unchanged(lease: Lease, structure: str) -> None:
    """Refuse a structure that is not the one that was queued."""
    found = sha256_of(structure)
    if lease.structure_sha256 not in ("", found):  # empty: queued before hashes were kept
        raise UserError(
            f"a structure stays as it was queued; that of {lease.kind} {lease.item[:12]} had "
            f"SHA-256 {lease.structure_sha256[:12]} and has {found[:12]}, so it was changed or "
            "damaged; screen it again in a new database"
        )


def _computed(item: WorkItem, energies: KnownEnergies, engine: Engine, book: Logbook) -> WorkResult:
    if isinstance(item.inputs, AdslabInputs):
        verified = _verified(item, item.inputs, energies, engine, book)
        return WorkResult(item.lease, verified, repeats=engine.repeats_relaxations)
    own = KnownEnergies(energies.recorded)  # a reference with a lease is stored by that lease alone
    energy = reference_energy_ev(item.lease, item.inputs, item.level, engine, own, book)
    return WorkResult(item.lease, energy_ev=energy)


def _verified(
    item: WorkItem, inputs: AdslabInputs, energies: KnownEnergies, engine: Engine, book: Logbook
) -> VerifiedEnergy:
    require_unchanged(item.lease, inputs.adslab)
    adslab, slab = structure_from_text(inputs.adslab), structure_from_text(inputs.slab)
    require_stored_ids(
        adslab,
        slab,
        inputs.adsorbate.name,
        stored_candidate=item.lease.candidate_id,
        stored_slab=inputs.slab_id,
    )
    adslab, slab, *relaxed_to = (
        with_order(atoms, inputs.signs)
        for atoms in (adslab, slab, *map(structure_from_text, inputs.relaxed))
    )
    relaxed = RelaxedGeometries(*relaxed_to) if relaxed_to else None
    return verify_adslab(
        adslab, slab, inputs.adsorbate, item.level, energies, engine, relaxed=relaxed, book=book
    )


def _failed(lease: Lease, failure: EngineError) -> WorkResult:
    """Return a failure with every rung of the engine's ladder, which count as attempts."""
    rungs = tuple(str(done) for done in failure.tries)
    times = sum(done.kind == failure.kind for done in failure.tries)
    return WorkResult(lease, None, failure.kind, str(failure), times=max(1, times), rungs=rungs)
