"""The verification queue: nothing is lost, nothing is calculated twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from support.stored_rows import end_leases, queue_rows

from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import (
    claim,
    complete,
    fail,
    heartbeat,
    release,
)
from screening_db.queue.view import queue_counts
from screening_db.records.campaigns import record_campaign
from screening_db.records.ranking import record_triage
from screening_db.records.screening import record_chunk
from screening_db.tables.verification import LabelRow, QueueRow


def wanted(candidate_id, priority=0.5, why="promising", campaign="first"):
    return QueueRow(
        candidate_id=candidate_id, level="emt", campaign=campaign, priority=priority, why=why
    )


@pytest.fixture
def queued(db, make):
    """Give a database with ten candidates; those with a higher number are wanted more."""
    ids = [f"c{number:02d}" for number in range(10)]
    record_chunk(db, "first", "chunk", [make.candidate(i) for i in ids], [], [])
    assert enqueue(db, [wanted(i, priority=int(i[1:]) / 10) for i in ids]) == 10
    return db


def row(db, candidate_id):
    return {item.candidate_id: item for item in queue_rows(db)}[candidate_id]


def labels(db):
    with db.read() as session:
        return {label.candidate_id: label for label in session.scalars(select(LabelRow))}


def test_queueing_again_adds_nothing(queued):
    assert enqueue(queued, [wanted("c03", priority=99.0)]) == 0
    assert row(queued, "c03").priority == 0.3


def test_what_has_a_label_is_not_queued(db, make):
    record_chunk(db, "first", "chunk", [make.candidate("a"), make.candidate("b")], [], [])
    with db.write() as session:
        session.add(make.label("a"))
    assert enqueue(db, [wanted("a"), wanted("b")]) == 1
    assert [item.candidate_id for item in queue_rows(db)] == ["b"]


def test_the_larger_priority_goes_first(queued):
    leases = claim(queued, "emt", batch=3, lease_s=60)
    assert [lease.item for lease in leases] == ["c09", "c08", "c07"]
    assert leases[0].attempt == 1


def test_ties_go_to_the_lower_id(db, make):
    record_chunk(db, "first", "chunk", [make.candidate(i) for i in "cab"], [], [])
    enqueue(db, [wanted(i) for i in "cab"])
    assert [lease.item for lease in claim(db, "emt", batch=3, lease_s=60)] == [*"abc"]


def test_another_level_is_not_claimed(queued):
    assert claim(queued, "pbe", batch=3, lease_s=60) == []


@pytest.fixture
def two_campaigns(queued, make):
    """Let a second campaign want c09, which the first has queued, and c10, which it has not."""
    record_campaign(queued, make.campaign("second"))
    states = [make.placement(i, "second") for i in ("c08", "c09", "c10")]
    record_chunk(queued, "second", "chunk", [make.candidate("c10")], [], states)
    record_triage(queued, "second", queued=["c09", "c10"], kept=["c08"])
    rows = [wanted("c09", campaign="second"), wanted("c10", campaign="second")]
    assert enqueue(queued, rows) == 1
    return queued


def claimed(db, campaign):
    leases = claim(db, "emt", batch=20, lease_s=60, campaign=campaign)
    return [lease.item for lease in leases]


def test_a_campaign_claims_what_it_queued_and_nothing_else(two_campaigns):
    assert claimed(two_campaigns, "second") == ["c09", "c10"]
    assert claimed(two_campaigns, "first") == [f"c0{number}" for number in range(8, -1, -1)]
    assert claimed(two_campaigns, "nobody") == []


def test_what_two_campaigns_queued_is_calculated_once(two_campaigns):
    assert "c09" in claimed(two_campaigns, "first")
    assert claimed(two_campaigns, "second") == ["c10"]


def test_without_a_campaign_everything_is_claimed(two_campaigns):
    assert len(claimed(two_campaigns, None)) == 11


def test_what_two_campaigns_queued_counts_in_both(two_campaigns):
    counts = {count.campaign: count.count for count in queue_counts(two_campaigns)}
    assert counts == {"first": 10, "second": 2}


@pytest.mark.parametrize(("batch", "lease_s"), [(0, 60.0), (1, 0.0)])
def test_an_empty_claim_is_refused(db, batch, lease_s):
    with pytest.raises(DatabaseError, match="a claim takes 1 item or more"):
        claim(db, "emt", batch=batch, lease_s=lease_s)


def test_workers_at_once_claim_nothing_twice(db, make):
    ids = [f"c{number:03d}" for number in range(200)]
    record_chunk(db, "first", "chunk", [make.candidate(i) for i in ids], [], [])
    enqueue(db, [wanted(i) for i in ids])

    def work(_):
        own, found = open_database(db.address), []
        while leases := claim(own, "emt", batch=7, lease_s=60):
            found += [lease.item for lease in leases]
        own.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        claimed = [candidate for found in pool.map(work, range(4)) for candidate in found]
    assert sorted(claimed) == ids


def test_a_label_and_its_state_are_stored_together(queued, make):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert complete(queued, lease, make.label("c09", energy_ev=-0.7))
    assert row(queued, "c09").state == "converged"
    assert labels(queued)["c09"].energy_ev == -0.7
    assert labels(queued)["c09"].e_references == {"H2": -6.9, "H2O": -12.8}


def test_a_label_that_is_not_trained_on_is_anomalous(queued, make):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert complete(queued, lease, make.label("c09", trainable=False))
    assert row(queued, "c09").state == "anomalous"
    assert labels(queued)["c09"].flags == ["desorbed"]


def test_a_label_that_the_table_refuses_leaves_the_lease(queued, make):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    with pytest.raises(DatabaseError, match="breaks its rules"):
        complete(queued, lease, make.label("c09", energy_ev=float("inf")))
    assert row(queued, "c09").state == "leased"
    assert labels(queued) == {}


def test_a_result_that_comes_back_twice_counts_once(queued, make):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert complete(queued, lease, make.label("c09", energy_ev=-0.7))
    assert not complete(queued, lease, make.label("c09", energy_ev=-0.1))
    assert labels(queued)["c09"].energy_ev == -0.7


def test_a_label_of_another_candidate_is_refused(queued, make):
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    with pytest.raises(DatabaseError, match="a label is of the candidate and level"):
        complete(queued, lease, make.label("c01"))


def test_a_lease_that_ran_out_is_claimed_again_and_its_token_is_stale(queued, make):
    (lost,) = claim(queued, "emt", batch=1, lease_s=60)
    end_leases(queued)
    (lease,) = claim(queued, "emt", batch=1, lease_s=60)
    assert (lease.candidate_id, lease.attempt) == ("c09", 2)
    assert not complete(queued, lost, make.label("c09", energy_ev=-9.0))
    assert fail(queued, lost, "engine", "too late") is None
    assert heartbeat(queued, [lost, lease], 60) == [lease]
    assert complete(queued, lease, make.label("c09", energy_ev=-0.7))
    assert labels(queued)["c09"].energy_ev == -0.7


def test_a_late_result_counts_while_nobody_else_has_the_item(queued, make):
    (late,) = claim(queued, "emt", batch=1, lease_s=60)
    end_leases(queued)
    assert complete(queued, late, make.label("c09"))


def test_a_heartbeat_keeps_a_lease(queued):
    leases = claim(queued, "emt", batch=10, lease_s=60)
    end_leases(queued)
    assert heartbeat(queued, leases, 60) == leases
    assert claim(queued, "emt", batch=10, lease_s=60) == []


def test_what_was_not_begun_is_given_back_at_no_cost(queued):
    leases = claim(queued, "emt", batch=4, lease_s=60)
    assert release(queued, leases) == 4
    assert {(row.state, row.attempts) for row in queue_rows(queued)} == {("queued", 0)}


def test_the_queue_status_counts_every_item(queued, make):
    lease, other = claim(queued, "emt", batch=2, lease_s=60)
    complete(queued, lease, make.label(lease.candidate_id))
    counts = {count.state: count.count for count in queue_counts(queued, "first")}
    assert counts == {"queued": 8, "leased": 1, "converged": 1}
    assert other.candidate_id == "c08"
    assert queue_counts(queued, "nobody") == []


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(st.sampled_from(["claim", "complete", "fail", "retry", "release"]), max_size=25)
)
def test_whatever_workers_do_each_item_is_in_one_state_and_done_at_most_once(queued, make, steps):
    with queued.write() as session:
        session.execute(text("DELETE FROM label"))
        session.execute(text("DELETE FROM calculation"))
        session.execute(
            text(
                "UPDATE queue SET state = 'queued', attempts = 0, failures = '{}', "
                "lease_token = NULL, lease_until = NULL"
            )
        )
    held, ended = [], []
    for step in steps:
        if step == "claim":
            held += claim(queued, "emt", batch=2, lease_s=60)
        elif held:
            lease = held.pop()
            assert {
                "complete": lambda lease: complete(queued, lease, make.label(lease.candidate_id)),
                "fail": lambda lease: fail(queued, lease, "bad_input", "m") is not None,
                "retry": lambda lease: fail(queued, lease, "wall_limit", "m") is not None,
                "release": lambda lease: bool(release(queued, [lease])),
            }[step](lease)
            ended.append(lease)
    assert not any(complete(queued, lease, make.label(lease.candidate_id)) for lease in ended)
    states = [item.state for item in queue_rows(queued)]
    assert len(states) == 10
    assert states.count("leased") == len(held)
    assert states.count("converged") == len(labels(queued))
