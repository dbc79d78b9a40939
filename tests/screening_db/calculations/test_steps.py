"""Steps of running tries come into the database one way; what has ended takes none."""

from dataclasses import replace

import pytest

from screening_db.calculations.attempts import (
    Provenance,
    StoredGeometry,
    attempts_of,
    last_geometry,
)
from screening_db.calculations.steps import (
    ReportedStep,
    Step,
    record_reported_steps,
    running_steps,
    steps_of,
)
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import (
    claim,
    complete,
    fail,
    release,
)
from screening_db.records.screening import record_chunk


@pytest.fixture
def queued(db, make):
    """Give a database with one candidate in the queue."""
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [])
    enqueue(db, [make.queue_row("a1")])
    return db


def lease_of(db, lease_s=60.0):
    (lease,) = claim(db, "emt", batch=1, lease_s=lease_s)
    return lease


def step(number, fmax=0.5):
    return Step(number, -10.0 - number, fmax, 1000.0 + number)


def reported(lease, number, structure=""):
    return ReportedStep(*lease.key, step(number), structure or f"geometry {number}")


def test_the_steps_of_a_running_attempt_are_seen_in_their_order(queued):
    lease = lease_of(queued)
    assert record_reported_steps(queued, [reported(lease, 1), reported(lease, 0)]) == {lease.key}
    record_reported_steps(queued, [reported(lease, 2), reported(lease, 1)])
    assert steps_of(queued, lease.key) == [step(0), step(1), step(2)]
    assert running_steps(queued) == {("a1", "emt"): step(2)}


def test_steps_of_an_attempt_that_is_not_running_are_left_out(queued, make):
    lease = lease_of(queued)
    complete(queued, lease, make.label("a1"))
    assert record_reported_steps(queued, [reported(lease, 0)]) == set()
    assert (
        record_reported_steps(queued, [reported(replace(lease, token="of another database"), 0)])
        == set()
    )
    assert steps_of(queued, lease.key) == []
    assert running_steps(queued) == {}


def test_all_steps_are_stored_with_the_end_of_the_attempt(queued, make):
    lease = lease_of(queued)
    record_reported_steps(queued, [reported(lease, 1)])
    complete(queued, lease, make.label("a1"), Provenance(steps=(step(0), step(1), step(2))))
    assert steps_of(queued, lease.key) == [step(0), step(1), step(2)]


def test_a_lost_worker_leaves_the_last_geometry_that_it_reported(queued, make):
    lost = lease_of(queued)
    record_reported_steps(
        queued, [ReportedStep(*lost.key, step(0, fmax=7.0), "start"), reported(lost, 4)]
    )
    make.end_leases(queued)
    again = lease_of(queued)
    assert again.resumes
    assert last_geometry(queued, "a1", "emt") == StoredGeometry("geometry 4", 1, 7.0)
    fail(queued, again, "wall_limit", "m", Provenance(structure_out="later", note="went on"))
    assert last_geometry(queued, "a1", "emt") == StoredGeometry("later", 2, 7.0)
    assert attempts_of(queued, "a1", "emt")[1].note == "went on"


def test_what_was_given_back_has_no_steps(queued):
    lease = lease_of(queued)
    record_reported_steps(queued, [reported(lease, 0)])
    release(queued, [lease])
    assert steps_of(queued, lease.key) == []
    assert attempts_of(queued, "a1", "emt") == []


def test_a_result_that_came_late_is_noted_after_what_was_told(queued, make):
    lease = lease_of(queued)
    complete(queued, lease, make.label("a1"), Provenance(note="went on"))
    complete(queued, lease, make.label("a1"))
    (found,) = attempts_of(queued, "a1", "emt")
    assert found.note.startswith("went on; a label came after")
