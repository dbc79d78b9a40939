"""A loop stops for a reason that it can name."""

import pytest

from tasks.acquisition.stopping import RoundOutcome, stop_reason

FRUITFUL = RoundOutcome(calculations=10, labels=9, failed=0, found=2, accepted=True)
BARREN = RoundOutcome(calculations=10, labels=9, failed=0, found=0, accepted=False)
BROKEN = RoundOutcome(calculations=10, labels=0, failed=10, found=0, accepted=False)


def test_a_fruitful_round_is_followed_by_another() -> None:
    assert stop_reason([FRUITFUL], budget_left=5, waiting=5, patience=1) == ""


@pytest.mark.parametrize(
    ("rounds", "budget_left", "waiting", "why"),
    [
        ([FRUITFUL], 0, 5, "budget is spent"),
        ([FRUITFUL], 5, 0, "no candidate is left"),
        ([FRUITFUL, BROKEN], 5, 5, "all 10 calculations of the round failed"),
        ([FRUITFUL, BARREN, BARREN], 5, 5, "converged: 2 rounds"),
    ],
)
def test_a_loop_says_why_it_stops(
    rounds: list[RoundOutcome], budget_left: int, waiting: int, why: str
) -> None:
    told = stop_reason(rounds, budget_left=budget_left, waiting=waiting, patience=2)
    assert why in told


def test_one_barren_round_is_no_convergence_with_a_patience_of_two() -> None:
    assert stop_reason([BARREN], budget_left=5, waiting=5, patience=2) == ""
    assert stop_reason([BARREN, FRUITFUL, BARREN], budget_left=5, waiting=5, patience=2) == ""


def test_a_round_that_had_nothing_to_compute_is_no_failure() -> None:
    idle = RoundOutcome(calculations=0, labels=0, failed=0, found=0, accepted=True)
    assert stop_reason([idle], budget_left=5, waiting=5, patience=2) == ""
