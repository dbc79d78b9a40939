"""Clean slabs and gas molecules are computed once, and adslabs wait for them."""

import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import text
from support.paths import REPOSITORY
from support.stored_rows import labels, queue_rows

from screening_db.errors import DatabaseError
from screening_db.queries.labels import reference_energies
from screening_db.queue.commands import cancel, hold, release_held, retry, set_priority
from screening_db.queue.dependencies import (
    Dependency,
    record_dependencies,
    record_references,
    without_dependencies,
)
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import (
    claim,
    complete,
    complete_reference,
    fail,
)
from screening_db.queue.view import count_failed_dependencies, waits_for_dependencies
from screening_db.records.campaigns import forget_campaign
from screening_db.records.screening import record_chunk
from screening_db.tables.verification import ReferenceEnergyRow

SLAB, OTHER, GAS = Dependency("slab", "slab"), Dependency("slab", "other"), Dependency("gas", "H2")


@pytest.fixture
def needy(db, make):
    """Give a1 and a2 on one slab and b1 on another; all need hydrogen."""
    make.record(db, make.slab("other"))
    found = [make.candidate("a1"), make.candidate("a2"), make.candidate("b1", slab_id="other")]
    record_chunk(db, "first", "chunk", found, [], [])
    priorities = {"a1": 3.0, "a2": 1.0, "b1": 2.0}
    enqueue(db, [make.queue_row(i, priority=p) for i, p in priorities.items()])
    assert record_dependencies(db, "emt", NEEDS) == 3
    return db


NEEDS = {"a1": [SLAB, GAS], "a2": [SLAB, GAS], "b1": [OTHER, GAS]}


def energy(lease, energy_ev=-1.0):
    return ReferenceEnergyRow(
        level=lease.level, kind=lease.kind, item=lease.item, energy_ev=energy_ev
    )


def states(db):
    return {row.item: row.state for row in queue_rows(db)}


def claimed(db, **conditions):
    return [lease.item for lease in claim(db, "emt", batch=9, lease_s=60, **conditions)]


def compute(db, *items):
    leases = {lease.item: lease for lease in claim(db, "emt", batch=9, lease_s=60)}
    for item in items:
        assert complete_reference(db, leases[item], energy(leases[item]))


def test_adslabs_wait_and_what_they_need_is_queued_once(needy):
    assert states(needy) == {
        **{"a1": "waiting", "a2": "waiting", "b1": "waiting"},
        **{"slab": "queued", "other": "queued", "H2": "queued"},
    }
    assert without_dependencies(needy, "emt") == []
    assert record_dependencies(needy, "emt", NEEDS) == 0


def test_what_is_needed_is_as_urgent_as_the_most_urgent_adslab(needy):
    assert {row.item: row.priority for row in queue_rows(needy) if row.kind != "adslab"} == {
        "slab": 3.0,
        "H2": 3.0,
        "other": 2.0,
    }
    assert claimed(needy) == ["slab", "H2", "other"]


def test_an_adslab_goes_on_when_the_last_of_its_needs_is_there(needy):
    compute(needy, "slab")
    assert states(needy)["a1"] == "waiting"
    with needy.write() as session:  # their worker was lost
        session.execute(text("UPDATE queue SET lease_until = 0 WHERE state = 'leased'"))
    compute(needy, "H2")
    found = states(needy)
    assert (found["a1"], found["a2"], found["b1"]) == ("queued", "queued", "waiting")


def test_adslabs_that_are_ready_are_claimed_by_priority(needy):
    compute(needy, "slab", "H2", "other")
    assert claimed(needy) == ["a1", "b1", "a2"]


def test_the_first_in_line_and_their_needs_alone_are_claimed(needy):
    assert claimed(needy, adslabs=1) == ["slab", "H2"]
    assert claimed(needy, adslabs=2, campaign="first") == ["other"]
    assert claimed(needy, campaign="nobody") == []


def test_an_energy_that_is_recorded_is_not_computed_again(db, make):
    record_chunk(db, "first", "chunk", [make.candidate("a1"), make.candidate("a2")], [], [])
    enqueue(db, [make.queue_row("a1")])
    found = [
        ReferenceEnergyRow(level="emt", kind=need.kind, item=need.item, energy_ev=1.0)
        for need in (SLAB, GAS)
    ]
    record_references(db, found)
    assert record_dependencies(db, "emt", {"a1": [SLAB, GAS]}) == 0
    assert states(db) == {"a1": "queued"}


def test_an_energy_that_came_by_another_way_settles_its_item(needy):
    found = [
        ReferenceEnergyRow(level="emt", kind=need.kind, item=need.item, energy_ev=1.0)
        for need in (SLAB, GAS)
    ]
    record_references(needy, found)
    assert states(needy) == {
        **{"a1": "queued", "a2": "queued", "b1": "waiting"},
        **{"slab": "converged", "H2": "converged", "other": "queued"},
    }


def test_a_slab_that_fails_fails_what_waits_for_it_and_a_retry_brings_all_back(needy):
    (slab, gas, _) = claim(needy, "emt", batch=9, lease_s=60)
    assert fail(needy, slab, "bad_input", "atoms overlap") == "failed"
    rows = {row.item: row for row in queue_rows(needy)}
    assert (rows["a1"].state, rows["a1"].error_class, rows["a1"].attempts) == (
        "failed",
        "need_failed",
        0,
    )
    assert "needs slab, which is failed: atoms overlap" in rows["a1"].error_message
    assert rows["b1"].state == "waiting"
    assert count_failed_dependencies(needy, "first") == 2
    assert waits_for_dependencies(needy, "first")
    assert not waits_for_dependencies(needy, "nobody")
    complete_reference(needy, gas, energy(gas))
    retry(needy, [("a1", "emt")])
    found = states(needy)
    assert (found["slab"], found["a1"], found["a2"]) == ("queued", "waiting", "waiting")


def test_an_energy_of_another_item_is_refused(needy):
    (slab, gas, _) = claim(needy, "emt", batch=9, lease_s=60)
    with pytest.raises(DatabaseError, match="store each energy under its own lease"):
        complete_reference(needy, slab, energy(gas))


def test_an_energy_that_comes_back_twice_is_refused_and_the_first_stays(needy):
    (slab, *_) = claim(needy, "emt", batch=9, lease_s=60)
    assert complete_reference(needy, slab, energy(slab, -1.0))
    assert not complete_reference(needy, slab, energy(slab, -2.0))
    assert reference_energies(needy, "emt", "slab")["slab"].energy_ev == -1.0


def test_held_adslabs_let_their_needs_be_and_go_on_after_them(needy):
    hold(needy, [("a1", "emt")])
    compute(needy, "slab", "H2", "other")
    assert states(needy)["a1"] == "held"
    assert claimed(needy) == ["b1", "a2"]
    assert release_held(needy, [("a1", "emt")]).changed == ((("a1", "emt"), "queued"),)


def test_cancelled_adslabs_take_what_they_alone_need_with_them(needy):
    cancel(needy, [("a1", "emt"), ("b1", "emt")])
    assert states(needy) == {
        **{"a1": "cancelled", "b1": "cancelled", "a2": "waiting"},
        **{"slab": "queued", "H2": "queued"},
    }
    retry(needy, [("b1", "emt")])
    assert [row.id for row in without_dependencies(needy, "emt")] == ["b1"]


def test_a_priority_goes_along_to_what_is_needed(needy):
    result = set_priority(needy, [("b1", "emt"), ("slab", "emt")], 9.0)
    (item,) = result.unchanged
    assert (item.key, item.reason[:16]) == (("slab", "emt"), "it is as urgent ")
    assert claimed(needy)[:2] == ["other", "H2"]


def test_a_forgotten_campaign_leaves_no_needs(needy):
    forget_campaign(needy, "first")
    assert states(needy) == {}
    with needy.read() as session:
        assert session.execute(text("SELECT count(*) FROM queue_need")).scalar_one() == 0


WORKER = """
import sys, time
from screening_db.database.engine import open_database
from screening_db.queue.queue import claim, complete, complete_reference
from screening_db.tables.verification import LabelRow, ReferenceEnergyRow

db = open_database(sys.argv[1])
while db.query("SELECT item FROM queue WHERE state <> 'converged'"):
    leases = claim(db, "emt", batch=2, lease_s=600)
    time.sleep(0.0 if leases else 0.05)
    for lease in leases:
        if lease.kind == "adslab":
            label = LabelRow(candidate_id=lease.item, level="emt", energy_ev=0.0, e_adslab=0.0,
                             e_slab=0.0, e_references={}, converged=True, flags=[], steps=1,
                             fmax=0.0, structure="{}", trainable=True)
            assert complete(db, lease, label)
        else:
            energy = ReferenceEnergyRow(level="emt", kind=lease.kind, item=lease.item,
                                        energy_ev=0.0)
            assert complete_reference(db, lease, energy)
        print(lease.item, flush=True)
"""


@pytest.mark.medium
def test_two_worker_processes_do_nothing_twice_and_leave_nothing(db, make):
    ids = [f"c{number:02d}" for number in range(40)]
    record_chunk(db, "first", "chunk", [make.candidate(i) for i in ids], [], [])
    enqueue(db, [make.queue_row(i, priority=float(i[1:])) for i in ids])
    gases = [Dependency("gas", name) for name in ("CO", "H2", "H2O")]
    needs = {i: [SLAB, gases[number % 3], gases[0]] for number, i in enumerate(ids)}
    assert record_dependencies(db, "emt", needs) == 4
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, db.address],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    done = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert Counter(item for items in done for item in items) == Counter(
        [*ids, "slab", "CO", "H2", "H2O"]
    )
    assert set(states(db).values()) == {"converged"}
    assert len(labels(db, "emt")) == 40


def test_an_adslab_whose_last_two_needs_came_at_once_is_found_by_the_next_claim(needy):
    compute(needy, "slab", "H2")
    with needy.write() as session:  # as two transactions that do not see each other leave it
        session.execute(text("UPDATE queue SET state = 'waiting' WHERE item = 'a1'"))
    assert "a1" in claimed(needy)


def test_an_adslab_is_complete_only_under_its_own_kind_of_lease(needy, make):
    (slab, *_) = claim(needy, "emt", batch=9, lease_s=60)
    with pytest.raises(DatabaseError, match="a label is of the candidate"):
        complete(needy, slab, make.label("slab"))
