import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rank import RankedPair, ScoredPlacement
from tasks.triage import TriagePolicy, triage, uncertainty


def ranked(
    name: str, probability: float, sigma_ev: float = 0.1, slab: str = "", bulk: str = ""
) -> RankedPair:
    minimum = ScoredPlacement(
        candidate_id=name,
        pair_id=f"pair-{name}",
        slab_id=slab or f"slab-{name}",
        bulk_id=bulk or f"bulk-{name}",
        adsorbate="CO",
        energy_ev=-0.7,
        sigma_ev=sigma_ev,
    )
    return RankedPair(1, 1, minimum, probability, 0.0)


def chosen(pairs: list[RankedPair], **policy: object) -> list[tuple[str, str]]:
    decided = triage(pairs, TriagePolicy(**policy))  # type: ignore[arg-type]
    return [(c.pair.minimum.candidate_id, c.why) for c in decided]


SURE, LIKELY, DOUBTFUL = ranked("s", 0.99, 0.01), ranked("l", 0.9, 0.05), ranked("d", 0.4, 0.5)

pairs_strategy = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.01, 1), st.integers(0, 5), st.integers(0, 2)),
    max_size=40,
).map(
    lambda rows: [
        ranked(f"{i:03d}", p, s, f"slab{bulk}-{slab}", f"bulk{bulk}")
        for i, (p, s, slab, bulk) in enumerate(rows)
    ]
)


def test_budget_is_split_between_promise_and_doubt() -> None:
    assert chosen([SURE, LIKELY, DOUBTFUL], budget=2) == [("s", "promising"), ("d", "uncertain")]


def test_all_promising() -> None:
    assert chosen([SURE, LIKELY, DOUBTFUL], budget=2, promising=1.0) == [
        ("s", "promising"),
        ("l", "promising"),
    ]


def test_ties_go_to_the_lower_id() -> None:
    assert chosen([ranked("b", 0.9), ranked("a", 0.9)], budget=1) == [("a", "promising")]


def test_a_slab_gets_no_more_than_its_share() -> None:
    same = [ranked(n, 0.9, slab="slab") for n in "abc"]
    assert len(chosen(same, budget=3, per_slab=2)) == 2


def test_hopeless_pairs_leave_the_budget_unspent() -> None:
    assert chosen([ranked("a", 0.001)], budget=3) == []


def test_what_is_known_is_not_uncertain() -> None:
    assert uncertainty(ranked("a", 1.0, 0.5)) == 0


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ({"budget": -1}, "at least 0 calculations, got -1"),
        ({"budget": 1, "promising": 1.5}, "between 0 and 1, got 1.5"),
        ({"budget": 1, "per_slab": 0}, "at least 1 calculation"),
        ({"budget": 1, "min_probability": 2.0}, "min_probability"),
    ],
)
def test_policy_refuses_the_impossible(policy: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TriagePolicy(**policy)  # type: ignore[arg-type]


@given(pairs_strategy, st.integers(0, 30), st.floats(0, 1), st.integers(1, 3), st.integers(1, 6))
def test_triage_keeps_every_promise(
    pairs: list[RankedPair], budget: int, promising: float, per_slab: int, per_bulk: int
) -> None:
    policy = TriagePolicy(budget, promising, per_slab, per_bulk)
    decided = triage(pairs, policy)
    assert decided == triage(list(reversed(pairs)), policy)  # no memory of the order given
    ids = [c.pair.minimum.pair_id for c in decided]
    slabs = [c.pair.minimum.slab_id for c in decided]
    bulks = [c.pair.minimum.bulk_id for c in decided]
    assert len(ids) == len(set(ids)) <= budget
    assert all(slabs.count(s) <= per_slab for s in slabs)
    assert all(bulks.count(b) <= per_bulk for b in bulks)
    assert all(c.pair.probability >= policy.min_probability for c in decided)
    assert [c.priority for c in decided] == list(range(1, len(ids) + 1))


@given(pairs_strategy, st.integers(0, 30))
def test_budget_is_spent_where_the_caps_allow(pairs: list[RankedPair], budget: int) -> None:
    loose = TriagePolicy(budget, per_slab=99, per_bulk=99)
    worth = sum(p.probability >= loose.min_probability for p in pairs)
    assert len(triage(pairs, loose)) == min(budget, worth)
