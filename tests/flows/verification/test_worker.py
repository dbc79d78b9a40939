"""A worker computes slabs and molecules from values, and refuses what is not as it was queued."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from support import stored_rows as make
from support.stored_rows import new_database

from flows.records.to_rows import adsorbate_row, bulk_row, level_row, slab_row
from flows.verification import worker
from flows.verification.executor import ReferenceInputs, WorkItem, WorkResult
from flows.verification.work_items import CalculationSettings, prepare_work
from flows.verification.worker import (
    KnownEnergies,
    compute_work_item,
    reference_energy_ev,
    require_unchanged,
)
from screening_db.calculations.attempts import Provenance, sha256_of
from screening_db.queue.enqueue import enqueue
from screening_db.queue.lease import Lease
from screening_db.queue.queue import claim
from screening_db.records.screening import record_chunk
from tasks.enumeration import SlabSpec, adsorbate, enumerate_slabs
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, Spin, level
from tasks.structures.formats import structure_text
from tasks.structures.identity import slab_id
from tasks.verification.engines import FailureKind, engine_for
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.inputs.resources import Resources
from tasks.verification.inputs.sampling import start_moments
from tasks.verification.labels.verify import VerifiedEnergy

EMT = level("emt")


def lease_of(kind: Any, item: str, structure: str = "") -> Lease:
    return Lease(
        item=item,
        level="emt",
        kind=kind,
        campaign="tiny",
        priority=0.0,
        why="needed",
        attempt=1,
        memory_class=0,
        structure_sha256=sha256_of(structure) if structure else "",
        last_failure="",
        failures={},
        token="t",
    )


def computed(lease: Lease, structure: str = "", at: LevelOfTheory = EMT) -> WorkResult:
    resources = Resources(ranks=1, threads=1, memory_gb=1, wall_s=60)
    return compute_work_item(WorkItem(lease, ReferenceInputs(structure), at, {}, resources))


def provenance_of(result: WorkResult) -> Provenance:
    assert result.provenance is not None
    return result.provenance


def clean_slab() -> Any:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    slab.set_tags([0, 0, 1])
    return slab


@pytest.fixture(scope="module")
def slab_result() -> WorkResult:
    slab = clean_slab()
    stored = structure_text(slab)
    return computed(lease_of("slab", slab_id(slab), stored), stored)


def test_a_molecule_that_the_references_name_needs_no_structure() -> None:
    result = computed(lease_of("gas", "H2"))
    assert (result.message, result.energy_ev is None) == ("", False)


def test_a_reference_that_has_a_lease_is_stored_by_it_alone(slab_result: WorkResult) -> None:
    assert slab_result.energy_ev is not None
    assert slab_result.reference_energies == {}


def test_the_provenance_names_structure_level_versions_and_host(slab_result: WorkResult) -> None:
    found = provenance_of(slab_result)
    assert (found.structure_in, found.level_hash) == (structure_text(clean_slab()), EMT.level_hash)
    assert found.versions["ase"]
    assert found.host == socket.gethostname()


def test_an_attempt_ends_after_it_began(slab_result: WorkResult) -> None:
    found = provenance_of(slab_result)
    assert found.started_at is not None
    assert found.ended_at is not None
    assert found.started_at <= found.ended_at


def test_a_slab_that_was_changed_since_it_was_queued_is_refused() -> None:
    slab = clean_slab()
    add_adsorbate(slab, "H", 1.0)
    lease = lease_of("slab", slab_id(clean_slab()), structure_text(clean_slab()))
    result = computed(lease, structure_text(slab))
    assert result.failure is FailureKind.BAD_INPUT
    assert "changed or damaged" in result.message


def test_a_slab_of_another_id_is_refused_though_its_hash_is_not_known() -> None:
    lease, inputs = lease_of("slab", "f" * 64), ReferenceInputs(structure_text(clean_slab()))
    with pytest.raises(UserError, match="a clean slab has the id of its content"):
        reference_energy_ev(lease, inputs, EMT, engine_for(EMT), KnownEnergies({}))


def test_a_structure_is_compared_with_the_hash_that_it_was_queued_with() -> None:
    before_hashes, other = lease_of("adslab", "a"), lease_of("adslab", "a", "{}")
    require_unchanged(before_hashes, "anything")  # there was no hash to compare with
    with pytest.raises(UserError, match="a structure stays as it was queued"):
        require_unchanged(other, "anything")


def test_an_engine_that_is_missing_is_reported_with_its_host() -> None:
    result = computed(lease_of("gas", "H2"), at=replace(EMT, engine="of-another-machine"))
    assert result.failure is FailureKind.NOT_INSTALLED
    assert provenance_of(result).host == socket.gethostname()


def test_an_antiferromagnet_starts_with_signs_from_its_bulk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = level("gpaw-rpbe")
    spin = Spin("magnetic-elements", {"Ni": 2.0}, "antiferromagnetic", (1, 1, 1))
    how = replace(stated.require_calculation(), spin=spin)
    alternating = replace(stated, name="alternating", calculation=how)
    crystal = bulk_from_atoms(bulk("NiO", "rocksalt", a=4.18, cubic=True), "NiO")
    spec = SlabSpec(millers=((1, 0, 0),), min_thickness_ang=4.0, min_in_plane_ang=5.0)
    ((slab,), _) = enumerate_slabs(crystal, spec)
    adslab = slab.atoms + Atoms("H", [slab.atoms.positions[0] + [0.0, 0.0, 6.0]], tags=[2])
    adslab.set_constraint(slab.atoms.constraints)
    db = new_database(tmp_path / "order.db")
    make.record(db, level_row(alternating), adsorbate_row(adsorbate("H")), bulk_row(crystal))
    make.record(db, slab_row(slab), make.checkpoint(), make.campaign("first", level="alternating"))
    placed = make.candidate(
        "h", "pair", slab.slab_id, adsorbate="H", structure=structure_text(adslab)
    )
    record_chunk(db, "first", "chunk", [placed], [], [make.placement("h", state="queued")])
    enqueue(db, [make.queue_row("h", level="alternating")])
    leases = claim(db, "alternating", batch=1, lease_s=60, campaign="first")
    ((item,), failed) = prepare_work(db, CalculationSettings(alternating), leases)
    assert not failed
    started: list[Atoms] = []

    def computed(*atoms: Any, **_: Any) -> VerifiedEnergy:
        started.extend(atoms[:2])
        raise UserError("no further")

    monkeypatch.setattr(worker, "engine_for", lambda *_, **__: EmtEngine())
    monkeypatch.setattr(worker, "require_stored_ids", lambda *_, **__: None)
    monkeypatch.setattr(worker, "verify_adslab", computed)
    assert compute_work_item(item).message == "no further"
    for atoms in started:
        moments_N = start_moments(atoms, spin)
        assert set(moments_N[atoms.numbers == 28]) == {2.0, -2.0}
        assert not moments_N[atoms.numbers != 28].any()
        assert moments_N.sum() == 0.0
    assert [len(atoms) for atoms in started] == [len(adslab), len(slab.atoms)]
    db.close()
