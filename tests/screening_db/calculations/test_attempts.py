"""Every try is recorded, and what came twice or too late changes nothing but is noted."""

import gzip
import os
import time

import pytest
from support.stored_rows import labels

from screening_db.calculations import attempts
from screening_db.calculations.attempts import (
    Provenance,
    StoredFile,
    StoredGeometry,
    attempts_of,
    last_geometry,
    pack_files,
    sha256_of,
    stored_files,
)
from screening_db.errors import DatabaseError
from screening_db.queue.commands import cancel
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import (
    claim,
    complete,
    fail,
    release,
)
from screening_db.records.campaigns import forget_campaign, record_campaign
from screening_db.records.screening import record_chunk, store_structures
from screening_db.tables.verification import QueueRow

PROVENANCE = Provenance(
    host="node7",
    engine="gpaw",
    level_hash="e" * 64,
    versions={"ase": "3.29", "gpaw": "26.7"},
    structure_in="before",
    structure_out="after",
    inputs=("clean slab",),
    started_at=1000.0,
    ended_at=1090.5,
    files=pack_files({"log": b"line\n" * 100}),
)


@pytest.fixture
def queued(db, make):
    """Give a database with one candidate in the queue, whose structure is stored."""
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [])
    store_structures(db, {"a1": "structure"})
    enqueue(db, [make.queue_row("a1")])
    return db


def lease_of(db, lease_s=60.0):
    (lease,) = claim(db, "emt", batch=1, lease_s=lease_s)
    return lease


def the_try(db):
    (found,) = attempts_of(db, "a1", "emt")
    return found


def test_an_attempt_is_recorded_from_its_lease_on(queued):
    lease = lease_of(queued)
    found = the_try(queued)
    assert (found.state, found.attempt, found.ended_at) == ("running", 1, None)
    assert abs(found.started_at - time.time()) < 60
    assert found.token == lease.token


def test_a_finished_attempt_keeps_all_that_the_worker_reported(queued, make):
    assert complete(queued, lease_of(queued), make.label("a1"), PROVENANCE)
    found = the_try(queued)
    assert (found.state, found.host, found.engine) == ("converged", "node7", "gpaw")
    assert (found.started_at, found.ended_at) == (1000.0, 1090.5)
    assert found.versions == {"ase": "3.29", "gpaw": "26.7"}
    assert (found.structure_in, found.structure_out) == ("before", "after")
    assert found.input_sha256 == sha256_of("e" * 64, "before", "clean slab")
    (log,) = stored_files(queued, found)
    assert (log.name, log.size_bytes) == ("log", 500)
    assert gzip.decompress(log.content) == b"line\n" * 100


def test_a_failed_attempt_leaves_the_geometry_to_resume_from(queued):
    assert last_geometry(queued, "a1", "emt") is None
    fail(queued, lease_of(queued), "wall_limit", "out of time", PROVENANCE)
    assert the_try(queued).error_class == "wall_limit"
    fail(queued, lease_of(queued), "engine", "died at once")
    assert last_geometry(queued, "a1", "emt") == StoredGeometry("after", 1, 0.0)


def test_an_input_hash_depends_on_level_and_all_structures():
    hashes = {
        Provenance(level_hash="l", structure_in="s", inputs=("t",)).input_sha256,
        Provenance(level_hash="m", structure_in="s", inputs=("t",)).input_sha256,
        Provenance(level_hash="l", structure_in="st").input_sha256,
        Provenance(level_hash="l", structure_in="s", inputs=("t", "")).input_sha256,
    }
    assert len(hashes) == 4
    assert Provenance().input_sha256 == ""


def test_a_result_that_comes_twice_is_refused_and_noted(queued, make):
    lease = lease_of(queued)
    assert complete(queued, lease, make.label("a1", energy_ev=-0.7), PROVENANCE)
    assert not complete(queued, lease, make.label("a1", energy_ev=-0.1))
    assert fail(queued, lease, "engine", "late") is None
    found = the_try(queued)
    assert (found.state, found.refused) == ("converged", 2)
    assert "engine was reported after the lease ended" in found.note
    assert [label.energy_ev for label in labels(queued, "emt")] == [-0.7]


def test_a_result_after_the_lease_was_lost_is_refused_and_noted(queued, make):
    late = lease_of(queued)
    make.end_leases(queued)
    lease_of(queued)
    assert not complete(queued, late, make.label("a1"), PROVENANCE)
    lost, running = sorted(attempts_of(queued, "a1", "emt"), key=lambda found: found.attempt)
    assert (lost.state, lost.error_class, lost.refused) == ("failed", "run_stopped", 1)
    assert (running.state, running.refused) == ("running", 0)
    assert stored_files(queued, lost) == []


def test_the_result_of_a_cancelled_calculation_is_refused(queued, make):
    lease = lease_of(queued)
    cancel(queued, [("a1", "emt")])
    assert not complete(queued, lease, make.label("a1"))
    found = the_try(queued)
    assert (found.state, found.refused) == ("cancelled", 1)
    assert labels(queued, "emt") == []


def test_what_was_given_back_was_never_tried(queued):
    release(queued, [lease_of(queued)])
    assert attempts_of(queued, "a1", "emt") == []


def test_the_hash_of_the_structure_travels_with_the_lease(queued, make):
    assert lease_of(queued).structure_sha256 == sha256_of("structure")


def test_files_are_kept_within_a_limit_the_first_that_fit():
    noise = os.urandom(1000)
    small, large, last = pack_files({"a": b"x" * 90, "b": noise, "c": b"y" * 90}, limit_bytes=200)
    assert (large.name, large.size_bytes, large.content) == ("b", 1000, None)
    assert (gzip.decompress(small.content), gzip.decompress(last.content)) == (
        b"x" * 90,
        b"y" * 90,
    )


def test_the_limit_holds_whoever_packed_the_files(queued, make, monkeypatch):
    monkeypatch.setattr(attempts, "FILES_LIMIT_BYTES", 50)
    provenance = Provenance(files=(StoredFile("a", 40, b"a" * 40), StoredFile("b", 40, b"b" * 40)))
    complete(queued, lease_of(queued), make.label("a1"), provenance)
    assert [file.content for file in stored_files(queued, the_try(queued))] == [b"a" * 40, None]


@pytest.mark.parametrize("name", ["", ".", "..", "../log", "a/b", "/etc/passwd", "a\\b"])
def test_a_file_with_a_folder_in_its_name_is_refused(name):
    with pytest.raises(DatabaseError, match="a plain name"):
        pack_files({name: b""})


def test_what_is_queued_again_after_it_was_forgotten_keeps_its_history(queued, make):
    fail(queued, lease_of(queued), "wall_limit", "m")
    forget_campaign(queued, "first")
    record_campaign(queued, make.campaign())
    again = QueueRow(
        candidate_id="a1", level="emt", campaign="first", priority=1.0, why="promising"
    )
    assert enqueue(queued, [again]) == 1
    assert lease_of(queued).failures == {}
    assert len(attempts_of(queued, "a1", "emt")) == 2
