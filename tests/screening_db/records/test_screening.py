"""Records: upserts by content, one transaction for each chunk, and what is refused."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from screening_db.database.engine import open_database
from screening_db.database.read_only_sql import run_select
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import funnel_counts
from screening_db.queries.enumeration import candidates_by_id
from screening_db.queries.ranking import lowest_placements
from screening_db.records.campaigns import forget_campaign, record_campaign
from screening_db.records.ranking import record_triage
from screening_db.records.screening import (
    done_chunks,
    record_adsorbates,
    record_chunk,
    record_items,
    record_level,
    store_structures,
)
from screening_db.tables.base import Base


def everything(db):
    """Return all rows by their ids, by table or view; short keys may differ."""
    tables = {t.name for t in Base.metadata.sorted_tables if not t.name.startswith("stored_")}
    names = sorted(tables - {"last_write"})  # of a process, not of what it wrote
    return {
        name: sorted(
            str({column: value for column, value in row.items() if column != "key"})
            for row in db.query(f"SELECT * FROM {name}")
        )
        for name in (*names, "candidate", "prediction", "rank", "campaign_item")
    }


def test_recording_again_changes_nothing(db, make):
    make.store(db, ["a1", "a2", "b1"])
    before = everything(db)
    make.store(db, ["b1", "a2", "a1"])
    assert everything(db) == before


def test_the_order_of_chunks_leaves_no_trace(db, make, tmp_path):
    make.store(db, ["a1", "a2"], "one")
    make.store(db, ["b1"], "two")
    first = everything(db)
    forget_campaign(db, "first")
    record_campaign(db, make.campaign())
    make.store(db, ["b1"], "two")
    make.store(db, ["a2", "a1"], "one")
    assert everything(db) == first


def test_a_new_prediction_replaces_the_old_one(db, make):
    make.store(db, ["a1"], energy_ev=-0.5)
    make.store(db, ["a1"], energy_ev=-0.8)
    assert lowest_placements(db, "first")[0].energy_ev == pytest.approx(-0.9)


def test_done_chunks_are_those_stored_in_full(db, make):
    make.store(db, ["a1"], "one")
    broken = make.prediction("a2")
    broken.sigma_ev = -1.0
    with pytest.raises(DatabaseError, match="nothing of this step was stored"):
        record_chunk(db, "first", "two", [make.candidate("a2")], [broken], [make.placement("a2")])
    assert done_chunks(db, "first") == {"one"}
    assert set(candidates_by_id(db, ["a1", "a2"])) == {"a1"}


def test_a_chunk_of_an_unknown_campaign_is_refused(db, make):
    with pytest.raises(DatabaseError, match="breaks its rules"):
        record_chunk(db, "unknown", "one", [], [], [])


def test_a_structure_that_is_stored_outlives_a_rerun(db, make):
    make.store(db, ["a1"])
    store_structures(db, {"a1": '{"numbers":[1]}', "unknown": "{}"})
    make.store(db, ["a1"])
    assert candidates_by_id(db, ["a1"])["a1"].structure == '{"numbers":[1]}'
    assert candidates_by_id(db, ["a1"])["a1"].recipe == {"atoms": [4, 7], "rotation_deg": 90.0}


def test_a_level_of_another_hash_under_the_same_name_is_refused(db, make):
    with pytest.raises(DatabaseError, match=r"stored is emt eeeeeeeeeeee, got emt ffffffffffff"):
        record_level(db, make.level(level_hash="f" * 64))


def test_a_level_of_the_same_hash_under_another_name_is_refused(db, make):
    with pytest.raises(DatabaseError, match="stored is emt"):
        record_level(db, make.level("toy"))


def test_an_adsorbate_of_another_structure_under_the_same_name_is_refused(db, make):
    with pytest.raises(DatabaseError, match="give the new one another name"):
        record_adsorbates(db, [make.adsorbate(structure='{"bent":true}')])


def test_triage_gives_every_prediction_one_terminal_state(db, make):
    make.store(db, ["a1", "a2", "a3", "a4"])
    record_items(db, [make.placement("a5", state="refused", reason="overlap")])
    record_triage(db, "first", queued=["a1"], kept=["a1", "a2", "a5"])
    counts = {(c.state, c.reason): c.count for c in funnel_counts(db, "first")}
    assert counts == {
        ("queued", ""): 1,
        ("kept", ""): 1,
        ("passed_over", ""): 2,
        ("refused", "overlap"): 1,
    }


def test_the_funnel_counts_rules_and_each_item_keeps_its_values(db, make):
    reasons = {"a": "overlaps: 0.51 of 0.7", "b": "overlaps: 0.62 of 0.7: again", "c": "too large"}
    items = [make.placement(i, state="refused", reason=why) for i, why in reasons.items()]
    record_items(db, items)
    assert [(c.reason, c.count) for c in funnel_counts(db, "first")] == [
        ("overlaps", 2),
        ("too large", 1),
    ]
    stored = run_select(db, "select item_id, reason from campaign_item")
    assert dict(stored.rows) == reasons


def test_triage_again_replaces_its_answer(db, make):
    make.store(db, ["a1", "a2", "a3"])
    record_triage(db, "first", queued=["a1"], kept=["a2"])
    record_triage(db, "first", queued=["a3"], kept=[])
    counts = {c.state: c.count for c in funnel_counts(db, "first")}
    assert counts == {"queued": 1, "passed_over": 2}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    states=st.lists(st.sampled_from(["refused", "out_of_domain", "predicted"]), max_size=12),
    data=st.data(),
)
def test_the_funnel_adds_up(db, make, states, data):
    with db.write() as session:
        for table in ("stored_item", "stored_placement"):
            session.execute(text(f"DELETE FROM {table}"))
    ids = [f"a{number}" for number in range(len(states))]
    items = [
        make.placement(i, state=state, reason="" if state == "predicted" else "why")
        for i, state in zip(ids, states, strict=True)
    ]
    record_chunk(db, "first", "one", [make.candidate(i) for i in ids], [], items)
    chosen = st.sets(st.sampled_from(ids)) if ids else st.just(set())
    record_triage(db, "first", queued=data.draw(chosen), kept=data.draw(chosen))
    counts = funnel_counts(db, "first")
    assert sum(count.count for count in counts) == len(states)
    assert not [count for count in counts if count.state == "predicted"]
    for state in ("refused", "out_of_domain"):
        assert sum(c.count for c in counts if c.state == state) == states.count(state)


def test_a_full_disk_is_named_and_nothing_half_written_stays(tmp_path, make):
    db = open_database(tmp_path / "small.db")
    make.fill(db)
    with db.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(DatabaseError, match=r"its disk is full .*free some space"):
        make.store(db, [f"a{number}" for number in range(2000)])
    assert done_chunks(db, "first") == frozenset()
    assert funnel_counts(db, "first") == []
    db.close()


def test_a_process_that_is_killed_leaves_nothing_half_written(db, make):
    work = (
        "import os, signal, sys\n"
        "from sqlalchemy import text\n"
        "from screening_db.database.engine import open_database\n"
        "with open_database(sys.argv[1]).write() as session:\n"
        "    session.execute(text(\"INSERT INTO chunk VALUES ('first', 'one', 0)\"))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", work, db.address], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert done_chunks(db, "first") == frozenset()
    make.store(db, ["a1"], "one")
    assert done_chunks(db, "first") == {"one"}


@pytest.mark.medium
def test_the_time_of_recording_grows_as_the_rows_do(db, make):
    def seconds(chunk: str, count: int) -> float:
        ids = [hashlib.sha256(f"{chunk}{number}".encode()).hexdigest() for number in range(count)]
        rows = [make.candidate(i, pair_id=i[:8]) for i in ids]
        predictions = [make.prediction(i) for i in ids]
        items = [make.placement(i) for i in ids]
        began = time.process_time()  # of this process alone
        record_chunk(db, "first", chunk, rows, predictions, items)
        return time.process_time() - began

    seconds("first of all", 100)  # what is compiled once is compiled now
    assert seconds("many", 6_000) < 3 * 10 * seconds("few", 600)


def test_many_rows_at_once_obey_the_same_rules(db, make):
    ids = [f"a{number}" for number in range(2000)]
    make.store(db, ids, energy_ev=-0.5)
    store_structures(db, {"a7": "{}"})
    make.store(db, [*ids, "a7"], energy_ev=-0.8)
    stored = candidates_by_id(db, ids)
    assert (len(stored), stored["a7"].structure) == (2000, "{}")
    assert stored["a8"].recipe == {"atoms": [4, 7], "rotation_deg": 90.0}
    assert lowest_placements(db, "first")[0].energy_ev == pytest.approx(-0.8 - 0.1 * 1999)
    predictions = [make.prediction(i) for i in ids]
    predictions[1000].energy_ev = float("nan")
    with pytest.raises(DatabaseError, match="breaks its rules"):
        record_chunk(db, "first", "two", [], predictions, [])
    nul = [make.candidate(f"{i}\x00") for i in ids]
    if not db.is_sqlite:
        with pytest.raises(DatabaseError, match="NUL"):
            record_chunk(db, "first", "three", nul, [], [])
    assert done_chunks(db, "first") == {"chunk"}
