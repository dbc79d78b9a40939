"""From leases to work items: structures, dependencies, known energies and resources."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flows.records.from_rows import stored_adsorbates
from flows.verification.attempts import stored_geometry
from flows.verification.executor import AdslabInputs, ReferenceInputs, WorkItem, WorkResult
from screening_db.calculations import relaxed_structures
from screening_db.database import Database
from screening_db.queries import (
    bulks_by_id,
    candidates_by_id,
    labels_by_candidate,
    reference_energies,
    slabs_by_id,
)
from screening_db.queue.dependencies import Dependency, record_dependencies, without_dependencies
from screening_db.queue.lease import Lease
from screening_db.tables import BulkRow, CandidateRow, SlabRow
from tasks.enumeration import Adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.formats import structure_from_text, structure_text
from tasks.verification.engines import EngineLocations
from tasks.verification.engines.launch import LAUNCHER, with_ranks
from tasks.verification.inputs.free_molecule import free_molecule
from tasks.verification.inputs.magnetic_order import order_signs
from tasks.verification.inputs.resources import (
    ResourceDemand,
    ResourceLimits,
    demand_of,
    molecule_demand,
    resources,
)
from tasks.verification.inputs.sampling import boxed
from tasks.verification.labels.energies import EnergyKey

Inputs = AdslabInputs | ReferenceInputs


@dataclass(frozen=True)
class CalculationSettings:
    """The settings that all calculations of a run share: level, engines, limits, how MPI starts.

    ``relaxed_at`` is the level of the campaign's relaxing stage: relaxations start from where it
    ended. Empty where they start from the placements.
    """

    level: LevelOfTheory
    engine_locations: EngineLocations = field(default_factory=dict)
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    launcher: str = LAUNCHER
    relaxed_at: str = ""


@dataclass(frozen=True)
class SourceGeometries:
    """The relaxed structures that single points are of, or relaxations start from, as text.

    ``level`` is the one that relaxed them, empty where there is none; ``adslabs`` go by candidate
    id, ``slabs`` by slab id. A relaxation does without: it ``may_lack`` them.
    """

    level: str
    adslabs: Mapping[str, str]
    slabs: Mapping[str, str]
    may_lack: bool = True

    def of_adslab(self, candidate_id: str, slab_id: str) -> tuple[str, ...]:
        """Return the relaxed adslab and its clean slab, or nothing where the level needs none.

        Raises:
            UserError: one of the two is missing, and the level is of single points.
        """
        if self.may_lack and not (candidate_id in self.adslabs and slab_id in self.slabs):
            return ()
        for structures, item in ((self.adslabs, candidate_id), (self.slabs, slab_id)):
            if item not in structures:
                raise UserError(
                    f"single points stand on what {self.level} relaxed, and {item[:12]} has "
                    f"nothing there that converged without a flag; verify it at {self.level}, then "
                    "retry what failed"
                )
        return self.adslabs[candidate_id], self.slabs[slab_id]


def source_geometries(
    db: Database,
    level: LevelOfTheory,
    rows: Iterable[CandidateRow],
    slab_ids: Iterable[str] = (),
    relaxed_at: str = "",
) -> SourceGeometries:
    """Return the structures that calculations begin from, as far as they are there.

    An adslab with an anomaly is left out: what desorbed says nothing of its site.

    Args:
        db: The database.
        level: The level that is computed; one of single points names who relaxed their structures.
        rows: The candidates.
        slab_ids: Clean slabs beside theirs.
        relaxed_at: The level that has relaxed what ``level`` relaxes on, if any.

    Returns:
        The structures by id.
    """
    needed = level.require_calculation().geometry
    source = needed or (relaxed_at if relaxed_at != level.name else "")
    rows = list(rows)
    if not source:
        return SourceGeometries("", {}, {})
    labels = labels_by_candidate(db, source, [row.id for row in rows])
    relaxed = relaxed_structures(db, source, sorted({*slab_ids, *(row.slab_id for row in rows)}))
    adslabs = {item: row.structure for item, row in labels.items() if row.trainable}
    return SourceGeometries(source, adslabs, relaxed, may_lack=not needed)


def plan_dependencies(db: Database, level: LevelOfTheory) -> None:
    """Record which clean slab and gas molecules each queued adslab needs, where nobody has yet.

    An adslab whose reference is refused, or whose single point has no structure, gets none: it is
    claimed at once, and fails with the reason.

    Args:
        db: The database.
        level: The level of theory whose queued adslabs are planned.
    """
    found = without_dependencies(db, level.name)
    if not found:
        return
    adsorbates = stored_adsorbates(db, {row.adsorbate for row in found})
    geometries = source_geometries(db, level, found)
    needs: dict[str, list[Dependency]] = {}
    for row in found:
        adsorbate = adsorbates[row.adsorbate]
        try:
            geometries.of_adslab(row.id, row.slab_id)
            molecules = level.reference.weights(adsorbate.name, adsorbate.formula)
        except UserError:
            needs[row.id] = []
        else:
            gas = [Dependency("gas", name) for name in sorted(molecules)]
            needs[row.id] = [Dependency("slab", row.slab_id), *gas]
    record_dependencies(db, level.name, needs)


def prepare_work(
    db: Database, settings: CalculationSettings, leases: Sequence[Lease]
) -> tuple[list[WorkItem], list[WorkResult]]:
    """Return the work items of leases.

    Args:
        db: The database that the leases are of.
        settings: Level, engines and limits of the run.
        leases: The leases of the claimed items.

    Returns:
        The work items in the order of the leases, and a failed result for each lease that cannot
        be begun.
    """
    stored = _StoredInputs.read(db, settings, leases)
    items, unreadable = [], []
    for lease in leases:
        try:
            items.append(_work_item(db, settings, lease, stored))
        except UserError as fault:
            unreadable.append(WorkResult(lease, message=str(fault)))
    return items, unreadable


@dataclass(frozen=True)
class _StoredInputs:
    """The stored rows of leased items; structures are text, slabs go by id."""

    level: LevelOfTheory
    candidates: Mapping[str, CandidateRow]
    slabs: Mapping[str, SlabRow]
    bulks: Mapping[str, BulkRow]  # of antiferromagnets alone
    adsorbates: Mapping[str, Adsorbate]
    geometries: SourceGeometries
    energies: Mapping[EnergyKey, float]
    by_molecule: bool  # each adsorbate is its own gas molecule

    @classmethod
    def read(
        cls, db: Database, settings: CalculationSettings, leases: Sequence[Lease]
    ) -> "_StoredInputs":
        level = settings.level
        of_kind: dict[str, list[Lease]] = {"adslab": [], "slab": [], "gas": []}
        for lease in leases:
            of_kind[lease.kind].append(lease)
        rows = candidates_by_id(db, [lease.candidate_id for lease in of_kind["adslab"]])
        under = sorted({row.slab_id for row in rows.values()})
        clean = [lease.item for lease in of_kind["slab"]]
        names = {row.adsorbate for row in rows.values()}
        by_molecule = level.reference.kind == "molecule"
        if by_molecule:
            names |= {lease.item for lease in of_kind["gas"]}
        slabs = slabs_by_id(db, [*under, *clean])
        has_order = level.require_calculation().spin.planes is not None
        bulk_ids = {row.bulk_id for row in slabs.values() if has_order and row.bulk_id}
        return cls(
            level,
            rows,
            slabs,
            bulks_by_id(db, bulk_ids),
            stored_adsorbates(db, names),
            source_geometries(db, level, rows.values(), clean, settings.relaxed_at),
            _known_energies(db, level, under),
            by_molecule,
        )

    def inputs(self, lease: Lease) -> Inputs:
        if lease.kind == "slab":
            slab, relaxed = self.slabs.get(lease.item), ""
            if not self.geometries.may_lack:  # a clean slab is relaxed from as it was cut
                relaxed = self.geometries.slabs.get(lease.item, "")
            if slab is None:
                return ReferenceInputs("", relaxed)
            return ReferenceInputs(slab.structure, relaxed, self._signs(slab))
        if lease.kind == "gas":
            molecule = self.adsorbates[lease.item].atoms if self.by_molecule else None
            return ReferenceInputs("" if molecule is None else structure_text(molecule))
        row = self.candidates[lease.candidate_id]
        if row.structure is None:
            raise UserError("no structure is stored for this candidate")
        return AdslabInputs(
            row.structure,
            self.slabs[row.slab_id].structure,
            row.slab_id,
            self.adsorbates[row.adsorbate],
            self.geometries.of_adslab(row.id, row.slab_id),
            self._signs(self.slabs[row.slab_id]),
        )

    def _signs(self, row: SlabRow) -> tuple[int, ...]:
        """Return the signs of a slab's moments at a level that alternates planes, else nothing."""
        spin = self.level.require_calculation().spin
        if spin.planes is None or not any(spin.moments.get(symbol) for symbol in row.elements):
            return ()
        bulk = self.bulks.get(row.bulk_id or "")
        if bulk is None or row.edit:
            raise UserError(
                f"level {self.level.name} alternates planes of a bulk, and slab {row.id[:12]} "
                "is from a file or was edited after it was cut; verify it at a level of another "
                "spin.order"
            )
        atoms, crystal = structure_from_text(row.structure), structure_from_text(bulk.structure)
        miller = (row.miller_h, row.miller_k, row.miller_l)
        return tuple(order_signs(atoms, crystal, miller, row.side, spin).tolist())


def _work_item(
    db: Database, settings: CalculationSettings, lease: Lease, stored: _StoredInputs
) -> WorkItem:
    level, inputs = settings.level, stored.inputs(lease)
    demand = _demand(lease, inputs, level)
    needed = resources(level.engine, demand, settings.limits, memory_class=lease.memory_class)
    return WorkItem(
        lease,
        inputs,
        level,
        with_ranks(settings.engine_locations, level, needed.ranks, settings.launcher),
        needed,
        {key: energy for key, energy in stored.energies.items() if _serves(key, inputs)},
        stored_geometry(db, lease),
    )


def _serves(key: EnergyKey, inputs: Inputs) -> bool:
    """Tell whether an energy is a reference of these inputs; a reference itself needs none."""
    return isinstance(inputs, AdslabInputs) and (key.kind == "gas" or key.item == inputs.slab_id)


def _demand(lease: Lease, inputs: Inputs, level: LevelOfTheory) -> ResourceDemand:
    if isinstance(inputs, AdslabInputs):
        return demand_of(structure_from_text(inputs.adslab), level)
    if not inputs.structure:
        return molecule_demand(lease.item, level)
    atoms = structure_from_text(inputs.structure)
    if lease.kind == "gas":
        atoms = boxed(free_molecule(lease.item, atoms), level.require_calculation().gas_vacuum_ang)
    return demand_of(atoms, level)


def _known_energies(
    db: Database, level: LevelOfTheory, slab_ids: Sequence[str]
) -> dict[EnergyKey, float]:
    gas = reference_energies(db, level.name, "gas")
    clean = reference_energies(db, level.name, "slab", slab_ids)
    return {
        EnergyKey(row.kind, item, level.level_hash): row.energy_ev
        for rows in (gas, clean)
        for item, row in rows.items()
    }
