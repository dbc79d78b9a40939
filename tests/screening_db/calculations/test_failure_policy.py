"""Each class of failure ends in its own state after its own number of tries."""

import pytest
from support.stored_rows import end_leases, queue_rows

from screening_db.calculations.attempts import Provenance, attempts_of
from screening_db.calculations.failure_policy import POLICY, after_failure
from screening_db.queue.commands import retry
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, fail
from screening_db.records.screening import record_chunk

# class: tries until it is failed, memory class at the end
ENDS = {
    "bad_input": (1, 0),
    "missing_potential": (1, 0),
    "scf_not_converged": (3, 0),
    "ions_not_converged": (2, 0),
    "out_of_memory": (3, 2),
    "wall_limit": (20, 0),
    "numerical": (2, 0),
    "killed": (5, 0),
    "run_stopped": (100, 0),
    "engine": (3, 0),
}


@pytest.fixture
def queued(db, make):
    """Give a database with one candidate in the queue."""
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [])
    enqueue(db, [make.queue_row("a1")])
    return db


def row(db):
    (found,) = queue_rows(db)
    return found


def fail_until_the_end(db, failure, *, limit=150):
    """Fail the one item in the same way until nothing is left to claim; return the tries."""
    for done in range(limit):
        leases = claim(db, "emt", batch=1, lease_s=60)
        if not leases:
            return done
        assert fail(db, leases[0], failure, "as\nbefore") in ("queued", "failed")
    raise AssertionError(f"{failure} is tried for ever")


def test_every_class_is_told_about():
    assert set(ENDS) == set(POLICY)


@pytest.mark.parametrize("failure", ENDS)
def test_a_failure_ends_in_its_state_after_its_attempts(queued, failure):
    wanted, memory_class = ENDS[failure]
    assert fail_until_the_end(queued, failure) == wanted
    item = row(queued)
    assert (item.state, item.attempts, item.memory_class) == ("failed", wanted, memory_class)
    assert (item.error_class, item.error_message) == (failure, "as before")
    recorded = attempts_of(queued, "a1", "emt")
    assert [tried.attempt for tried in recorded] == list(range(1, wanted + 1))
    assert {(tried.state, tried.error_class) for tried in recorded} == {("failed", failure)}
    assert enqueue(queued, [item]) == 0


def test_runs_that_are_killed_use_up_none_of_the_attempts_at_an_item(queued):
    for attempt in range(1, 11):
        (lease,) = claim(queued, "emt", batch=1, lease_s=60)
        assert lease.attempt == attempt
        end_leases(queued)
    recorded = attempts_of(queued, "a1", "emt")
    assert [tried.error_class for tried in recorded[:9]] == ["run_stopped"] * 9
    assert all(tried.ended_at >= tried.started_at for tried in recorded[:9])
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert lease.resumes  # where the run was killed
    for _ in range(4):
        assert fail(queued, lease, "killed", "m") == "queued"
        (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert fail(queued, lease, "killed", "m") == "failed"  # its own five deaths end it


def test_an_engine_that_climbed_its_ladder_by_itself_has_used_its_attempts(queued):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    provenance = Provenance(rungs=("as stated: no", "gentle mixing: no", "smeared start: no"))
    assert fail(queued, lease, "scf_not_converged", "m", provenance, times=3) == "failed"
    (tried,) = attempts_of(queued, "a1", "emt")
    assert tried.rungs == list(provenance.rungs)


def test_an_unknown_class_is_not_tried_again(queued):
    assert fail_until_the_end(queued, "gremlins") == 1


def test_classes_count_by_themselves(queued):
    for failure in ("scf_not_converged", "wall_limit", "scf_not_converged", "out_of_memory"):
        (lease,) = claim(queued, "emt", batch=1, lease_s=60)
        assert fail(queued, lease, failure, "m") == "queued"
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert lease.failures == {"scf_not_converged": 2, "wall_limit": 1, "out_of_memory": 1}
    assert lease.memory_class == 1
    assert fail(queued, lease, "scf_not_converged", "m") == "failed"


@pytest.mark.parametrize(
    ("failure", "resumes"),
    [("wall_limit", True), ("ions_not_converged", True), ("scf_not_converged", False)],
)
def test_the_next_attempt_resumes_after_some_failures_only(queued, failure, resumes):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert not lease.resumes
    fail(queued, lease, failure, "m")
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert (lease.last_failure, lease.resumes) == (failure, resumes)


def test_what_needs_more_memory_is_left_to_those_who_have_it(queued):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60, memory_class=0)
    fail(queued, lease, "out_of_memory", "m")
    assert claim(queued, "emt", batch=1, lease_s=60, memory_class=0) == []
    (lease,) = claim(queued, "emt", batch=1, lease_s=60, memory_class=1)
    assert lease.memory_class == 1


def test_a_retry_by_a_person_sets_the_counts_back_and_keeps_the_history(queued):
    fail_until_the_end(queued, "scf_not_converged")
    assert retry(queued, [("a1", "emt")]).changed == ((("a1", "emt"), "queued"),)
    assert fail_until_the_end(queued, "scf_not_converged") == 3
    assert row(queued).attempts == 6
    assert len(attempts_of(queued, "a1", "emt")) == 6


def test_more_memory_is_given_only_to_an_attempt_that_follows():
    after = after_failure("out_of_memory", {"out_of_memory": 2}, 2)
    assert (after.state, after.memory_class) == ("failed", 2)
