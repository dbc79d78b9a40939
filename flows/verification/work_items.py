"""From leases to work: structures, known energies, and what each calculation is given."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.verification.attempts import stored_geometry
from flows.verification.executor import Result, Work
from flows.verification.queue_work import ReferenceJob, reference_jobs
from flows.verification.source_geometries import SourceGeometries, source_geometries
from flows.verification.worker import WorkItem, WorkRequest, WorkResult
from screening_db.database.engine import Database
from screening_db.queries.enumeration import candidates_by_id, slabs_by_id
from screening_db.queries.labels import reference_energies
from screening_db.queue.lease import Lease
from screening_db.tables.screening import AdsorbateRow, CandidateRow, SlabRow
from tasks.enumeration.adsorbates import Adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.json_text import structure_from_text
from tasks.verification.engines import EngineLocations
from tasks.verification.engines.launch import LAUNCHER, with_ranks
from tasks.verification.inputs.free_molecule import free_molecule
from tasks.verification.inputs.resources import (
    ResourceDemand,
    ResourceLimits,
    demand_of,
    molecule_demand,
    resources,
)
from tasks.verification.inputs.sampling import boxed
from tasks.verification.labels.energies import EnergyKey


@dataclass(frozen=True)
class CalculationSettings:
    """What every calculation of a run has in common: level, engines, limits, how MPI starts."""

    level: LevelOfTheory
    locations: EngineLocations = field(default_factory=dict)
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    launcher: str = LAUNCHER


def prepare_work(
    db: Database, settings: CalculationSettings, leases: Sequence[Lease]
) -> tuple[list[Work], list[Result]]:
    """Return the work that leases stand for, in their order, and what of it cannot be begun."""
    level = settings.level
    stored = _Adslabs.of(db, level, [lease for lease in leases if lease.kind == "adslab"])
    references = {job.lease.item: job for job in reference_jobs(db, level, leases)}
    known = _known_energies(db, level, set(stored.slabs))
    work, unreadable = [], []
    for lease in leases:
        try:
            job = references.get(lease.item) or stored.job(db, lease)
            work.append(_work(settings, job, known))
        except UserError as fault:
            unreadable.append(Result(WorkResult(lease, message=str(fault))))
    return work, unreadable


@dataclass(frozen=True)
class _Adslabs:
    """What is stored of leased adslabs: candidates, slabs by id, geometries to stand on."""

    candidates: dict[str, CandidateRow]
    slabs: dict[str, SlabRow]
    geometries: SourceGeometries

    @classmethod
    def of(cls, db: Database, level: LevelOfTheory, leases: Sequence[Lease]) -> "_Adslabs":
        rows = candidates_by_id(db, [lease.candidate_id for lease in leases])
        of_slabs = slabs_by_id(db, sorted({row.slab_id for row in rows.values()}))
        return cls(rows, of_slabs, source_geometries(db, level, rows.values()))

    def job(self, db: Database, lease: Lease) -> WorkItem:
        row = self.candidates[lease.candidate_id]
        if row.structure is None:
            raise UserError("no structure is stored for this candidate")
        return WorkItem(
            lease,
            row.structure,
            self.slabs[row.slab_id].structure,
            row.slab_id,
            _adsorbate(db, row),
            stored_geometry(db, lease),
            self.geometries.of_adslab(row.id, row.slab_id),
        )


def _work(
    settings: CalculationSettings, job: WorkItem | ReferenceJob, known: dict[EnergyKey, float]
) -> Work:
    level = settings.level
    needed = resources(
        level.engine, _demand(job, level), settings.limits, memory_class=job.lease.memory_class
    )
    locations = with_ranks(settings.locations, level, needed.ranks, settings.launcher)
    mine = {key: energy for key, energy in known.items() if _serves(key, job)}
    return Work(job, WorkRequest(level, locations), mine, needed)


def _serves(key: EnergyKey, job: WorkItem | ReferenceJob) -> bool:
    return isinstance(job, WorkItem) and (key.kind == "gas" or key.item == job.slab_id)


def _demand(job: WorkItem | ReferenceJob, level: LevelOfTheory) -> ResourceDemand:
    if isinstance(job, WorkItem):
        return demand_of(structure_from_text(job.adslab), level)
    if not job.structure:
        return molecule_demand(job.lease.item, level)
    atoms = structure_from_text(job.structure)
    if job.lease.kind == "gas":
        atoms = boxed(
            free_molecule(job.lease.item, atoms), level.require_calculation().gas_vacuum_ang
        )
    return demand_of(atoms, level)


def _adsorbate(db: Database, candidate: CandidateRow) -> Adsorbate:
    with db.read() as session:
        row = session.get_one(AdsorbateRow, candidate.adsorbate)
    return Adsorbate(row.name, row.formula, structure_from_text(row.structure), tuple(row.binding))


def _known_energies(
    db: Database, level: LevelOfTheory, slab_ids: set[str]
) -> dict[EnergyKey, float]:
    gas = reference_energies(db, level.name, "gas")
    clean = reference_energies(db, level.name, "slab", slab_ids)
    return {
        EnergyKey(row.kind, item, level.level_hash): row.energy_ev
        for rows in (gas, clean)
        for item, row in rows.items()
    }
