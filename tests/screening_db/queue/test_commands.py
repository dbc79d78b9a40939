"""What people order of the queue, and how they name what they mean."""

import pytest
from support.stored_rows import queue_rows

from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns
from screening_db.queue.commands import cancel, hold, release_held, retry, set_priority
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import (
    claim,
    complete,
    fail,
    heartbeat,
)
from screening_db.queue.view import queue_items, queue_items_by_id, queue_items_where
from screening_db.records.campaigns import record_campaign
from screening_db.records.ranking import record_triage


@pytest.fixture
def queued(db, make):
    """Give four queued candidates of two pairs; each number lies 0.1 eV lower."""
    make.store(db, ["a1", "a2", "b1", "b2"])
    enqueue(db, [make.queue_row(i) for i in ("a1", "a2", "b1", "b2")])
    return db


def states(db):
    return {row.item: row.state for row in queue_rows(db)}


def keys(*items):
    return [(item, "emt") for item in items]


def why(result):
    return {item.key[0]: item.reason for item in result.unchanged}


def test_what_is_held_is_not_claimed_until_it_is_released(queued):
    hold(queued, keys("a1", "a2"))
    assert [lease.item for lease in claim(queued, "emt", batch=9, lease_s=60)] == ["b1", "b2"]
    assert release_held(queued, keys("a1")).changed == (*((key, "queued") for key in keys("a1")),)
    assert [lease.item for lease in claim(queued, "emt", batch=9, lease_s=60)] == ["a1"]


def test_what_is_cancelled_is_not_claimed_and_not_queued_again(queued, make):
    cancel(queued, keys("a1"))
    assert enqueue(queued, [make.queue_row("a1")]) == 0
    assert "a1" not in [lease.item for lease in claim(queued, "emt", batch=9, lease_s=60)]


def test_a_worker_of_a_cancelled_item_learns_it_from_its_heartbeat(queued):
    leases = claim(queued, "emt", batch=2, lease_s=60)
    cancel(queued, keys("a1"))
    assert [lease.item for lease in heartbeat(queued, leases, 60)] == ["a2"]


def test_the_larger_priority_then_goes_first(queued):
    set_priority(queued, keys("b2"), 7.5)
    assert claim(queued, "emt", batch=1, lease_s=60)[0].item == "b2"


@pytest.mark.parametrize("priority", [float("nan"), float("inf")])
def test_a_priority_is_a_finite_number(queued, priority):
    with pytest.raises(DatabaseError, match="finite number"):
        set_priority(queued, keys("a1"), priority)


def test_what_an_order_cannot_change_is_named_with_the_reason(queued, make):
    converged, failed, _ = claim(queued, "emt", batch=3, lease_s=60)
    complete(queued, converged, make.label("a1"))
    fail(queued, failed, "bad_input", "overlap")
    named = keys("a1", "a2", "b1", "b2", "gone")
    assert why(hold(queued, named)) == {
        "a1": "it is converged: its result stays",
        "a2": "it failed; retry it or leave it",
        "b1": "it is being calculated; cancel it, or wait",
        "gone": "it is not in the queue any more",
    }
    assert set(why(retry(queued, named))) == {"a1", "b1", "b2", "gone"}
    assert set(why(cancel(queued, named))) == {"a1", "gone"}
    assert states(queued) == {
        **{"a1": "converged", "a2": "cancelled", "b1": "cancelled", "b2": "cancelled"}
    }
    assert set(why(release_held(queued, named))) == {"a1", "a2", "b1", "b2", "gone"}


def test_the_view_says_what_people_choose_by(queued, make):
    lease = claim(queued, "emt", batch=1, lease_s=60)[0]
    complete(queued, lease, make.label("a1", energy_ev=-0.4))
    found = {item.item: item for item in queue_items(queued)}["a1"]
    assert (found.bulk, found.miller, found.adsorbate, found.site) == (
        "CuPt",
        "(1 -1 0)",
        "OH",
        "bridge Cu-Pt",
    )
    assert (found.state, found.label_ev, found.attempts) == ("converged", -0.4, 1)
    assert found.energy_ev == pytest.approx(-0.6)


def test_a_campaign_sees_what_it_shares(queued, make):
    record_campaign(queued, make.campaign("second"))
    make.store(queued, ["b1"], campaign="second")
    record_triage(queued, "second", queued=["b1"], kept=[])
    assert [item.item for item in queue_items(queued, "second")] == ["b1"]
    assert len(queue_items(queued, "first")) == 4
    assert queue_items(queued, "nobody") == []


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("energy_ev < -0.65", ["a2", "b2"]),
        ("energy_ev < -0.65 and bulk = 'CuPt' and item like 'a%'", ["a2"]),
        ("bulk = 'it''s; not -- here'", []),
        ("(state = 'queued') and (item in ('a1', 'b1'))", ["a1", "b1"]),
        ("item in (select item from queue where item > 'b')", ["b1", "b2"]),
        ("true", ["a1", "a2", "b1", "b2"]),
    ],
)
def test_a_condition_chooses(queued, condition, found):
    assert [item.item for item in queue_items_where(queued, condition)] == found


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "  ",
        "1=1); delete from queue where (1=1",
        "1=1) union select * from verification_queue where (1=1",
        "1=1) or (1=1",
        "1=1 -- ",
        "1=1 /* */",
        "1=1; drop table queue",
        "item = 'a",
        'item = "a',
        "((1=1)",
        "item = E'\\') or (1=1'",
        "item = $$a$$",
        "[item'] = 'a'",
        "`item` = 'a'",
        "1=1\0",
    ],
)
def test_a_condition_that_is_not_one_expression_is_refused(queued, condition):
    with pytest.raises(DatabaseError, match="a condition is one SQL expression") as caught:
        queue_items_where(queued, condition)
    assert "\n" not in str(caught.value)
    assert len(states(queued)) == 4


@pytest.mark.parametrize(
    "condition",
    [
        "energy_ev <",
        "no_such_column = 1",
        "delete from queue",
        "1=1 limit 1",
        "1=1 order by item",
        "item in (delete from queue returning item)",
        "item = 'a1' where 1=1",
    ],
)
def test_a_condition_that_is_not_understood_is_one_line(queued, condition):
    with pytest.raises(DatabaseError, match=r"over the columns item, kind.*not understood"):
        queue_items_where(queued, condition)
    assert len(states(queued)) == 4
    assert [row.name for row in all_campaigns(queued)] == ["first"]


def test_an_id_may_be_cut_short_while_it_is_unique(queued):
    assert [item.item for item in queue_items_by_id(queued, ["a1", "b2"])] == ["a1", "b2"]
    assert [item.item for item in queue_items_by_id(queued, ["b2", "b2"], "emt")] == ["b2"]
    with pytest.raises(DatabaseError, match=r"'a' is the beginning of 2 items \(a1, a2\)"):
        queue_items_by_id(queued, ["a"])
    for name in ("c", "", "%", "a_"):
        with pytest.raises(DatabaseError, match="an item is named by its id"):
            queue_items_by_id(queued, [name])
    with pytest.raises(DatabaseError, match="none at level pbe"):
        queue_items_by_id(queued, ["a1"], "pbe")


def test_an_anomaly_is_retried_where_its_relaxation_did_not_converge(queued, make):
    unconverged, desorbed = claim(queued, "emt", batch=2, lease_s=60)
    label = make.label(unconverged.item, trainable=False)
    label.converged = False
    complete(queued, unconverged, label)
    complete(queued, desorbed, make.label(desorbed.item, trainable=False))
    result = retry(queued, keys("a1", "a2"))
    assert [key[0] for key, _ in result.changed] == ["a1"]
    assert why(result) == {"a2": "it is anomalous: its result stays"}
    (again,) = [lease for lease in claim(queued, "emt", batch=9, lease_s=60) if lease.item == "a1"]
    assert again.resumes
