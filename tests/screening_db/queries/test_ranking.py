"""What is asked of a ranking: the lowest placement of each pair, and the first in line."""

import pytest
from sqlalchemy import event, text

from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
from screening_db.queries.labels import labelled_predictions
from screening_db.queries.ranking import lowest_placements, top_candidates
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete
from screening_db.records.ranking import record_ranks
from screening_db.records.screening import record_chunk, record_slabs
from screening_db.tables.screening import SlabRow


def test_the_pair_minimum_is_the_lowest_placement_inside_the_domain(db, make):
    make.store(db, ["a1", "a2", "a3", "b1"])
    outside = make.prediction("a3", -9.0)
    outside.in_domain, outside.reason = False, "Fe"
    record_chunk(db, "first", "more", [], [outside], [make.placement("a3")])
    lowest = {row.pair_id: row for row in lowest_placements(db, "first")}
    assert {pair: row.candidate_id for pair, row in lowest.items()} == {
        "pair-a": "a2",
        "pair-b": "b1",
    }
    assert lowest["pair-a"].n_placements == 2
    few = lowest_placements(db, "first", per_pair=5)
    assert [row.candidate_id for row in few] == ["a2", "a1", "b1"]


def test_a_pair_minimum_tie_goes_to_the_lower_id(db, make):
    ids = ["a9", "a1", "a5"]
    record_chunk(
        db,
        "first",
        "one",
        [make.candidate(i) for i in ids],
        [make.prediction(i) for i in ids],
        [make.placement(i) for i in ids],
    )
    assert lowest_placements(db, "first")[0].candidate_id == "a1"


def test_ranks_are_replaced_as_a_whole(db, make):
    make.store(db, ["a1", "b1"])
    record_ranks(db, "first", [make.rank("a1", 1), make.rank("b1", 2)])
    record_ranks(db, "first", [make.rank("b1", 1)])
    assert [row.candidate_id for row in top_candidates(db, "first")] == ["b1"]
    with pytest.raises(DatabaseError, match="breaks its rules"):
        record_ranks(db, "first", [make.rank("a1", 1), make.rank("unknown", 2)])
    assert [row.candidate_id for row in top_candidates(db, "first")] == ["b1"]


def test_ranks_of_two_campaigns_at_once_are_refused(db, make):
    with pytest.raises(DatabaseError, match="got some of second"):
        record_ranks(db, "first", [make.rank("a1", 1), make.rank("b1", 2, campaign="second")])


def test_a_ranked_candidate_says_all_that_people_ask(db, make):
    make.store(db, ["a1"])
    record_ranks(db, "first", [make.rank("a1", 1)])
    enqueue(db, [make.queue_row("a1")])
    (lease,) = claim(db, "emt", batch=1, lease_s=60)
    complete(db, lease, make.label("a1", energy_ev=-0.4))
    (best,) = top_candidates(db, "first")
    assert (best.bulk, best.miller, best.adsorbate, best.site) == (
        "CuPt",
        "(1 -1 0)",
        "OH",
        "bridge Cu-Pt",
    )
    assert (best.level, best.checkpoint, best.queue_state, best.label_ev) == (
        "emt",
        "c" * 12,
        "converged",
        -0.4,
    )


def test_labels_stand_beside_the_predictions_they_test(db, make):
    make.store(db, ["a1", "a2"])
    enqueue(db, [make.queue_row("a1")])
    (lease,) = claim(db, "emt", batch=1, lease_s=60)
    complete(db, lease, make.label("a1", energy_ev=-0.4))
    (pair,) = labelled_predictions(db, "first")
    assert (pair.candidate_id, pair.label_ev, pair.trainable) == ("a1", -0.4, True)
    assert pair.predicted_ev == pytest.approx(-0.6)
    assert pair.why == "uncertain"


def test_the_first_hundred_of_a_long_ranking_are_found_by_index_and_not_sorted(db):
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT"
    )
    with db.write() as session:
        for statement in (
            f"INSERT INTO pair (key, id, slab_id, adsorbate) {numbers} i, 'p' || i, 'slab', 'OH' "
            "FROM n",
            "INSERT INTO stored_candidate (key, id, pair_key, site_kind, site, recipe) "
            f"{numbers} i, 'c' || i, i, 'atop', 'atop Pt', '{{}}' FROM n",
            "INSERT INTO stored_rank (campaign, rank, rank_group, pair_key, candidate_key, "
            f"energy_ev, sigma_ev, probability) {numbers} 'first', i, i, i, i, -0.5, 0.1, 0.5 "
            "FROM n",
            "INSERT INTO predictor (key, checkpoint_sha256, level) SELECT 1, checkpoint_sha256, "
            "level FROM campaign WHERE name = 'first'",
            "INSERT INTO stored_prediction (candidate_key, predictor_key, energy_ev, sigma_ev, "
            "in_domain, reason, basis) SELECT c.key, d.key, -0.5, 0.1, true, '', '' "
            "FROM stored_candidate c CROSS JOIN predictor d",
            "ANALYZE",
        ):
            session.execute(text(statement))
    again = open_database(db.address)  # a connection that knows what ANALYZE found
    plan = []

    def explain(connection, _cursor, sql, values, *_):
        if not sql.startswith("EXPLAIN"):
            how = "EXPLAIN QUERY PLAN" if db.is_sqlite else "EXPLAIN"
            plan.extend(str(row[-1]) for row in connection.exec_driver_sql(f"{how} {sql}", values))

    event.listen(again.engine, "before_cursor_execute", explain)
    top = top_candidates(again, "first", 100)
    again.close()
    assert [row.rank for row in top] == list(range(1, 101))
    whole = ("SCAN r", "SCAN c", "Seq Scan on stored", "TEMP B-TREE", "Sort")
    by_index = ("SEARCH r USING PRIMARY KEY", "using pk_stored_rank")
    assert any(word in step for step in plan for word in by_index)
    assert [step for step in plan if any(word in step for word in whole)] == []


def slab(slab_id, shift, side="top", miller_l=0):
    return SlabRow(
        id=slab_id,
        bulk_id="bulk",
        miller_h=1,
        miller_k=-1,
        miller_l=miller_l,
        shift=shift,
        side=side,
        n_atoms=12,
        elements=["Cu", "Pt"],
        structure="{}",
    )


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], ["", ""]),
        ([slab("thick", 0.25), slab("else", 0.5, miller_l=1)], ["", ""]),
        ([slab("cut", 0.5)], ["0.25", "0.25"]),
        ([slab("far", 0.25, "bottom")], ["0.25", "0.25 bottom"]),
    ],
    ids=["alone", "thickness and plane", "another cut", "the far side"],
)
def test_terminations_are_told_apart_where_there_are_several(db, make, others, said):
    record_slabs(db, others)
    on_far_side = "far" if any(row.id == "far" for row in others) else "slab"
    found = [make.candidate("a1", "pair-a"), make.candidate("b1", "pair-b", on_far_side)]
    record_chunk(db, "first", "one", found, [], [])
    record_ranks(db, "first", [make.rank("a1", 1), make.rank("b1", 2)])
    assert [row.termination for row in top_candidates(db, "first")] == said
