import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.acquisition import CostRule, Policy, Prices, PriceTable, SelectionLimits, named_policy
from tasks.acquisition.rank import LowestPlacement, RankedPair, Window, rank_pairs
from tasks.acquisition.triage import (
    Budget,
    PriorResults,
    RoundOutcome,
    Selection,
    SlabFacts,
    pair_estimates,
    stop_reason,
    triage,
)

WINDOWS = {"CO": Window(-1.0, -0.5), "OH": Window(0.0, 0.5)}


def placed(
    name: str, energy_ev: float, sigma_ev: float = 0.1, slab: str = "", bulk: str = ""
) -> LowestPlacement:
    return LowestPlacement(
        candidate_id=name,
        pair_id=f"pair-{name}",
        slab_id=slab or f"slab-{name}",
        bulk_id=bulk or f"bulk-{name}",
        adsorbate="CO",
        energy_ev=energy_ev,
        sigma_ev=sigma_ev,
    )


def ranking(placements: list[LowestPlacement]) -> list[RankedPair]:
    return rank_pairs(placements, WINDOWS)


def decide(
    placements: list[LowestPlacement],
    budget: int,
    policy: Policy | None = None,
    known: PriorResults | None = None,
) -> list[Selection]:
    ranked = ranking(placements)
    estimates = pair_estimates(ranked, WINDOWS)
    return triage(ranked, estimates, policy or named_policy(), Budget(budget), known=known)


def names(chosen: list[Selection]) -> list[tuple[str, str]]:
    return [(c.pair.minimum.candidate_id, c.why) for c in chosen]


SURE, LIKELY, DOUBTFUL = placed("s", -0.75, 0.01), placed("l", -0.6, 0.05), placed("d", -0.3, 0.5)

placements = st.lists(
    st.tuples(st.floats(-3, 2), st.floats(0.01, 1), st.integers(0, 5), st.integers(0, 2)),
    max_size=40,
).map(
    lambda rows: [
        placed(f"{i:03d}", e, s, f"slab{bulk}-{slab}", f"bulk{bulk}")
        for i, (e, s, slab, bulk) in enumerate(rows)
    ]
)


def test_budget_is_split_between_promise_and_doubt() -> None:
    assert names(decide([SURE, LIKELY, DOUBTFUL], 2)) == [("s", "promising"), ("d", "uncertain")]


def test_all_promising() -> None:
    policy = named_policy(promising=1.0)
    assert names(decide([SURE, LIKELY, DOUBTFUL], 2, policy)) == [
        ("s", "promising"),
        ("l", "promising"),
    ]


def test_what_was_taken_is_not_chosen_again() -> None:
    known = PriorResults(taken={"s", "pair-l"})  # a candidate, and a pair
    assert names(decide([SURE, LIKELY, DOUBTFUL], 2, known=known)) == [("d", "promising")]


def test_a_known_slab_is_free() -> None:
    ranked = ranking([placed("a", -0.75), placed("b", -0.75)])
    slabs = {name: SlabFacts("Cu", (1, 1, 1), 0.0, 50) for name in ("slab-a", "slab-b")}
    estimates = pair_estimates(ranked, WINDOWS, slabs, costs=CostRule())
    chosen = triage(
        ranked, estimates, named_policy(), Budget(2), known=PriorResults(slabs={"slab-b"})
    )
    assert [(c.pair.minimum.candidate_id, c.cost) for c in chosen] == [("a", 2.0), ("b", 1.0)]


def test_a_cost_budget_buys_more_small_cells_than_large_ones() -> None:
    ranked = ranking([placed(n, -0.75) for n in "abcd"])

    def bought(atoms: int) -> int:
        slabs = {f"slab-{n}": SlabFacts("Cu", (1, 1, 1), 0.0, atoms) for n in "abcd"}
        estimates = pair_estimates(ranked, WINDOWS, slabs, costs=CostRule())
        return len(triage(ranked, estimates, named_policy(), Budget(9, cost=4.0)))

    assert (bought(50), bought(100)) == (2, 0)


def test_of_two_equals_the_cheaper_element_is_chosen() -> None:
    ranked = ranking([placed("a", -0.75), placed("b", -0.75)])
    slabs = {
        "slab-a": SlabFacts("Pt", (1, 1, 1), 0.0, 50),
        "slab-b": SlabFacts("Cu", (1, 1, 1), 0.0, 50),
    }
    prices = Prices(PriceTable(values={"Cu": 6.0, "Pt": 31500.0}))
    estimates = pair_estimates(ranked, WINDOWS, slabs, prices=prices)
    assert names(triage(ranked, estimates, named_policy(), Budget(1))) == [("b", "promising")]


def test_another_element_comes_before_the_same_surface_cut_again() -> None:
    ranked = ranking([placed("a", -0.75), placed("b", -0.75), placed("c", -0.72)])
    slabs = {
        "slab-a": SlabFacts("Pt", (1, 1, 1), 0.0, 50),
        "slab-b": SlabFacts("Pt", (1, 1, 1), 0.0, 50),
        "slab-c": SlabFacts("Cu", (1, 1, 1), 0.0, 50),
    }
    estimates = pair_estimates(ranked, WINDOWS, slabs)
    policy = named_policy(promising=1.0, diversity=1.0)
    assert [c.pair.minimum.candidate_id for c in triage(ranked, estimates, policy, Budget(2))] == [
        "a",
        "c",
    ]


def test_another_place_in_latent_space_comes_before_the_same() -> None:
    ranked = ranking([placed("a", -0.75), placed("b", -0.75), placed("c", -0.72)])
    slabs = {f"slab-{n}": SlabFacts("Pt", (1, 1, 1), 0.0, 50) for n in "abc"}
    latent_RD = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    estimates = pair_estimates(ranked, WINDOWS, slabs, latent_RD=latent_RD)
    policy = named_policy(promising=1.0)
    assert [c.pair.minimum.candidate_id for c in triage(ranked, estimates, policy, Budget(2))] == [
        "a",
        "c",
    ]


@pytest.mark.parametrize("budget", [-1, -50])
def test_a_budget_below_nothing_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match=f"at least 0 calculations, got {budget}"):
        decide([SURE], budget)


@given(placements, st.integers(0, 30), st.floats(0, 1), st.integers(1, 3), st.integers(1, 6))
def test_triage_keeps_every_promise(
    pairs: list[LowestPlacement], budget: int, promising: float, per_slab: int, per_bulk: int
) -> None:
    policy = named_policy(promising=promising, limits=SelectionLimits(per_slab, per_bulk, 0.01))
    decided = decide(pairs, budget, policy)
    assert decided == decide(list(reversed(pairs)), budget, policy)  # no memory of the order given
    ids = [c.pair.minimum.pair_id for c in decided]
    slabs = [c.pair.minimum.slab_id for c in decided]
    bulks = [c.pair.minimum.bulk_id for c in decided]
    assert len(ids) == len(set(ids)) <= budget
    assert all(slabs.count(s) <= per_slab for s in slabs)
    assert all(bulks.count(b) <= per_bulk for b in bulks)
    assert all(c.pair.probability >= 0.01 for c in decided)
    assert [c.priority for c in decided] == list(range(1, len(ids) + 1))


@given(placements, st.integers(0, 30))
def test_budget_is_spent_where_the_limits_allow(pairs: list[LowestPlacement], budget: int) -> None:
    policy = named_policy(limits=SelectionLimits(min_probability=0.01))
    worth = sum(pair.probability >= 0.01 for pair in ranking(pairs))
    assert len(decide(pairs, budget, policy)) == min(budget, worth)


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
    reason = stop_reason(rounds, budget_left=budget_left, waiting=waiting, patience=2)
    assert why in reason


def test_one_barren_round_is_no_convergence_with_a_patience_of_two() -> None:
    assert stop_reason([BARREN], budget_left=5, waiting=5, patience=2) == ""
    assert stop_reason([BARREN, FRUITFUL, BARREN], budget_left=5, waiting=5, patience=2) == ""


def test_a_round_that_had_nothing_to_compute_is_no_failure() -> None:
    idle = RoundOutcome(calculations=0, labels=0, failed=0, found=0, accepted=True)
    assert stop_reason([idle], budget_left=5, waiting=5, patience=2) == ""
