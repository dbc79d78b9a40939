"""How a result changes its item in the queue, and what a run counts."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.moody_queue import CAMPAIGN, MoodyQueue, moody_queue
from support.stored_rows import queue_rows

from flows.verification.executor import WorkResult
from flows.verification.recording import VerificationCounts, record_result
from flows.verification.work_items import plan_dependencies
from screening_db.calculations.failure_policy import POLICY, RUN_STOPPED
from screening_db.queries.labels import reference_energies
from screening_db.queue.lease import Lease
from screening_db.queue.queue import claim
from tasks.verification.engines import FailureKind

PASSES, STAYS = FailureKind.WALL_LIMIT, FailureKind.BAD_INPUT


@pytest.fixture
def queue(tmp_path: Path) -> MoodyQueue:
    return moody_queue(tmp_path, str(tmp_path / "screening.db"))


def leases(queue: MoodyQueue) -> dict[str, Lease]:
    """Lease the slab and the molecule, store energies for them, and lease the adslab too."""
    plan_dependencies(queue.db, queue.level)
    found = claim(queue.db, queue.level.name, batch=9, lease_s=60.0, campaign=CAMPAIGN)
    return {lease.kind: lease for lease in found}


def adslab_lease(queue: MoodyQueue) -> Lease:
    for lease in leases(queue).values():
        record_result(queue.db, WorkResult(lease, energy_ev=-1.0), VerificationCounts())
    (lease,) = claim(queue.db, queue.level.name, batch=9, lease_s=60.0, campaign=CAMPAIGN)
    return lease


def counted(queue: MoodyQueue, lease: Lease, failure: FailureKind) -> VerificationCounts:
    counts = VerificationCounts()
    record_result(queue.db, WorkResult(lease, failure=failure, message="m"), counts)
    return counts


def test_an_adslab_that_failed_for_good_is_counted(queue: MoodyQueue) -> None:
    assert counted(queue, adslab_lease(queue), STAYS) == VerificationCounts(failed=1)


def test_a_failed_slab_is_counted_where_its_adslabs_fail(queue: MoodyQueue) -> None:
    assert counted(queue, leases(queue)["slab"], STAYS) == VerificationCounts()


@pytest.mark.parametrize("kind", ["slab", "gas"])
def test_a_failure_that_may_pass_is_counted_as_a_retry(queue: MoodyQueue, kind: str) -> None:
    assert counted(queue, leases(queue)[kind], PASSES) == VerificationCounts(retried=1)


def test_a_result_whose_lease_was_lost_is_not_counted(queue: MoodyQueue) -> None:
    lease = replace(adslab_lease(queue), token="another worker's")
    assert counted(queue, lease, STAYS) == VerificationCounts()
    assert {row.state for row in queue_rows(queue.db) if row.kind == "adslab"} == {"leased"}


def test_the_energy_of_a_reference_is_stored_under_its_kind(queue: MoodyQueue) -> None:
    slab = leases(queue)["slab"]
    record_result(queue.db, WorkResult(slab, energy_ev=-1.5), VerificationCounts())
    (row,) = reference_energies(queue.db, queue.level.name, "slab", [slab.item]).values()
    assert row.energy_ev == -1.5


def test_counts_are_printed_in_one_line() -> None:
    counts = VerificationCounts(converged=2, failed=1, dependency_failed=3)
    assert str(counts) == "2 converged, 0 anomalous, 4 failed"
    assert str(VerificationCounts(retried=2)).endswith("0 failed, 2 to be tried again")


def test_every_failure_kind_has_a_rule_but_a_missing_engine() -> None:
    of_engines = {*POLICY, "not_installed"} - {RUN_STOPPED}  # which no engine reports
    assert {kind.value for kind in FailureKind} == of_engines
