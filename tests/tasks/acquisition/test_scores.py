from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from tasks.acquisition import SCORES, AcquisitionError, ConfidenceBound, PairEstimates
from tasks.acquisition.scores import expected_gain, probability_between

pytestmark = pytest.mark.medium
energies = st.floats(-5, 5)
sigmas = st.floats(0.01, 2)
# Sixty-fourths add without rounding, so that a shift can be held to change nothing at all.
steps = st.integers(-200, 200).map(lambda n: n / 64)
rows = st.lists(st.tuples(steps, st.integers(1, 60).map(lambda n: n / 64)), min_size=1, max_size=20)


def believed(
    pairs: list[tuple[float, float]], low: float = -1.0, high: float = -0.5
) -> PairEstimates:
    names = [f"c{at:02d}" for at in range(len(pairs))]
    return PairEstimates.plain(
        names,
        names,
        names,
        energy_R=[e for e, _ in pairs],
        sigma_R=[s for _, s in pairs],
        low_R=low,
        high_R=high,
    )


def score(
    name: str, estimates: PairEstimates, best_ev: float | None = 0.2, seed: int = 0
) -> list[float]:
    return SCORES[name](estimates, best_ev=best_ev, seed=seed).tolist()


@given(energies, sigmas, energies, st.floats(0.01, 3))
def test_probability_is_the_normal_mass_in_the_window(
    energy: float, sigma: float, low: float, width: float
) -> None:
    exact = norm.cdf((low + width - energy) / sigma) - norm.cdf((low - energy) / sigma)
    assert probability_between(low, low + width, energy, sigma) == pytest.approx(exact, abs=1e-12)


def test_far_tail_keeps_its_digits() -> None:
    assert probability_between(0, 1, 10.0, 1.0) == pytest.approx(
        norm.sf(9.0) - norm.sf(10.0), rel=1e-9
    )


def test_known_energy_is_in_or_out() -> None:
    assert probability_between(0, 1, [1.0, 1.1], 0.0).tolist() == [1, 0]


@given(energies, st.floats(0, 2))
def test_a_probability_lies_between_0_and_1(energy: float, sigma: float) -> None:
    assert 0 <= probability_between(-1.0, -0.5, energy, sigma) <= 1


@given(st.floats(0, 5), st.floats(0, 5), sigmas)
def test_nearer_the_middle_is_more_probable(one: float, other: float, sigma: float) -> None:
    near, far = sorted([one, other])
    p_near, p_far = probability_between(-1.0, -0.5, [-0.75 - near, -0.75 + far], sigma)
    assert p_near >= p_far - 1e-12


@pytest.mark.parametrize(
    ("energy", "sigma", "centre", "best"),
    [(0.0, 0.1, 0.3, 0.2), (0.29, 0.05, 0.3, 0.4), (1.0, 0.05, 0.0, 0.2), (5.0, 0.2, 0.0, 0.1)],
)
def test_expected_gain_is_the_integral(
    energy: float, sigma: float, centre: float, best: float
) -> None:
    def gain(e: float) -> float:
        return (best - abs(e - centre)) * float(norm.pdf(e, energy, sigma))

    halves = ((centre - best, centre), (centre, centre + best))
    exact = sum(quad(gain, *half, epsabs=0, limit=200)[0] for half in halves)
    assert expected_gain(centre, best, energy, sigma) == pytest.approx(exact, rel=1e-9)


def test_the_gain_of_a_known_energy_is_what_it_gains() -> None:
    assert expected_gain(0.0, 0.2, [0.05, -0.05, 0.3], 0.0).tolist() == pytest.approx(
        [0.15, 0.15, 0]
    )


@given(energies, st.floats(0, 2), st.floats(0, 2))
def test_expected_improvement_is_never_negative(energy: float, sigma: float, best: float) -> None:
    assert expected_gain(0.0, best, energy, sigma) >= 0


@given(st.floats(0.05, 3), st.floats(0.01, 1), st.floats(0.05, 1), st.floats(0.05, 1))
def test_outside_doubt_adds_to_the_expected_improvement(
    away: float, best: float, one: float, other: float
) -> None:
    small, large = sorted([one * away, other * away])  # up to the way to where a gain begins
    less, more = expected_gain(0.0, best, best + away, [small, large])
    assert more >= less


@given(energies, sigmas, st.floats(0, 2), st.floats(0, 2))
def test_a_better_best_leaves_less_to_improve(
    energy: float, sigma: float, one: float, other: float
) -> None:
    good, bad = sorted([one, other])
    assert expected_gain(0.0, good, energy, sigma) <= expected_gain(0.0, bad, energy, sigma) + 1e-12


def test_without_a_verified_best_the_best_prediction_is_to_be_beaten() -> None:
    pairs = believed([(-0.65, 0.1), (-0.2, 0.1)])
    assert score("expected_improvement", pairs, best_ev=None) == pytest.approx(
        score("expected_improvement", pairs, best_ev=0.1)
    )


def test_each_window_has_its_own_best() -> None:
    both = replace(
        believed([(-0.65, 0.1), (0.45, 0.1)]),
        low_R=np.array([-1.0, 0.0]),
        high_R=np.array([-0.5, 0.5]),
    )
    alone = expected_gain([-0.75, 0.25], [0.1, 0.2], both.energy_R, 0.1).tolist()
    assert score("expected_improvement", both, best_ev=None) == pytest.approx(alone)


@pytest.mark.parametrize("name", SCORES)
@given(rows, steps)
def test_energies_and_windows_shift_together(
    name: str, pairs: list[tuple[float, float]], shift: float
) -> None:
    here = believed(pairs)
    there = believed([(e + shift, s) for e, s in pairs], -1.0 + shift, -0.5 + shift)
    assert score(name, there) == score(name, here)


@pytest.mark.parametrize("name", SCORES)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_score(name: str, pairs, random) -> None:  # type: ignore[no-untyped-def]
    at = list(range(len(pairs)))
    random.shuffle(at)
    straight = believed(pairs)
    mixed = replace(
        straight,
        candidate_ids=tuple(straight.candidate_ids[i] for i in at),
        energy_R=straight.energy_R[at],
        sigma_R=straight.sigma_R[at],
    )
    expected = score(name, straight)
    assert score(name, mixed) == [expected[i] for i in at]


def test_without_kappa_doubt_counts_for_nothing() -> None:
    pairs = believed([(-0.75, 0.01), (-0.4, 5.0)])
    bound = ConfidenceBound(kappa=0.0)(pairs, best_ev=None, seed=0)
    assert bound.tolist() == pytest.approx([3.5, 0.5])


@pytest.mark.parametrize("name", SCORES)
@given(rows)
def test_no_score_is_negative(name: str, pairs: list[tuple[float, float]]) -> None:
    assert min(score(name, believed(pairs))) >= 0


def test_kappa_trades_depth_against_doubt() -> None:
    pairs = believed([(-0.75, 0.01), (-0.4, 0.5)])
    first = [int(np.argmax(ConfidenceBound(k)(pairs, best_ev=None, seed=0))) for k in (0.0, 2.0)]
    assert first == [0, 1]


@pytest.mark.parametrize("kappa", [-1.0, float("nan"), float("inf")])
def test_kappa_is_a_number_of_sigmas(kappa: float) -> None:
    with pytest.raises(AcquisitionError, match="at least 0, got"):
        ConfidenceBound(kappa)


def test_what_is_known_is_not_in_doubt() -> None:
    assert score("doubt", believed([(-0.75, 0.0)])) == [0]


def test_greedy_takes_the_prediction_at_its_word() -> None:
    near, far = score("greedy", believed([(-0.75, 5.0), (-0.9, 0.01)]))
    assert near > far


def test_random_depends_on_its_seed_alone() -> None:
    pairs = believed([(-0.75, 0.1)] * 9)
    assert score("random", pairs, seed=1) == score("random", pairs, seed=1)
    assert score("random", pairs, seed=1) != score("random", pairs, seed=2)


def test_no_pairs_have_no_score() -> None:
    assert [score(name, believed([])) for name in SCORES] == [[]] * len(SCORES)


def test_a_distance_is_not_negative() -> None:
    with pytest.raises(AcquisitionError, match="at least 0 eV, got -1"):
        score("expected_improvement", believed([(0.0, 0.1)]), best_ev=-1.0)
