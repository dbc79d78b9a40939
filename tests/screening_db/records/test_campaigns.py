"""A campaign has one configuration under its name, and is forgotten without harm to others."""

import pytest
from sqlalchemy import text

from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns, find_campaign, funnel_counts
from screening_db.queries.enumeration import candidates_by_id
from screening_db.queue.enqueue import enqueue
from screening_db.queue.view import queue_counts
from screening_db.records.campaigns import forget_campaign, record_campaign, set_campaign_status
from screening_db.records.ranking import record_ranks, record_triage
from screening_db.records.screening import (
    done_chunks,
)


def test_a_campaign_goes_on_under_its_name(db, make):
    set_campaign_status(db, "first", "finished")
    record_campaign(db, make.campaign())
    assert [(row.name, row.status) for row in all_campaigns(db)] == [("first", "finished")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config_sha256": "2" * 64, "config": "seed: 2\n"}, r"- seed: 1, \+ seed: 2"),
        ({"seed": 2}, "seed 1 -> 2"),
        ({"config_sha256": "2" * 64}, "another file"),
    ],
)
def test_another_configuration_under_the_same_name_is_refused(db, make, changed, said):
    with pytest.raises(DatabaseError, match=rf"{said}\); choose .* sabatier forget first"):
        record_campaign(db, make.campaign(**changed))


def test_a_campaign_is_found_by_name(db):
    assert find_campaign(db, "first").level == "emt"
    with pytest.raises(DatabaseError, match="there is no campaign lost"):
        find_campaign(db, "lost")


def test_forgetting_a_campaign_leaves_what_others_need(db, make):
    record_campaign(db, make.campaign("second"))
    make.store(db, ["a1", "a2", "a3"])
    make.store(db, ["a1"], campaign="second")
    record_triage(db, "second", queued=["a1"], kept=[])
    record_ranks(db, "first", [make.rank("a1", 1)])
    enqueue(db, [make.queue_row("a1"), make.queue_row("a2"), make.queue_row("a3")])
    with db.write() as session:
        session.execute(text("UPDATE queue SET state = 'failed' WHERE candidate_id = 'a3'"))
    forget_campaign(db, "first")
    assert [row.name for row in all_campaigns(db)] == ["second"]
    assert (funnel_counts(db, "first"), done_chunks(db, "first")) == ([], frozenset())
    assert {(c.campaign, c.state): c.count for c in queue_counts(db)} == {
        ("second", "queued"): 1,  # a1 was wanted by both
        ("first", "failed"): 1,  # a3 was tried: that is not forgotten
    }
    assert len(candidates_by_id(db, ["a1", "a2", "a3"])) == 3


def test_an_unknown_campaign_is_not_forgotten(db):
    with pytest.raises(DatabaseError, match=r"there is no campaign lost in .*; it has first"):
        forget_campaign(db, "lost")
