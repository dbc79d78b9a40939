"""A campaign is ranked by another checkpoint as a whole, and back again exactly."""

from collections import Counter

import pytest
from sqlalchemy import text
from support.stored_rows import queue_rows

from screening_db.database.engine import open_database
from screening_db.database.schema import migrate
from screening_db.errors import DatabaseError
from screening_db.learning.serving import promote, roll_back, serving_sha256
from screening_db.learning.stale import model_of_campaign, stale_predictions
from screening_db.queries.campaigns import find_campaign, funnel_counts
from screening_db.queries.ranking import lowest_placements, top_candidates
from screening_db.queue.commands import hold
from screening_db.queue.dependencies import Dependency, record_dependencies
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete
from screening_db.records.campaigns import record_campaign, set_campaign_status
from screening_db.records.ranking import (
    CampaignRanking,
    record_ranks,
    record_triage,
    replace_ranking,
    verification_requests,
)
from screening_db.records.screening import record_checkpoint, record_chunk, record_predictions
from screening_db.tables.screening import CheckpointRow, RankRow

FIRST, SECOND = "c" * 64, "d" * 64
ALL = ["a1", "a2", "a3", "b1", "b2", "e1"]


@pytest.fixture
def ranked(db, make):
    """Give a finished campaign: two placements kept of each pair, two pairs queued."""
    record_checkpoint(
        db,
        CheckpointRow(
            sha256=SECOND, name="d", kind="qe", card={}, model="mini", parent_sha256=FIRST
        ),
    )
    make.store(db, ALL)
    ranks = [make.rank("a3", 1), make.rank("b2", 2), make.rank("e1", 3)]
    record_ranks(db, "first", ranks)
    record_triage(db, "first", queued=["a3", "b2"], kept=["a3", "a2", "b2", "b1", "e1"])
    enqueue(db, [make.queue_row("a3", priority=-1.0), make.queue_row("b2", priority=-2.0)])
    set_campaign_status(db, "first", "finished")
    return db


def predict(db, make, ids, outside=()):
    """Store what the second checkpoint says: of each pair the lower number is the better."""
    rows = []
    for item in ids:
        energy_ev = -1.0 + 0.1 * int(item[1:])
        row = make.prediction(item, energy_ev, checkpoint_sha256=SECOND)
        if item in outside:
            row.in_domain, row.reason = False, "latent: far"
        rows.append(row)
    record_predictions(db, rows)


def second_ranking(make, queued=()):
    return CampaignRanking(
        campaign="first",
        checkpoint_sha256=SECOND,
        ranks=[make.rank("a2", 1), make.rank("b1", 2), make.rank("e1", 3)],
        kept=["a2", "a3", "b1", "b2", "e1"],
        queued=queued,
    )


def states(db):
    return {row["item_id"]: row["state"] for row in db.query("SELECT * FROM campaign_item")}


def ranks_of(db):
    return db.query("SELECT * FROM rank ORDER BY rank")


def test_contenders_are_what_was_kept_or_queued_and_they_are_stale_once_superseded(ranked, make):
    assert stale_predictions(ranked, "first") == []
    promote(ranked, "mini", SECOND, "by hand", {}, expected=FIRST, force=True)
    assert model_of_campaign(ranked, "first") == "mini"
    assert stale_predictions(ranked, "first") == ["a2", "a3", "b1", "b2", "e1"]
    predict(ranked, make, ["a2", "b1"])
    assert stale_predictions(ranked, "first") == ["a3", "b2", "e1"]
    assert stale_predictions(ranked, "first", FIRST) == []


def test_a_ranking_that_some_contender_is_missing_from_is_refused(ranked, make):
    predict(ranked, make, ["a2", "b1"])
    before = ranks_of(ranked)
    with pytest.raises(DatabaseError, match=r"has yet to predict 3 contenders .*sabatier rescore"):
        replace_ranking(ranked, second_ranking(make))
    assert ranks_of(ranked) == before
    assert find_campaign(ranked, "first").checkpoint_sha256 == FIRST


def test_a_campaign_that_is_not_finished_is_not_ranked_anew(ranked, make):
    predict(ranked, make, ALL)
    set_campaign_status(ranked, "first", "running")
    with pytest.raises(DatabaseError, match="campaign first is not finished"):
        replace_ranking(ranked, second_ranking(make))


def test_minima_of_another_checkpoint_are_of_contenders_alone(ranked, make):
    predict(ranked, make, ALL)  # also a1, which was passed over: another campaign has asked for it
    lowest = [row.candidate_id for row in lowest_placements(ranked, "first", SECOND)]
    assert lowest == ["a2", "b1", "e1"]
    few = [row.candidate_id for row in lowest_placements(ranked, "first", SECOND, per_pair=5)]
    assert few[:3] == ["a2", "a3", "b1"]
    assert [row.candidate_id for row in lowest_placements(ranked, "first")] == ["a3", "b2", "e1"]


def test_the_view_of_minima_says_what_the_query_says(ranked, make):
    predict(ranked, make, ALL, outside=["e1"])
    for ranking in (None, second_ranking(make)):
        if ranking is not None:
            replace_ranking(ranked, ranking)
        with ranked.read() as session:
            view = session.execute(text("SELECT * FROM pair_minimum ORDER BY pair_id")).mappings()
            assert [dict(row) for row in view] == [
                {name: value for name, value in vars(r).items() if name != "bulk_id"}
                for r in lowest_placements(ranked, "first")
            ]


def test_ranks_states_queue_and_checkpoint_change_as_one(ranked, make):
    predict(ranked, make, ALL)
    replace_ranking(ranked, second_ranking(make, [make.queue_row("b1", priority=-1.0)]))
    assert find_campaign(ranked, "first").checkpoint_sha256 == SECOND
    assert find_campaign(ranked, "first").screened_with == FIRST
    assert [row.candidate_id for row in top_candidates(ranked, "first")] == ["a2", "b1", "e1"]
    assert [(row.item, row.priority) for row in queue_rows(ranked)] == [("b1", -1.0)]
    assert states(ranked) == {
        **{"a1": "passed_over", "a2": "kept", "a3": "kept"},
        **{"b1": "queued", "b2": "kept", "e1": "kept"},
    }


def test_a_placement_that_falls_out_of_the_domain_is_counted_there_once(ranked, make):
    before = Counter(row.stage for row in funnel_counts(ranked, "first") for _ in range(row.count))
    predict(ranked, make, ALL, outside=["a3", "b1"])
    replace_ranking(ranked, second_ranking(make))
    assert states(ranked)["b1"] == "out_of_domain"
    outside = [row for row in funnel_counts(ranked, "first") if row.state == "out_of_domain"]
    assert [(row.reason, row.count) for row in outside] == [("latent", 2)]
    after = Counter(row.stage for row in funnel_counts(ranked, "first") for _ in range(row.count))
    assert after == before
    assert [row.candidate_id for row in lowest_placements(ranked, "first")] == ["a2", "b2", "e1"]


def test_what_was_begun_stays_queued_whatever_the_ranking_makes_of_it(ranked, make):
    (lease,) = claim(ranked, "emt", batch=1, lease_s=60)
    assert lease.item == "a3"
    hold(ranked, [("b2", "emt")])
    assert verification_requests(ranked, "first").begun == {"a3", "b2"}
    predict(ranked, make, ALL, outside=["a3"])
    replace_ranking(ranked, second_ranking(make, [make.queue_row("e1", priority=-1.0)]))
    found = {row.item: (row.state, row.priority) for row in queue_rows(ranked)}
    assert found == {"a3": ("leased", -1.0), "b2": ("held", -2.0), "e1": ("queued", -1.0)}
    assert {item for item, state in states(ranked).items() if state == "queued"} == set(found)
    assert complete(ranked, lease, make.label("a3"))


def test_what_waits_has_its_new_priority_and_what_it_needs_has_it_too(ranked, make):
    record_dependencies(
        ranked, "emt", {"a3": [Dependency("slab", "slab")], "b2": [Dependency("gas", "H2")]}
    )
    predict(ranked, make, ALL)
    replace_ranking(ranked, second_ranking(make, [make.queue_row("b2", priority=-7.0)]))
    found = {row.item: (row.state, row.priority) for row in queue_rows(ranked)}
    assert found == {"b2": ("waiting", -7.0), "H2": ("queued", -7.0)}  # the slab left with a3


def test_what_another_campaign_queued_too_is_handed_to_it(ranked, make):
    record_campaign(ranked, make.campaign("second"))
    record_chunk(ranked, "second", "one", [], [], [make.placement("a3", "second")])
    record_triage(ranked, "second", queued=["a3"], kept=[])
    predict(ranked, make, ALL)
    replace_ranking(ranked, second_ranking(make))
    assert [(row.item, row.campaign) for row in queue_rows(ranked)] == [("a3", "second")]
    assert states(ranked)["b2"] == "kept"


def test_a_rollback_restores_the_ranking_in_its_own_transaction(ranked, make):
    before, placed = ranks_of(ranked), states(ranked)
    promote(ranked, "mini", SECOND, "by hand", {}, expected=FIRST, force=True)
    predict(ranked, make, ALL, outside=["a3"])
    replace_ranking(ranked, second_ranking(make))
    former = CampaignRanking(
        campaign="first",
        checkpoint_sha256=FIRST,
        ranks=[RankRow(**row) for row in before],
        kept=["a3", "a2", "b2", "b1", "e1"],
        queued=[make.queue_row("a3", priority=-1.0), make.queue_row("b2", priority=-2.0)],
    )
    broken = CampaignRanking("unknown", FIRST, [], [], [])
    with pytest.raises(DatabaseError, match="campaign unknown is not finished"):
        roll_back(ranked, "mini", rankings=[former, broken])
    assert (serving_sha256(ranked, "mini"), len(ranks_of(ranked))) == (SECOND, 3)
    assert find_campaign(ranked, "first").checkpoint_sha256 == SECOND
    assert roll_back(ranked, "mini", rankings=[former]) == FIRST
    assert ranks_of(ranked) == before
    assert states(ranked) == placed


def test_a_former_campaign_knows_its_contenders_and_its_checkpoint_after_the_upgrade(ranked):
    migrate(ranked.engine, ranked.where, "0004")
    db = open_database(ranked.address, upgrade=True)
    assert find_campaign(db, "first").screened_with == FIRST
    assert stale_predictions(db, "first", SECOND) == ["a2", "a3", "b1", "b2", "e1"]
    with db.read() as session:
        rows = session.execute(text("SELECT sha256, model, folder FROM checkpoint ORDER BY sha256"))
        assert list(map(tuple, rows)) == [(FIRST, "mini", ""), (SECOND, "d", "")]
    db.close()
