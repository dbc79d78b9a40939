"""A lease with a job outlives its driver: it is taken over by one process, and not given up."""

import threading

import pytest
from support.stored_rows import end_leases, queue_rows

from screening_db.calculations.attempts import attempts_of
from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
from screening_db.queue.enqueue import enqueue
from screening_db.queue.lease import (
    JOB_GRACE_S,
    hand_over_jobs,
    jobs_running,
    record_jobs,
    take_over_jobs,
)
from screening_db.queue.queue import claim, complete, heartbeat
from screening_db.records.screening import record_chunk

LOCATION = "slurm:/scratch/100%_jobs"


@pytest.fixture
def leased(db, make):
    """Give a database with two leased candidates, one of which has a job; and the leases."""
    ids = ["a1", "a2"]
    record_chunk(db, "first", "chunk", [make.candidate(i) for i in ids], [], [])
    enqueue(db, [make.queue_row(i) for i in ids])
    leases = claim(db, "emt", batch=2, lease_s=60)
    record_jobs(db, {leases[0]: f"{LOCATION}#job0"})
    end_leases(db)
    return db, leases


def test_a_lease_with_a_job_is_not_claimed_when_it_runs_out(leased):
    db, (with_job, without) = leased
    (claimed,) = claim(db, "emt", batch=9, lease_s=60)
    assert claimed.item == without.item
    assert claimed.failures == {"run_stopped": 1}
    states = {row.item: (row.state, row.lease_token) for row in queue_rows(db)}
    assert states[with_job.item] == ("leased", with_job.token)


def test_it_is_taken_over_with_its_token_and_completed_once(leased, make):
    db, (with_job, _) = leased
    assert take_over_jobs(db, "emt", LOCATION, 60) == [with_job]
    assert take_over_jobs(db, "emt", LOCATION, 60) == []  # it is held again
    assert complete(db, with_job, make.label(with_job.item))
    assert not complete(db, with_job, make.label(with_job.item))
    (tried,) = attempts_of(db, with_job.item, "emt")
    assert (tried.state, tried.attempt, tried.job) == ("converged", 1, f"{LOCATION}#job0")


@pytest.mark.parametrize(
    "location", ["local:/scratch/100%_jobs", "slurm:/scratch/100x_jobs", "slurm:/scratch"]
)
def test_another_location_takes_nothing_over(leased, location):
    db, _ = leased
    assert take_over_jobs(db, "emt", location, 60) == []
    assert (jobs_running(db, "emt", location), jobs_running(db, "emt", LOCATION)) == (0, 1)


def test_a_job_that_is_watched_is_not_taken_over_until_it_is_left(leased):
    db, (with_job, _) = leased
    assert heartbeat(db, [with_job], 60) == [with_job]
    assert take_over_jobs(db, "emt", LOCATION, 60) == []
    hand_over_jobs(db, [with_job])
    assert take_over_jobs(db, "emt", LOCATION, 60) == [with_job]


def test_a_job_that_nobody_asks_about_for_long_is_given_up(leased):
    db, (with_job, _) = leased
    end_leases(db, JOB_GRACE_S + 60)
    claimed = {lease.item: lease.failures for lease in claim(db, "emt", batch=9, lease_s=60)}
    assert claimed[with_job.item] == {"run_stopped": 1}


def test_of_two_that_take_over_at_once_each_lease_goes_to_one(leased):
    db, (with_job, _) = leased
    other, found, ready = open_database(db.address), [], threading.Barrier(2)

    def take(database):
        ready.wait()
        found.extend(take_over_jobs(database, "emt", LOCATION, 60))

    threads = [threading.Thread(target=take, args=(database,)) for database in (db, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert found == [with_job]


def test_a_job_without_a_location_is_refused(leased):
    db, (_, without) = leased
    with pytest.raises(DatabaseError, match="a job has a location and a name"):
        record_jobs(db, {without: ""})
