from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.acquisition import (
    POLICIES,
    SCORES,
    AcquisitionError,
    PairEstimates,
    Policy,
    SelectedRow,
    SelectionLimits,
    Share,
    feature_matrix,
    named_policy,
    one_hot,
    select,
)

pytestmark = pytest.mark.medium
BEST = Policy((Share(SCORES["probability"]),))


@st.composite
def estimates(draw: st.DrawFn) -> PairEstimates:
    """Draw up to 25 pairs on few slabs of few bulks, with costs, penalties and features."""
    n = draw(st.integers(0, 25))
    column = lambda numbers: np.array(draw(st.lists(numbers, min_size=n, max_size=n)), float)  # noqa: E731
    slabs = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    price = np.array(draw(st.lists(st.integers(0, 8), min_size=6, max_size=6)), float)
    plain = PairEstimates.plain(
        [f"c{at:02d}" for at in range(n)],
        [f"slab{slab}" for slab in slabs],
        [f"bulk{slab // 2}" for slab in slabs],
        energy_R=column(st.integers(-64, 64).map(lambda i: i / 64)),
        sigma_R=column(st.integers(0, 32).map(lambda i: i / 64)),
        low_R=-0.25,
        high_R=0.25,
    )
    return replace(
        plain,
        cost_R=column(st.integers(1, 8)),
        slab_cost_R=price[np.array(slabs, int)],
        penalty_R=column(st.integers(0, 3)),
        features_RF=column(st.integers(0, 3)).reshape(n, 1),
    )


policies = st.builds(
    named_policy,
    st.sampled_from(POLICIES),
    promising=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    diversity=st.sampled_from([0.0, 1.0]),
    cost_weight=st.sampled_from([0.0, 1.0]),
    limits=st.builds(SelectionLimits, st.none() | st.integers(1, 3), st.none() | st.integers(1, 4)),
)


def plain(probable: list[float], **changes: object) -> PairEstimates:
    """Return pairs a, b, ... whose energies lie so far from the middle of a window of 1 eV."""
    names = [chr(ord("a") + at) for at in range(len(probable))]
    made = PairEstimates.plain(
        names, names, names, energy_R=probable, sigma_R=0.3, low_R=-0.5, high_R=0.5
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def names(chosen: list[SelectedRow]) -> list[str]:
    return [found.candidate_id for found in chosen]


def take(pairs: PairEstimates, policy: Policy = BEST, budget: int = 9, **more: object) -> list[str]:
    return names(select(pairs, policy, budget=budget, computed_slabs=(), seed=0, **more))  # type: ignore[arg-type]


@given(estimates(), policies, st.integers(0, 12), st.none() | st.integers(0, 30))
def test_the_budget_is_kept(
    pairs: PairEstimates, policy: Policy, budget: int, cost_budget: float | None
) -> None:
    chosen = select(
        pairs, policy, budget=budget, cost_budget=cost_budget, computed_slabs=(), seed=0
    )
    assert len(chosen) <= budget
    assert cost_budget is None or sum(found.cost for found in chosen) <= cost_budget


@given(estimates(), policies, st.sets(st.integers(0, 5).map(lambda i: f"slab{i}")))
def test_each_clean_slab_is_paid_once_and_a_known_one_never(
    pairs: PairEstimates, policy: Policy, known: set[str]
) -> None:
    chosen = select(pairs, policy, budget=25, computed_slabs=known, seed=0)
    rows = [found.row for found in chosen]
    new = {pairs.slab_ids[row]: pairs.slab_cost_R[row] for row in rows}
    due = sum(cost for slab, cost in new.items() if slab not in known)
    assert sum(found.cost for found in chosen) == pairs.cost_R[rows].sum() + due


@given(estimates(), policies, st.sets(st.integers(0, 24).map(lambda i: f"c{i:02d}")))
def test_nothing_is_taken_twice(pairs: PairEstimates, policy: Policy, taken: set[str]) -> None:
    ids = take(pairs, policy, 25, taken=taken)
    assert len(ids) == len(set(ids))
    assert not taken & set(ids)


@given(estimates(), policies)
def test_slabs_and_bulks_keep_their_limits(pairs: PairEstimates, policy: Policy) -> None:
    rows = [found.row for found in select(pairs, policy, budget=25, computed_slabs=(), seed=0)]
    for ids, limit in ((pairs.slab_ids, policy.per_slab), (pairs.bulk_ids, policy.per_bulk)):
        assert limit is None or max(Counter(ids[row] for row in rows).values(), default=0) <= limit


@given(estimates(), policies, st.integers(0, 9))
def test_the_same_seed_chooses_the_same(pairs: PairEstimates, policy: Policy, seed: int) -> None:
    first, again = (select(pairs, policy, budget=9, computed_slabs=(), seed=seed) for _ in range(2))
    assert first == again


@given(estimates(), policies, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_choice(pairs, policy, random) -> None:  # type: ignore[no-untyped-def]
    at = list(range(len(pairs)))
    random.shuffle(at)
    columns = (
        *("energy_R", "sigma_R", "low_R", "high_R", "cost_R", "slab_cost_R", "penalty_R"),
        "features_RF",
    )
    mixed = replace(
        pairs,
        **{name: getattr(pairs, name)[at] for name in columns},
        **{
            name: tuple(getattr(pairs, name)[i] for i in at)
            for name in ("candidate_ids", "slab_ids", "bulk_ids")
        },
    )
    assert take(mixed, policy) == take(pairs, policy)


@given(estimates(), policies, st.integers(-64, 64).map(lambda i: i / 64))
def test_the_zero_of_energy_changes_no_choice(
    pairs: PairEstimates, policy: Policy, by: float
) -> None:
    moved = {name: getattr(pairs, name) + by for name in ("energy_R", "low_R", "high_R")}
    assert take(replace(pairs, **moved), policy) == take(pairs, policy)


@given(estimates(), policies)
def test_a_smaller_budget_is_the_beginning_of_a_larger(
    pairs: PairEstimates, policy: Policy
) -> None:
    assert take(pairs, policy, 4) == take(pairs, policy, 9)[:4]


def test_shares_take_turns() -> None:
    pairs = plain([0.0, 0.1, 0.55, 0.6])
    chosen = select(pairs, named_policy(promising=0.5), budget=4, computed_slabs=(), seed=0)
    assert [(found.candidate_id, found.why) for found in chosen] == [
        ("a", "promising"),
        ("c", "uncertain"),
        ("b", "promising"),
        ("d", "uncertain"),
    ]


@pytest.mark.parametrize("name", POLICIES)
def test_of_two_alike_a_different_one_stands_between(name: str) -> None:
    alike = plain([0.0, 0.0, 0.4], features_RF=np.array([[0.0], [0.0], [1.0]]))
    policy = named_policy(name, diversity=1.0)
    first = take(alike, policy, 2)
    assert "c" in first


def test_without_diversity_two_alike_follow_each_other() -> None:
    alike = plain([0.0, 0.0, 0.4], features_RF=np.array([[0.0], [0.0], [1.0]]))
    assert take(alike, BEST, 2) == ["a", "b"]


@pytest.mark.parametrize(("name", "diversity"), [("batch", 0.5), ("greedy", 0.0)])
def test_a_batch_is_diverse_unless_told_and_a_score_alone_if_told(
    name: str, diversity: float
) -> None:
    assert named_policy(name).diversity == diversity
    assert named_policy(name, diversity=2.0).diversity == 2.0


def test_ties_go_to_the_lower_id() -> None:
    assert take(plain([0.0, 0.0])) == ["a", "b"]


def test_the_improbable_are_left_and_the_budget_with_them() -> None:
    assert take(plain([0.0, 5.0]), replace(BEST, min_probability=0.01)) == ["a"]


def test_an_adsorbate_on_a_paid_slab_is_the_better_bargain() -> None:
    pairs = plain([0.0, 0.3, 0.29], slab_ids=("s", "s", "t"), slab_cost_R=np.array([4.0, 4.0, 4.0]))
    assert take(pairs, BEST) == ["a", "c", "b"]
    assert take(pairs, replace(BEST, cost_weight=1.0)) == ["a", "b", "c"]


def test_a_large_cell_waits_for_a_small_one() -> None:
    pairs = plain([0.0, 0.1], cost_R=np.array([8.0, 1.0]))
    assert take(pairs, replace(BEST, cost_weight=1.0)) == ["b", "a"]


def test_what_no_longer_fits_makes_room_for_what_does() -> None:
    pairs = plain([0.0, 0.1, 0.2], cost_R=np.array([2.0, 5.0, 1.0]))
    assert take(pairs, BEST, cost_budget=3.0) == ["a", "c"]


@pytest.mark.parametrize("name", ["probability", "greedy", "confidence_bound"])
def test_of_equals_the_dear_element_comes_last(name: str) -> None:
    pairs = plain([0.7, 0.7], penalty_R=np.array([1.0, 0.0]))
    assert take(pairs, named_policy(name)) == ["b", "a"]


def test_no_pairs_no_choice() -> None:
    assert take(plain([])) == []


def test_blocks_of_features_weigh_the_same() -> None:
    long, short = np.array([[0.0], [100.0]]), one_hot(["x", "y"])
    made = feature_matrix([long, short, np.ones((2, 5))])
    first, second = made[0] - made[1], feature_matrix([short])[0] - feature_matrix([short])[1]
    assert (first**2).sum() == pytest.approx(2 * (second**2).sum())


BAD: dict[str, tuple[dict[str, object], str]] = {
    "less than nothing": ({"budget": -1}, "at least 0 calculations, got -1"),
    "a negative cost": ({"cost_budget": -1.0}, "cost_budget must be at least 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_budget_that_cannot_be_is_refused(case: str) -> None:
    change, rule = BAD[case]
    with pytest.raises(AcquisitionError, match=rule):
        take(plain([0.0]), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ({"promising": 1.5}, "between 0 and 1, got 1.5"),
        ({"limits": SelectionLimits(per_slab=0)}, "per_slab must be at least 1 calculation, got 0"),
        ({"limits": SelectionLimits(min_probability=2.0)}, "min_probability"),
        ({"diversity": -1.0}, "diversity must be at least 0"),
        ({"radius": 0.0}, "radius must be above 0"),
        ({"cost_weight": float("nan")}, "cost_weight must be at least 0"),
        ({"name": "luck"}, "one of probability.*got 'luck'"),
        ({"uncertain_by": "luck"}, "got 'luck'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: dict[str, object], rule: str) -> None:
    with pytest.raises(AcquisitionError, match=rule):
        named_policy(**policy)  # type: ignore[arg-type]


def test_a_score_below_nothing_is_refused() -> None:
    def below_nothing(estimates: PairEstimates, **_: object) -> np.ndarray:
        return -estimates.cost_R

    with pytest.raises(AcquisitionError, match="score must be at least 0, got -1"):
        take(plain([0.0]), Policy((Share(below_nothing),)))  # type: ignore[arg-type]


def test_a_policy_needs_a_share() -> None:
    with pytest.raises(AcquisitionError, match="needs a share above 0"):
        Policy((Share(SCORES["greedy"], 0.0),))
