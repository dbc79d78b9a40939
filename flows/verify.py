"""Verify what a campaign queued, with the engine of the level it is verified at.

Work is claimed in batches: clean slabs and gas molecules once each, then the adslabs that need
them, grouped by slab. What a worker finds comes back as values; only this process writes.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dask.distributed import Client

from flows.cluster import dask_client, finished
from flows.progress import progress_bar
from flows.queue_work import (
    ReferenceJob,
    plan_needs,
    reference_jobs,
)
from flows.recorded_level import recorded_level
from flows.rows import level_row
from flows.verify_job import Job, Order, Outcome, verify_group
from flows.workers import ClusterPlan
from screening_db.engine import Database
from screening_db.errors import DatabaseError
from screening_db.lease import Lease
from screening_db.queries import candidates, queue_counts, reference_energies, slabs
from screening_db.queue import (
    claim,
    complete,
    complete_reference,
    fail,
    heartbeat,
    release,
)
from screening_db.queue_view import failed_for_needs, waits_for_others
from screening_db.record import record_level, record_references
from screening_db.tables import AdsorbateRow, CampaignRow, CandidateRow
from screening_db.verification_tables import LabelRow, ReferenceEnergyRow, ReferenceKind
from tasks.adsorbates import Adsorbate
from tasks.levels import LevelOfTheory
from tasks.structures import structure_from_text, structure_text
from tasks.verify.energies import EnergyKey
from tasks.verify.engines import Places, engine_for
from tasks.verify.verify import Verified

LEASE_S = 120.0  # renewed by a heartbeat; what a killed process held is free again after this
BATCH_PER_WORKER = 4
POLL_S = 1.0  # between looks at what another worker is computing


@dataclass
class Counts:
    """What became of the adslabs of one run.

    ``in_want`` failed untried, because their slab or a gas molecule did; ``retried`` are tries
    that go back to the queue.
    """

    converged: int = 0
    anomalous: int = 0
    failed: int = 0
    in_want: int = 0
    retried: int = 0

    @property
    def ended(self) -> int:
        """Return how many adslabs need no more work."""
        return self.converged + self.anomalous + self.failed + self.in_want

    def __str__(self) -> str:
        """Return the counts as they are printed."""
        failed = self.failed + self.in_want
        said = f"{self.converged} converged, {self.anomalous} anomalous, {failed} failed"
        return f"{said}, {self.retried} to be tried again" if self.retried else said


def run_verification(
    db: Database,
    campaign: CampaignRow,
    *,
    limit: int | None,
    engine: str | None,
    cluster: ClusterPlan,
    places: Places | None = None,
) -> Counts:
    """Verify up to ``limit`` queued candidates, the first in line first.

    Raises:
        UserError: ``engine`` belongs to another level, or is not installed; the level cannot be
            computed here.
        DatabaseError: the level was recorded with other settings than it has in this release.
    """
    level = recorded_level(db, campaign.verified_at)
    engine_for(level, engine, places)
    record_level(db, level_row(level))  # labels and references go by the level's name
    counts = Counts()
    plan_needs(db, level)
    waiting = _waiting(db, campaign.name)
    total = waiting if limit is None else min(limit, waiting)
    if total == 0:
        return counts
    with (
        dask_client(cluster) as client,
        progress_bar(f"verify {campaign.name}", total, 0, "adslabs") as advance,
    ):
        done, before = 0, failed_for_needs(db, campaign.name)
        while done < total:
            leases = _next_batch(db, level, campaign.name, cluster, first=total - done)
            if not leases:
                break
            _verify_batch(db, client, Order(level, places or {}), leases, counts)
            counts.in_want = failed_for_needs(db, campaign.name) - before
            advance(counts.ended - done)
            done = counts.ended
    return counts


def _waiting(db: Database, campaign: str) -> int:
    return sum(
        row.count
        for row in queue_counts(db, campaign)
        if row.kind == "adslab" and row.state in {"queued", "waiting", "leased"}
    )


def _next_batch(
    db: Database, level: LevelOfTheory, campaign: str, cluster: ClusterPlan, *, first: int
) -> list[Lease]:
    """Claim what the ``first`` adslabs in line need, or them; wait where others are at that."""
    batch = BATCH_PER_WORKER * cluster.workers
    while True:
        plan_needs(db, level)  # others may have queued adslabs in the meantime
        leases = claim(
            db, level.name, batch=batch, lease_s=LEASE_S, campaign=campaign, adslabs=first
        )
        if leases or not waits_for_others(db, campaign):
            return leases
        time.sleep(POLL_S)


def _verify_batch(
    db: Database, client: Client, order: Order, leases: Sequence[Lease], counts: Counts
) -> None:
    level = order.level
    adslabs, unreadable = _jobs(db, [lease for lease in leases if lease.kind == "adslab"])
    jobs: list[Sequence[Job | ReferenceJob]] = [
        *([job] for job in reference_jobs(db, level, leases)),
        *adslabs,
    ]
    for outcome in unreadable:
        _record(db, outcome, counts)
    known = _recorded_energies(db, level)
    open_leases = {job.lease.item: job.lease for group in jobs for job in group}
    with _kept_alive(db, open_leases):
        futures = [client.submit(verify_group, group, order, known, pure=False) for group in jobs]
        try:
            for _, (outcomes, found) in finished(client, futures):
                record_references(db, _reference_rows(level, found))
                for outcome in outcomes:
                    _record(db, outcome, counts)
                    open_leases.pop(outcome.lease.item)
        finally:
            release(db, list(open_leases.values()))  # interrupted: others may have them at once


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
    lease, verified, told = outcome.lease, outcome.verified, outcome.provenance
    if outcome.energy_ev is not None:
        complete_reference(db, lease, _reference_row(lease, outcome.energy_ev), told)
    elif verified is None:
        kind, times = outcome.failure.value, outcome.times
        state = fail(db, lease, kind, outcome.message, told, times=times)
        counts.retried += state == "queued"
        counts.failed += state == "failed" and lease.kind == "adslab"
    elif complete(db, lease, _label(lease, verified), told):
        counts.converged += verified.trainable
        counts.anomalous += not verified.trainable


def _reference_row(lease: Lease, energy_ev: float) -> ReferenceEnergyRow:
    kind: ReferenceKind = "slab" if lease.kind == "slab" else "gas"
    return ReferenceEnergyRow(level=lease.level, kind=kind, item=lease.item, energy_ev=energy_ev)


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
