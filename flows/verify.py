"""Verify what a campaign queued, with the engine of its level of theory.

Work is claimed in batches and grouped by slab, so that a clean slab is computed once. What a
worker finds comes back as values; only this process writes.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dask.distributed import Client

from flows.cluster import dask_client, finished
from flows.progress import progress_bar
from flows.recorded_level import recorded_level
from flows.rows import level_row
from flows.workers import ClusterPlan
from screening_db.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queries import candidates, queue_counts, reference_energies, slabs
from screening_db.queue import Lease, claim, complete, fail, heartbeat, release
from screening_db.record import record_level, record_references
from screening_db.tables import AdsorbateRow, CampaignRow, CandidateRow
from screening_db.verification_tables import LabelRow, ReferenceEnergyRow
from tasks.adsorbates import Adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures import structure_from_text, structure_text
from tasks.verify.energies import EnergyKey
from tasks.verify.engines import Engine, EngineError, FailureKind, Places, engine_for
from tasks.verify.stored import require_stored
from tasks.verify.verify import Verified, verify

LEASE_S = 120.0  # renewed by a heartbeat; what a killed process held is free again after this
BATCH_PER_WORKER = 4


@dataclass
class Counts:
    """What became of the calculations of one run."""

    converged: int = 0
    anomalous: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Job:
    """One adslab to verify, as it travels to a worker; structures are text."""

    lease: Lease
    adslab: str
    slab: str
    slab_id: str
    adsorbate: Adsorbate


@dataclass(frozen=True)
class Order:
    """At which level, and where its engine is; it travels to the workers."""

    level: LevelOfTheory
    places: Places


@dataclass(frozen=True)
class Outcome:
    """A verified energy, or why there is none."""

    lease: Lease
    verified: Verified | None = None
    failure: FailureKind = FailureKind.BAD_INPUT
    message: str = ""


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


def run_verification(
    db: Database,
    campaign: CampaignRow,
    *,
    limit: int | None,
    engine: str | None,
    cluster: ClusterPlan,
    places: Places | None = None,
) -> Counts:
    """Verify up to ``limit`` queued candidates at the campaign's level, the first in line first.

    Raises:
        UserError: ``engine`` belongs to another level, or is not installed; the level cannot be
            computed here.
        DatabaseError: the level was recorded with other settings than it has in this release.
    """
    level = recorded_level(db, campaign.level)
    engine_for(level, engine, places)
    record_level(db, level_row(level))  # labels and references go by the level's name
    counts = Counts()
    waiting = _waiting(db, campaign.name)
    total = waiting if limit is None else min(limit, waiting)
    if total == 0:
        return counts
    with (
        dask_client(cluster) as client,
        progress_bar(f"verify {campaign.name}", total, 0, "calculations") as advance,
    ):
        left = total
        while left > 0:
            batch = min(left, BATCH_PER_WORKER * cluster.workers)
            leases = claim(db, level.name, batch=batch, lease_s=LEASE_S, campaign=campaign.name)
            if not leases:
                break
            _verify_batch(db, client, Order(level, places or {}), leases, counts)
            left -= len(leases)
            advance(len(leases))
    return counts


def _waiting(db: Database, campaign: str) -> int:
    return sum(row.count for row in queue_counts(db, campaign) if row.state in {"queued", "leased"})


def _verify_batch(
    db: Database, client: Client, order: Order, leases: Sequence[Lease], counts: Counts
) -> None:
    level = order.level
    jobs, unreadable = _jobs(db, leases)
    for outcome in unreadable:
        _record(db, outcome, counts)
    known = _recorded_energies(db, level)
    open_leases = {job.lease.candidate_id: job.lease for group in jobs for job in group}
    with _kept_alive(db, open_leases):
        futures = [client.submit(verify_group, group, order, known, pure=False) for group in jobs]
        try:
            for _, (outcomes, found) in finished(client, futures):
                record_references(db, _reference_rows(level, found))
                for outcome in outcomes:
                    _record(db, outcome, counts)
                    open_leases.pop(outcome.lease.candidate_id)
        finally:
            release(db, list(open_leases.values()))  # interrupted: others may have them at once


def verify_group(
    jobs: Sequence[Job], order: Order, recorded: dict[EnergyKey, float]
) -> tuple[list[Outcome], dict[EnergyKey, float]]:
    """Verify adslabs of one slab; this runs on a worker. Also returns new reference energies."""
    known = KnownEnergies(recorded)
    try:
        engine = engine_for(order.level, places=order.places)
    except EngineError as failure:  # this worker's machine may lack it
        return [Outcome(job.lease, None, failure.kind, str(failure)) for job in jobs], {}
    return [_verify_one(job, order.level, known, engine) for job in jobs], known.found


def _verify_one(job: Job, level: LevelOfTheory, known: KnownEnergies, engine: Engine) -> Outcome:
    try:
        adslab, slab = structure_from_text(job.adslab), structure_from_text(job.slab)
        require_stored(
            adslab,
            slab,
            job.adsorbate.name,
            candidate_id=job.lease.candidate_id,
            slab_id=job.slab_id,
        )
        return Outcome(job.lease, verify(adslab, slab, job.adsorbate, level, known, engine))
    except EngineError as failure:
        return Outcome(job.lease, None, failure.kind, str(failure))
    except UserError as error:
        return Outcome(job.lease, None, FailureKind.BAD_INPUT, str(error))


def _jobs(db: Database, leases: Sequence[Lease]) -> tuple[list[list[Job]], list[Outcome]]:
    """Return the jobs of each slab, and what cannot be begun."""
    rows = candidates(db, [lease.candidate_id for lease in leases])
    slab_rows = slabs(db, list({row.slab_id for row in rows.values()}))
    groups: dict[str, list[Job]] = {}
    unreadable = []
    for lease in leases:
        row = rows[lease.candidate_id]
        if row.structure is None:
            unreadable.append(Outcome(lease, message="no structure is stored for this candidate"))
            continue
        slab = slab_rows[row.slab_id].structure
        job = Job(lease, row.structure, slab, row.slab_id, _adsorbate(db, row))
        groups.setdefault(row.slab_id, []).append(job)
    return list(groups.values()), unreadable


def _adsorbate(db: Database, candidate: CandidateRow) -> Adsorbate:
    with db.read() as session:
        row = session.get_one(AdsorbateRow, candidate.adsorbate)
    return Adsorbate(row.name, row.formula, structure_from_text(row.structure), tuple(row.binding))


def _recorded_energies(db: Database, level: LevelOfTheory) -> dict[EnergyKey, float]:
    gas = reference_energies(db, level.name, "gas")
    clean = reference_energies(db, level.name, "slab")
    return {
        EnergyKey(row.kind, item, level.level_hash): row.energy_ev
        for rows in (gas, clean)
        for item, row in rows.items()
    }


def _reference_rows(
    level: LevelOfTheory, found: dict[EnergyKey, float]
) -> list[ReferenceEnergyRow]:
    return [
        ReferenceEnergyRow(level=level.name, kind=key.kind, item=key.item, energy_ev=energy)
        for key, energy in found.items()
    ]


def _record(db: Database, outcome: Outcome, counts: Counts) -> None:
    """Store one outcome; one whose lease was lost was reported by another worker."""
    lease, verified = outcome.lease, outcome.verified
    if verified is None:
        retry = outcome.failure is FailureKind.ENGINE  # the others fail again in the same way
        counts.failed += fail(db, lease, outcome.failure.value, outcome.message, retry=retry)
    elif complete(db, lease, _label(lease, verified)):
        counts.converged += verified.trainable
        counts.anomalous += not verified.trainable


def _label(lease: Lease, verified: Verified) -> LabelRow:
    return LabelRow(
        candidate_id=lease.candidate_id,
        level=lease.level,
        energy_ev=verified.energy_ev,
        e_adslab=verified.e_adslab_ev,
        e_slab=verified.e_slab_ev,
        e_references=dict(verified.references),
        converged=verified.converged,
        flags=[flag.name for flag in verified.flags],
        steps=verified.steps,
        fmax=verified.fmax_ev_ang,
        structure=structure_text(verified.atoms),
        trainable=verified.trainable,
    )


@contextmanager
def _kept_alive(db: Database, leases: dict[str, Lease]) -> Iterator[None]:
    """Extend ``leases``, which shrinks as work is done, until the block ends."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(LEASE_S / 3):
            with suppress(DatabaseError):  # busy: two more beats come before the leases end
                heartbeat(db, list(leases.values()), LEASE_S)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
