"""Which checkpoint serves a model: one at a time, by a log that only grows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
from screening_db.learning.fine_tunings import (
    FineTuningSpec,
    end_fine_tuning,
    fine_tunings,
    record_fine_tuning,
)
from screening_db.learning.serving import (
    find_checkpoint,
    previous_checkpoint,
    promote,
    promotions,
    recorded_checkpoints,
    roll_back,
    serving_sha256,
)
from screening_db.records.screening import record_checkpoint
from screening_db.tables.screening import CheckpointRow

FIRST = "c" * 64  # what the fixture's campaign was screened with


def tuned(db, letter, state="accepted", parent=FIRST, model="mini"):
    """Store a judged fine-tuning whose checkpoint's hash is 64 times a letter."""
    made = CheckpointRow(
        sha256=letter * 64,
        name=f"{model} {letter}",
        kind="qe",
        card={},
        model=model,
        folder=letter,
        parent_sha256=parent,
    )
    tuning = FineTuningSpec("first", model, parent, f"rows-{letter}", "emt", "heads, seed 0")
    record_fine_tuning(db, tuning, n_labels=40)
    end_fine_tuning(db, tuning.id, state, checkpoint=made, report={"mae_before_ev": 0.3})
    return made.sha256


def test_nothing_serves_by_promotion_until_something_is_promoted(db):
    assert serving_sha256(db, "mini") is None
    assert promotions(db, "mini") == []


def test_an_accepted_checkpoint_serves_with_its_report_and_what_it_replaced(db):
    better = tuned(db, "d")
    promote(db, "mini", better, "gate", {"mae_after_ev": 0.2}, expected=FIRST)
    (line,) = promotions(db, "mini")
    assert serving_sha256(db, "mini") == better
    assert (line.previous_sha256, line.why, line.report) == (FIRST, "gate", {"mae_after_ev": 0.2})
    assert serving_sha256(db, "base") is None


def test_the_first_promotion_may_expect_that_nothing_was_promoted(db):
    promote(db, "mini", tuned(db, "d"), "gate", {}, expected=None)
    assert promotions(db, "mini")[0].previous_sha256 == FIRST


def test_promoting_what_serves_already_adds_no_line(db):
    better = tuned(db, "d")
    for _ in range(2):
        promote(db, "mini", better, "gate", {}, expected=FIRST)
    assert len(promotions(db, "mini")) == 1


def test_a_promoter_who_expected_another_checkpoint_is_refused(db):
    one, other = tuned(db, "d"), tuned(db, "e")
    promote(db, "mini", one, "gate", {}, expected=FIRST)
    with pytest.raises(DatabaseError, match=r"is served by d{12}, not by c{12}.*try again"):
        promote(db, "mini", other, "gate", {}, expected=FIRST)
    with pytest.raises(DatabaseError, match="not by its first checkpoint"):
        promote(db, "mini", other, "gate", {}, expected=None)
    assert serving_sha256(db, "mini") == one


def test_of_two_promoters_at_once_one_wins(db):
    letters = "defg"
    for letter in letters:
        tuned(db, letter)
    together = threading.Barrier(len(letters))

    def attempt(letter):
        own = open_database(db.address)
        together.wait()
        try:
            promote(own, "mini", letter * 64, "gate", {}, expected=FIRST)
        except DatabaseError as refused:
            return str(refused)
        finally:
            own.close()
        return letter * 64

    with ThreadPoolExecutor(len(letters)) as pool:
        ends = list(pool.map(attempt, letters))
    assert [end for end in ends if "another process changed it" not in end] == [
        serving_sha256(db, "mini")
    ]
    assert len(promotions(db, "mini")) == 1


@pytest.mark.parametrize(
    ("letter", "state", "why", "said"),
    [
        ("d", "rejected", "gate", "the gate rejected it.*--force"),
        ("d", "rejected", "by hand", "the gate rejected it.*--force"),
        ("f", None, "by hand", "f{12} is not in this database; see those that are"),
    ],
)
def test_what_the_gate_rejected_or_nobody_knows_does_not_serve(db, letter, state, why, said):
    if state:
        tuned(db, letter, state)
    with pytest.raises(DatabaseError, match=said):
        promote(db, "mini", letter * 64, why, {}, expected=None)
    assert serving_sha256(db, "mini") is None


def test_what_nobody_judged_does_not_serve(db):
    record_checkpoint(db, CheckpointRow(sha256="f" * 64, name="mini", kind="qe", card={}))
    for why in ("gate", "by hand"):
        with pytest.raises(DatabaseError, match="the gate never judged it"):
            promote(db, "mini", "f" * 64, why, {}, expected=None)


def test_a_person_may_force_what_the_gate_rejected_but_not_the_gate(db):
    rejected = tuned(db, "d", "rejected")
    with pytest.raises(DatabaseError, match="rejected it"):
        promote(db, "mini", rejected, "gate", {}, expected=FIRST, force=True)
    promote(db, "mini", rejected, "by hand", {}, expected=FIRST, force=True)
    assert serving_sha256(db, "mini") == rejected


def test_a_checkpoint_of_another_model_does_not_serve(db):
    other = tuned(db, "d", model="base")
    with pytest.raises(DatabaseError, match="it belongs to model base"):
        promote(db, "mini", other, "gate", {}, expected=FIRST)


def test_rolling_back_twice_goes_back_two_and_forward_again(db):
    one = tuned(db, "d")
    two = tuned(db, "e", parent=one)
    promote(db, "mini", one, "gate", {}, expected=FIRST)
    promote(db, "mini", two, "gate", {}, expected=one)
    assert previous_checkpoint(db, "mini") == one
    assert [roll_back(db, "mini"), roll_back(db, "mini")] == [one, FIRST]
    assert serving_sha256(db, "mini") == FIRST
    promote(db, "mini", two, "by hand", {}, expected=FIRST)
    assert serving_sha256(db, "mini") == two
    assert roll_back(db, "mini") == FIRST
    assert [line.why for line in promotions(db, "mini")] == [
        *("gate", "gate", "rollback", "rollback", "by hand", "rollback"),
    ]


def test_with_nothing_before_there_is_no_way_back(db):
    with pytest.raises(DatabaseError, match=r"none is recorded for model mini \(nothing was"):
        roll_back(db, "mini")
    promote(db, "mini", tuned(db, "d"), "gate", {}, expected=FIRST)
    roll_back(db, "mini")
    with pytest.raises(DatabaseError, match=r"c{12} serves"):
        roll_back(db, "mini")
    assert len(promotions(db, "mini")) == 2


def test_a_rollback_is_refused_where_another_checkpoint_serves_by_now(db):
    one, two = tuned(db, "d"), tuned(db, "e")
    promote(db, "mini", one, "gate", {}, expected=FIRST)
    promote(db, "mini", two, "gate", {}, expected=one)
    with pytest.raises(DatabaseError, match="another process changed it"):
        roll_back(db, "mini", expected=one)
    assert serving_sha256(db, "mini") == two


def test_checkpoints_come_after_their_parents(db):
    tuned(db, "b", parent=tuned(db, "d"))
    tuned(db, "a")
    assert [row.sha256[0] for row in recorded_checkpoints(db, "mini")] == ["c", "a", "d", "b"]
    assert recorded_checkpoints(db, "base") == []


def test_a_checkpoint_is_found_by_the_beginning_of_its_hash(db):
    tuned(db, "d")
    assert find_checkpoint(db, "dd").sha256 == "d" * 64
    with pytest.raises(DatabaseError, match="no checkpoint begins with 'f'"):
        find_checkpoint(db, "f")
    with pytest.raises(DatabaseError, match="several checkpoints begin"):
        find_checkpoint(db, "")


def test_a_checkpoint_keeps_its_model_and_parent_whoever_names_it_again(db):
    tuned(db, "d")
    again = CheckpointRow(sha256="d" * 64, name="/models/d", kind="qe", card={}, folder="/models/d")
    record_checkpoint(db, again)
    row = find_checkpoint(db, "d" * 64)
    assert (row.model, row.folder, row.parent_sha256) == ("mini", "d", FIRST)


TUNING = FineTuningSpec("first", "mini", FIRST, "rows", "emt", "heads, seed 0")


def test_a_fine_tuning_that_runs_is_gone_on_with(db):
    begun = record_fine_tuning(db, TUNING, n_labels=40, folder="work")
    again = record_fine_tuning(db, TUNING, n_labels=40, folder="elsewhere")
    assert (again.id, again.folder, again.started_at) == (begun.id, "work", begun.started_at)
    assert [row.state for row in fine_tunings(db, campaign="first")] == ["running"]


def test_a_fine_tuning_that_failed_is_tried_again(db):
    begun = record_fine_tuning(db, TUNING, n_labels=40)
    end_fine_tuning(db, begun.id, "failed", error="the loss is not finite")
    (row,) = fine_tunings(db)
    assert (row.state, row.error, row.checkpoint_sha256) == (
        "failed",
        "the loss is not finite",
        None,
    )
    again = record_fine_tuning(db, TUNING, n_labels=40)
    assert (again.id, again.state, again.ended_at) == (begun.id, "running", None)


def test_a_fine_tuning_is_judged_once(db):
    sha256 = tuned(db, "d", "rejected")
    (row,) = fine_tunings(db, model="mini")
    made = find_checkpoint(db, sha256)
    end_fine_tuning(db, row.id, "rejected", checkpoint=made)  # a rerun after a kill
    with pytest.raises(DatabaseError, match=r"ended rejected with checkpoint d{12}, now accepted"):
        end_fine_tuning(db, row.id, "accepted", checkpoint=made)
    again = record_fine_tuning(db, FineTuningSpec(**_inputs(row)), n_labels=40)
    assert (again.state, again.checkpoint_sha256) == ("rejected", sha256)
    assert again.report == {"mae_before_ev": 0.3}


def _inputs(row):
    names = ("campaign", "model", "parent_sha256", "training_set", "level", "method")
    return {name: getattr(row, name) for name in names}


def test_a_verdict_needs_a_checkpoint_and_a_fine_tuning(db):
    begun = record_fine_tuning(db, TUNING, n_labels=40)
    with pytest.raises(DatabaseError, match="accepted came without one"):
        end_fine_tuning(db, begun.id, "accepted")
    with pytest.raises(DatabaseError, match="was not begun"):
        end_fine_tuning(db, "0" * 64, "failed")
