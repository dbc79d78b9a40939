import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.acquisition.rank import (
    LowestPlacement,
    RankedPair,
    Window,
    group_ranks,
    rank_pairs,
)

CO = {"CO": Window(-1.0, -0.5)}


def placed(
    name: str, energy_ev: float, sigma_ev: float = 0.1, pair: str = "", **changes: object
) -> LowestPlacement:
    fields: dict[str, object] = {
        "candidate_id": name,
        "pair_id": pair or f"pair-{name}",
        "slab_id": f"slab-{pair or name}",
        "bulk_id": "bulk",
        "adsorbate": "CO",
        "energy_ev": energy_ev,
        "sigma_ev": sigma_ev,
    }
    return LowestPlacement(**(fields | changes))  # type: ignore[arg-type]


def names(ranked: list[RankedPair]) -> list[str]:
    return [r.minimum.candidate_id for r in ranked]


energies = st.floats(-5, 5)
sigmas = st.floats(0.01, 2)


def test_optimum_is_a_window_of_its_width() -> None:
    assert Window.around(-0.7, 0.2) == Window(-0.7 - 0.2, -0.7 + 0.2)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_window_must_be_open(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low below high"):
        Window(low, high)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_window_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Window(0.0, bad)


def test_adsorbates_without_target_are_not_ranked() -> None:
    assert rank_pairs([placed("a", -0.7, adsorbate="OH")], CO) == []


def test_ties_in_probability_go_to_the_centre_then_the_id() -> None:
    sure = 0.0
    placements = [placed("c", -0.75, sure), placed("b", -0.6, sure), placed("a", -0.6, sure)]
    assert names(rank_pairs(placements, CO)) == ["c", "a", "b"]


@given(st.lists(st.tuples(energies, sigmas), max_size=30), st.randoms())
def test_ranking_ignores_the_order_it_was_given(
    rows: list[tuple[float, float]], rng: object
) -> None:
    placements = [placed(f"{i:03d}", e, s) for i, (e, s) in enumerate(rows)]
    first = rank_pairs(placements, CO)
    rng.shuffle(placements)  # type: ignore[attr-defined]
    assert rank_pairs(placements, CO) == first
    probabilities = [r.probability for r in first]
    assert probabilities == sorted(probabilities, reverse=True)
    assert [r.rank for r in first] == list(range(1, len(rows) + 1))


def test_groups_break_where_the_odds_reach_three_to_one() -> None:
    # Odds 4, 2, 4/3 + a little, 1: only the last is 4 times less likely than the leader.
    assert group_ranks([0.8, 2 / 3, 0.58, 0.5]) == [1, 1, 1, 2]


def test_hopeless_pairs_share_a_group() -> None:
    assert group_ranks([0.9, 0.0, 0.0]) == [1, 2, 2]


def test_certain_pairs_share_a_group() -> None:
    assert group_ranks([1.0, 1.0, 0.5]) == [1, 1, 2]
