"""A queue of the former schema, with rows in it, goes up and down and loses nothing of worth."""

import pytest
from sqlalchemy import text
from support.stored_rows import labels, queue_rows

from screening_db.database.engine import open_database
from screening_db.database.schema import migrate
from screening_db.queries.ranking import top_candidates
from screening_db.queue.commands import cancel, hold
from screening_db.queue.dependencies import Dependency, record_dependencies
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete, complete_reference
from screening_db.queue.view import queue_counts
from screening_db.records.ranking import record_ranks, record_triage
from screening_db.records.screening import record_chunk, record_items
from screening_db.tables.verification import ReferenceEnergyRow

FORMER = """
INSERT INTO queue (candidate_id, level, campaign, priority, why, state, attempts, lease_token,
    lease_until, error_class, error_message) VALUES
    ('a1', 'emt', 'first', 3.0, 'promising', 'queued', 0, NULL, NULL, '', ''),
    ('a2', 'emt', 'first', 2.0, 'uncertain', 'leased', 2, 'token', 1.0, '', ''),
    ('a3', 'emt', 'first', 1.0, 'uncertain', 'failed', 5, NULL, NULL, 'LostWorker', 'lost'),
    ('a4', 'emt', 'first', 0.5, 'uncertain', 'converged', 1, NULL, NULL, '', '')
"""


@pytest.fixture
def former(db, make):
    """Give a database of revision 0003 with one item of the queue in each of its states."""
    make.store(db, ["a1", "a2", "a3"])
    other = make.candidate("a4", "pair-b")
    record_chunk(db, "first", "more", [other], [make.prediction("a4")], [make.placement("a4")])
    record_ranks(db, "first", [make.rank("a1", 1), make.rank("a4", 2, "pair-b")])
    with db.write() as session:
        session.add(make.label("a4", energy_ev=-0.4))
    migrate(db.engine, db.where, "0003")
    with db.engine.begin() as connection:  # as a process of that release would
        connection.execute(text(FORMER))
    return db


def test_a_former_queue_goes_on_after_the_upgrade(former, make):
    db = open_database(former.address, upgrade=True)
    rows = {row.item: row for row in queue_rows(db)}
    assert {row.candidate_id for row in rows.values()} == set(rows) == {"a1", "a2", "a3", "a4"}
    assert {(row.kind, row.memory_class) for row in rows.values()} == {("adslab", 0)}
    assert (rows["a3"].state, rows["a3"].error_class, rows["a3"].attempts) == (
        "failed",
        "killed",
        5,
    )
    assert [row.queue_state for row in top_candidates(db, "first")] == ["queued", "converged"]
    first, again = claim(db, "emt", batch=9, lease_s=60)  # the lease of a2 ran out long ago
    assert (first.item, again.item, again.attempt) == ("a1", "a2", 3)
    assert complete(db, again, make.label("a2"))
    assert len(labels(db, "emt")) == 2
    db.close()


def test_rows_go_down_to_the_former_tables_and_up_again(db, make):
    make.store(db, ["a1", "a2", "b1"])
    refused = make.placement("a9", state="refused", reason="overlap: 0.5")
    record_items(db, [refused])
    record_ranks(db, "first", [make.rank("a2", 1), make.rank("b1", 2)])
    record_triage(db, "first", queued=["a2"], kept=["b1"])
    shown = {name: f"SELECT * FROM {name}" for name in ("candidate", "prediction", "rank")}
    shown |= {"campaign_item": "SELECT * FROM campaign_item", "funnel": "SELECT * FROM funnel"}

    def rows():
        return {name: sorted(map(str, db.query(query))) for name, query in shown.items()}

    before, best = rows(), top_candidates(db, "first")
    migrate(db.engine, db.where, "0005")
    assert {name: len(found) for name, found in rows().items()} == {
        name: len(found) for name, found in before.items()
    }
    migrate(db.engine, db.where)
    assert (rows(), top_candidates(db, "first")) == (before, best)


def test_a_new_queue_goes_down_to_the_former_and_up_again(db, make):
    ids = ["a1", "a2", "a3", "a4"]
    make.store(db, ids)
    record_triage(db, "first", queued=ids, kept=[])
    record_chunk(db, "first", "more", [make.candidate(i) for i in ids], [], [])
    enqueue(db, [make.queue_row(i) for i in ids])
    record_dependencies(db, "emt", {"a1": [Dependency("slab", "slab"), Dependency("gas", "H2")]})
    (slab,) = claim(db, "emt", batch=1, lease_s=60, adslabs=1)
    complete_reference(
        db, slab, ReferenceEnergyRow(level="emt", kind="slab", item="slab", energy_ev=1.0)
    )
    hold(db, [("a2", "emt")])
    cancel(db, [("a3", "emt")])
    migrate(db.engine, db.where, "0003")
    with db.read() as session:
        found = session.execute(text("SELECT candidate_id, state, error_class FROM queue"))
        assert sorted(map(tuple, found)) == [
            ("a1", "queued", ""),
            ("a2", "queued", ""),
            ("a3", "failed", "cancelled"),
            ("a4", "queued", ""),
        ]
        status = "SELECT level, state, count FROM queue_status ORDER BY state"
        assert sorted(map(tuple, session.execute(text(status)))) == [
            ("emt", "failed", 1),
            ("emt", "queued", 3),
        ]
        energies = session.execute(text("SELECT item FROM reference_energy"))
        assert list(energies.scalars()) == ["slab"]
    migrate(db.engine, db.where)
    counts = {(row.kind, row.state): row.count for row in queue_counts(db, "first")}
    assert counts == {("adslab", "queued"): 3, ("adslab", "failed"): 1}
