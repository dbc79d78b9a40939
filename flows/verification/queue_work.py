"""What the queue asks of a verification beside energies: needs, unchanged inputs, provenance."""

import platform
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ase import Atoms

from flows.verification.attempts import stored_geometry
from flows.verification.source_geometries import SourceGeometries, source_geometries
from screening_db.calculations.attempts import Provenance, StoredGeometry, sha256_of
from screening_db.database.engine import Database
from screening_db.queries.enumeration import slabs_by_id
from screening_db.queue.dependencies import Dependency, record_dependencies, without_dependencies
from screening_db.queue.lease import Lease
from screening_db.tables.screening import AdsorbateRow, CandidateRow
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.identity import slab_id
from tasks.structures.json_text import structure_from_text
from tasks.verification.engines import Engine
from tasks.verification.labels.energies import EnergyCache, gas_energy, slab_energy
from tasks.verification.relaxation.logbook import Logbook

_TOLD_VERSIONS = ("sabatier", "ase", "numpy", "scipy")


@dataclass(frozen=True)
class ReferenceJob:
    """A clean slab or gas molecule to compute; ``structure`` is empty for a known molecule."""

    lease: Lease
    structure: str = ""
    last: StoredGeometry | None = None  # where an earlier try was stopped
    relaxed: str = ""  # a slab as another level relaxed it, where this one takes it so


def plan_dependencies(db: Database, level: LevelOfTheory) -> None:
    """Record which clean slab and gas molecules each queued adslab needs, where nobody has yet."""
    found = without_dependencies(db, level.name)
    if not found:
        return
    adsorbates = _adsorbates(db, {row.adsorbate for row in found})
    geometries = source_geometries(db, level, found)
    record_dependencies(
        db, level.name, {row.id: _needs(row, adsorbates, level, geometries) for row in found}
    )


def reference_jobs(
    db: Database, level: LevelOfTheory, leases: Iterable[Lease]
) -> list[ReferenceJob]:
    """Return the leased slabs and molecules as jobs; adslabs are left out."""
    references = [lease for lease in leases if lease.kind != "adslab"]
    stored = slabs_by_id(db, [lease.item for lease in references if lease.kind == "slab"])
    structures = {item: row.structure for item, row in stored.items()}
    if level.reference.kind == "molecule":  # each adsorbate is its own molecule
        molecules = {lease.item for lease in references if lease.kind == "gas"}
        structures |= {n: row.structure for n, row in _adsorbates(db, molecules).items()}
    relaxed = source_geometries(db, level, (), stored).slabs
    return [
        ReferenceJob(
            lease,
            structures.get(lease.item, ""),
            stored_geometry(db, lease),
            relaxed.get(lease.item, ""),
        )
        for lease in references
    ]


def reference_energy_ev(
    job: ReferenceJob,
    level: LevelOfTheory,
    engine: Engine,
    cache: EnergyCache,
    book: Logbook | None = None,
) -> float:
    """Compute a clean slab or gas molecule; this runs on a worker."""
    lease = job.lease
    start = structure_from_text(job.structure) if job.structure else None
    if lease.kind == "gas":
        return gas_energy(lease.item, level, engine, cache, start, book).energy_ev
    require_unchanged(lease, job.structure)
    relaxed = structure_from_text(job.relaxed) if job.relaxed else None
    slab = _slab(lease, start)
    return slab_energy(slab, level, engine, cache, book, relaxed=relaxed).energy_ev


def require_unchanged(lease: Lease, structure: str) -> None:
    """Refuse a structure that is not the one that was queued."""
    found = sha256_of(structure)
    if lease.structure_sha256 not in ("", found):
        raise UserError(
            f"a structure stays as it was queued; that of {lease.kind} {lease.item[:12]} had "
            f"SHA-256 {lease.structure_sha256[:12]} and has {found[:12]}, so it was changed or "
            "damaged; screen it again in a new database"
        )


def provenance(
    level: LevelOfTheory, start: str, relaxed: str, began: float, inputs: tuple[str, ...] = ()
) -> Provenance:
    """Return what this worker tells of a try that began with ``start``; ``inputs`` are the rest."""
    return Provenance(
        host=socket.gethostname(),
        engine=level.engine,
        level_hash=level.level_hash,
        versions=_versions(level.engine),
        structure_in=start,
        structure_out=relaxed,
        inputs=inputs,
        started_at=began,
        ended_at=time.time(),
    )


def _needs(
    row: CandidateRow,
    adsorbates: dict[str, AdsorbateRow],
    level: LevelOfTheory,
    geometries: SourceGeometries,
) -> list[Dependency]:
    """Return what one adslab needs; nothing where its reference is refused, which fails it.

    Nor where single points have nothing to stand on, which fails it as well.
    """
    adsorbate = adsorbates[row.adsorbate]
    try:
        geometries.of_adslab(row.id, row.slab_id)
        molecules = level.reference.weights(adsorbate.name, adsorbate.formula)
    except UserError:
        return []
    return [
        Dependency("slab", row.slab_id),
        *(Dependency("gas", name) for name in sorted(molecules)),
    ]


def _adsorbates(db: Database, names: Iterable[str]) -> dict[str, AdsorbateRow]:
    with db.read() as session:
        return {name: session.get_one(AdsorbateRow, name) for name in sorted(names)}


def _slab(lease: Lease, start: Atoms | None) -> Atoms:
    if start is None or slab_id(start) != lease.item:
        raise UserError(
            f"a clean slab has the id of its content; slab {lease.item[:12]} is stored with "
            "another structure or none; screen it again in a new database"
        )
    return start


def _versions(engine: str) -> dict[str, str]:
    """Return the versions of what computes; an engine that is no Python package tells its own."""
    found = {"python": platform.python_version()}
    for package in (*_TOLD_VERSIONS, engine):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
