"""A worker computes slabs and molecules from values, and refuses what is not as it was queued."""

import socket
from dataclasses import replace
from typing import Any

import pytest
from ase.build import add_adsorbate, fcc111

from flows.verification.executor import ReferenceInputs, WorkItem, WorkResult
from flows.verification.worker import (
    KnownEnergies,
    compute_work_item,
    reference_energy_ev,
    require_unchanged,
)
from screening_db.calculations.attempts import Provenance, sha256_of
from screening_db.queue.lease import Lease
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.structures.formats import structure_text
from tasks.structures.identity import slab_id
from tasks.verification.engines import FailureKind, engine_for
from tasks.verification.inputs.resources import Resources

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
