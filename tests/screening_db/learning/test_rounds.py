"""The rounds of a loop: one row each, gone on with after a kill."""

import pytest

from screening_db.errors import DatabaseError
from screening_db.learning.rounds import RoundResult, begin_round, end_round, rounds, update_round
from screening_db.records.campaigns import forget_campaign

FIRST = "c" * 64


def test_a_round_that_was_not_ended_is_gone_on_with(db):
    begun = begin_round(db, "first", budget=20, checkpoint_before=FIRST)
    update_round(db, "first", 1, RoundResult(spent=7, converged=6, failed=1))
    again = begin_round(db, "first", budget=99)
    assert (again.number, again.budget, again.spent) == (1, 20, 7)
    assert again.started_at == begun.started_at


def test_rounds_are_numbered_and_say_what_they_came_to(db):
    begin_round(db, "first", budget=20, checkpoint_before=FIRST)
    came_to = RoundResult(
        spent=20,
        converged=18,
        anomalous=1,
        failed=1,
        labels=18,
        found=4,
        mae_before_ev=0.3,
        mae_after_ev=0.2,
        coverage_before=0.8,
        coverage_after=0.9,
        checkpoint_after=FIRST,
        verdict="accepted",
    )
    end_round(db, "first", 1, came_to)
    begin_round(db, "first", budget=20, checkpoint_before=FIRST)
    end_round(db, "first", 2, RoundResult(), stopped="every pair is calculated")
    first, second = rounds(db, "first")
    assert (first.state, first.found, first.mae_after_ev, first.verdict, first.stopped) == (
        *("finished", 4, 0.2, "accepted", ""),
    )
    assert (second.number, second.mae_after_ev, second.stopped) == (
        *(2, None, "every pair is calculated"),
    )
    assert first.ended_at >= first.started_at


def test_ending_a_round_again_changes_nothing(db):
    begin_round(db, "first", budget=20)
    end_round(db, "first", 1, RoundResult(spent=5))
    end_round(db, "first", 1, RoundResult(spent=9), stopped="later")
    (row,) = rounds(db, "first")
    assert (row.spent, row.stopped) == (5, "")
    with pytest.raises(DatabaseError, match="round 1 of campaign first does not run"):
        update_round(db, "first", 1, RoundResult())


def test_a_round_that_was_not_begun_is_refused(db):
    with pytest.raises(DatabaseError, match=r"round 3 .* does not run"):
        end_round(db, "first", 3, RoundResult())
    with pytest.raises(DatabaseError, match="breaks its rules"):
        begin_round(db, "unknown", budget=1)


def test_a_forgotten_campaign_takes_its_rounds_with_it(db):
    begin_round(db, "first", budget=20)
    forget_campaign(db, "first")
    assert rounds(db, "first") == []
