"""What verification tells the queue: needs, unchanged structures, failures by their class."""

import socket
from dataclasses import replace
from typing import Any

import pytest
from ase.build import add_adsorbate, fcc111

from flows.verification import recording as verify_record
from flows.verification.queue_work import ReferenceJob, reference_energy_ev, require_unchanged
from flows.verification.recording import VerificationCounts
from flows.verification.worker import KnownEnergies, WorkRequest, WorkResult, verify_group
from screening_db.calculations.attempts import sha256_of
from screening_db.calculations.failure_policy import POLICY
from screening_db.queue.lease import Lease
from tasks.errors import UserError
from tasks.levels import level
from tasks.structures.identity import slab_id
from tasks.structures.json_text import structure_text
from tasks.verification.engines import FailureKind, engine_for

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


def clean_slab() -> Any:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    slab.set_tags([0, 0, 1])
    return slab


def test_a_molecule_and_a_slab_are_computed_alone_with_their_provenance() -> None:
    slab = clean_slab()
    stored = structure_text(slab)
    jobs = [
        ReferenceJob(lease_of("gas", "H2")),
        ReferenceJob(lease_of("slab", slab_id(slab), stored), stored),
    ]
    outcomes, found = verify_group(jobs, WorkRequest(EMT, {}), {})
    assert [outcome.message for outcome in outcomes] == ["", ""]
    assert all(outcome.energy_ev is not None for outcome in outcomes)
    assert found == {}  # what has a lease is stored under its lease alone
    told = outcomes[1].provenance
    assert told is not None
    assert (told.structure_in, told.level_hash) == (stored, EMT.level_hash)
    assert told.versions["ase"]
    assert told.host
    assert told.started_at is not None
    assert told.ended_at is not None
    assert told.started_at <= told.ended_at


def test_a_slab_that_was_changed_since_it_was_queued_is_refused() -> None:
    slab = clean_slab()
    add_adsorbate(slab, "H", 1.0)
    lease = lease_of("slab", slab_id(clean_slab()), structure_text(clean_slab()))
    job = ReferenceJob(lease, structure_text(slab))
    (outcome,), _ = verify_group([job], WorkRequest(EMT, {}), {})
    assert outcome.failure is FailureKind.BAD_INPUT
    assert "changed or damaged" in outcome.message


def test_a_slab_of_another_id_is_refused_though_its_hash_is_not_known() -> None:
    job = ReferenceJob(lease_of("slab", "f" * 64), structure_text(clean_slab()))
    with pytest.raises(UserError, match="a clean slab has the id of its content"):
        reference_energy_ev(job, EMT, engine_for(EMT), KnownEnergies({}))


def test_a_structure_that_was_queued_before_hashes_were_kept_passes() -> None:
    require_unchanged(lease_of("adslab", "a"), "anything")


@pytest.mark.parametrize(
    ("state", "kind", "counted"),
    [
        ("failed", "adslab", VerificationCounts(failed=1)),
        ("failed", "slab", VerificationCounts()),  # its adslabs are counted where they fail
        ("queued", "adslab", VerificationCounts(retried=1)),
        ("queued", "gas", VerificationCounts(retried=1)),
        (None, "adslab", VerificationCounts()),  # the lease was lost
    ],
)
def test_a_failure_counts_by_what_became_of_the_item(
    monkeypatch: pytest.MonkeyPatch, state: Any, kind: Any, counted: VerificationCounts
) -> None:
    monkeypatch.setattr(verify_record, "fail", lambda *_, **__: state)
    counts = VerificationCounts()
    verify_record.record_result(None, WorkResult(lease_of(kind, "a"), message="m"), counts)  # type: ignore[arg-type]
    assert counts == counted


def test_counts_are_said_as_they_are() -> None:
    assert (
        str(VerificationCounts(converged=2, failed=1, dependency_failed=3))
        == "2 converged, 0 anomalous, 4 failed"
    )
    assert str(VerificationCounts(retried=2)).endswith("0 failed, 2 to be tried again")


def test_every_class_of_failure_has_its_rule_but_that_of_the_place() -> None:
    assert {kind.value for kind in FailureKind} == {*POLICY, "not_installed"}


def test_an_engine_that_is_missing_is_told_with_its_host() -> None:
    elsewhere = replace(EMT, engine="of-another-machine")
    (outcome,), _ = verify_group(
        [ReferenceJob(lease_of("gas", "H2"))], WorkRequest(elsewhere, {}), {}
    )
    assert outcome.failure is FailureKind.NOT_INSTALLED
    assert outcome.provenance is not None
    assert outcome.provenance.host == socket.gethostname()
