"""No clock that was wrong keeps an item: a lease is waited for no longer than its length."""

import time

import pytest
from sqlalchemy import update
from support.stored_rows import queue_rows

from screening_db.calculations.attempts import Provenance, attempts_of, last_geometry
from screening_db.queue.enqueue import enqueue
from screening_db.queue.lease import SeenLeases, record_jobs, take_over_jobs
from screening_db.queue.queue import claim, complete, fail, heartbeat
from screening_db.queue.view import converged_since
from screening_db.records.screening import record_chunk
from screening_db.tables import QueueRow

LOCATION = "slurm:/scratch/jobs"
FAR_AHEAD_S = 1e7  # of a clock that was a quarter of a year ahead when the lease was given


class Watch:
    """A clock of the waiting process."""

    def __init__(self):
        self.now_s = 5.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def leased(db, make):
    """Give a database with one leased candidate, and its lease of 60 s."""
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [make.placement("a1")])
    enqueue(db, [make.queue_row("a1")])
    return db, claim(db, "emt", batch=1, lease_s=60)[0]


def shift(db, seconds):
    """Give the lease as by a clock that is so much ahead."""
    with db.write() as session:
        session.execute(update(QueueRow).values(lease_until=time.time() + 60 + seconds))


def test_a_lease_far_in_the_future_is_taken_over_after_its_length(leased, watch):
    db, _ = leased
    shift(db, FAR_AHEAD_S)
    seen = SeenLeases(watch)
    assert claim(db, "emt", batch=9, lease_s=600, seen=seen) == []
    watch.now_s += 59
    assert claim(db, "emt", batch=9, lease_s=600, seen=seen) == []
    watch.now_s += 2
    (again,) = claim(db, "emt", batch=9, lease_s=600, seen=seen)
    assert (again.item, again.failures) == ("a1", {"run_stopped": 1})


def test_a_lease_that_is_renewed_meanwhile_is_not_taken_over(leased, watch):
    db, lease = leased
    seen = SeenLeases(watch)
    for ahead_s in (FAR_AHEAD_S, 2 * FAR_AHEAD_S, 3 * FAR_AHEAD_S):
        shift(db, ahead_s)
        assert claim(db, "emt", batch=9, lease_s=60, seen=seen) == []
        watch.now_s += 40
    assert heartbeat(db, [lease], 60) == [lease]  # by the clock as it is now
    assert queue_rows(db)[0].lease_until < time.time() + 61
    assert claim(db, "emt", batch=9, lease_s=60, seen=seen) == []


def test_a_job_far_in_the_future_is_taken_over_after_its_length(leased, watch):
    db, lease = leased
    record_jobs(db, {lease: f"{LOCATION}#job"})
    shift(db, FAR_AHEAD_S)
    seen = SeenLeases(watch)
    assert take_over_jobs(db, "emt", LOCATION, 60, seen) == []
    watch.now_s += 61
    assert take_over_jobs(db, "emt", LOCATION, 60, seen) == [lease]


def test_a_lease_of_a_former_release_lasts_as_long_as_those_of_who_waits(leased, watch):
    db, _ = leased
    shift(db, FAR_AHEAD_S)
    with db.write() as session:
        session.execute(update(QueueRow).values(lease_s=None))
    seen = SeenLeases(watch)
    assert claim(db, "emt", batch=9, lease_s=30, seen=seen) == []
    watch.now_s += 31
    assert len(claim(db, "emt", batch=9, lease_s=30, seen=seen)) == 1


@pytest.mark.parametrize("off_s", [-FAR_AHEAD_S, FAR_AHEAD_S])
def test_a_worker_whose_clock_is_off_changes_no_order(leased, make, off_s):
    db, lease = leased
    began = time.time()
    off = Provenance(started_at=began + off_s, ended_at=began + off_s + 1, structure_out="first")
    fail(db, lease, "scf_not_converged", "no", off)
    (again,) = claim(db, "emt", batch=1, lease_s=60)
    fail(db, again, "scf_not_converged", "no", Provenance(structure_out="second"))
    assert [row.attempt for row in attempts_of(db, "a1", "emt")] == [1, 2]
    assert last_geometry(db, "a1", "emt").structure == "second"


@pytest.mark.parametrize("off_s", [-FAR_AHEAD_S, FAR_AHEAD_S])
def test_a_label_counts_as_new_by_the_clock_of_the_database(leased, make, off_s):
    db, lease = leased
    before = time.time() - 1
    at = time.time() + off_s
    assert complete(db, lease, make.label("a1"), Provenance(started_at=at, ended_at=at))
    assert converged_since(db, "first", before) == {"a1"}
    assert converged_since(db, "first", time.time() + 1) == frozenset()
