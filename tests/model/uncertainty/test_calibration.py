"""An error bar is one standard deviation that was checked on rows nobody trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from model.errors import ModelError
from model.uncertainty.calibration import (
    SIGMA_FLOOR_EV,
    Calibration,
    UncertaintySignal,
    head_weight,
    size_class,
)
from model.uncertainty.calibration_fit import (
    COMBINED,
    CONSTANT,
    fit_calibration,
    interval_multipliers,
)
from model.uncertainty.metrics import NORMAL, Z90, miscalibration_area

pytestmark = pytest.mark.medium


def doubts(rng: np.random.Generator, rows: int) -> UncertaintySignal:
    """Return four independent doubts of log-normal size."""
    return UncertaintySignal(*(0.1 * np.exp(0.6 * rng.standard_normal(rows)) for _ in range(4)))


def errors_from(signal: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return errors whose size is the doubt's."""
    return signal * rng.standard_normal(len(signal))


def fitted(
    error_R: NDArray[np.float64], signal: UncertaintySignal, adsorbate: str = "CO"
) -> Calibration:
    rows = len(error_R)
    return fit_calibration(["emt"] * rows, [adsorbate] * rows, error_R, signal, seed=0)


def test_intervals_cover_nine_tenths_of_new_rows() -> None:
    rng = np.random.default_rng(0)
    signal = doubts(rng, 4000)
    error_R = 2.5 * errors_from(signal.head_R, rng)
    calibration = fitted(error_R[:2000], signal.at(np.arange(2000)))
    new = np.arange(2000, 4000)
    sigma_R = calibration.sigma(["emt"] * 2000, ["CO"] * 2000, signal.at(new))
    assert (np.abs(error_R[new]) <= Z90 * sigma_R).mean() == pytest.approx(0.9, abs=0.02)


def test_the_ingredient_that_tells_gets_the_power() -> None:
    rng = np.random.default_rng(1)
    signal = doubts(rng, 600)
    head, disagreement, gap, distance = (
        fitted(errors_from(signal.distance_R, rng), signal).level("emt").exponents
    )
    assert distance > 0.8
    assert max(head, disagreement, gap) < 0.15


def test_a_far_configuration_has_a_wider_sigma() -> None:
    rng = np.random.default_rng(2)
    signal = doubts(rng, 400)
    calibration = fitted(errors_from(signal.distance_R, rng), signal)
    at = np.full(1, 0.1)
    near, far = (
        calibration.sigma(["emt"], ["CO"], UncertaintySignal(at, at, at, factor * at))
        for factor in (1, 5)
    )
    assert far > 3 * near


def test_useless_doubts_leave_a_constant_sigma() -> None:
    rng = np.random.default_rng(3)
    signal = doubts(rng, 300)
    calibration = fitted(rng.normal(0, 0.3, 300), signal)
    evidence = calibration.level("emt").evidence
    assert evidence[COMBINED].interval_score_ev >= evidence[CONSTANT].interval_score_ev
    sigma_R = calibration.sigma(["emt"] * 300, ["CO"] * 300, signal)
    assert calibration.level("emt").is_constant
    assert np.ptp(sigma_R) == 0
    assert sigma_R[0] == pytest.approx(0.3, rel=0.1)


def test_a_predictor_without_doubts_has_a_constant_sigma() -> None:
    rng = np.random.default_rng(4)
    calibration = fitted(rng.normal(0, 0.2, 200), UncertaintySignal.none(200))
    assert calibration.sigma(["emt"], ["CO"], UncertaintySignal.none(1)) == pytest.approx(
        0.2, rel=0.15
    )


def test_one_member_cannot_disagree_and_calibrates_all_the_same() -> None:
    rng = np.random.default_rng(5)
    signal = replace(doubts(rng, 400), disagreement_R=np.zeros(400))
    level = fitted(errors_from(signal.head_R, rng), signal).level("emt")
    assert level.exponents[0] > 0.5
    assert level.exponents[1] == 0


def test_each_size_of_adsorbate_gets_its_own_factor() -> None:
    rng = np.random.default_rng(6)
    adsorbates = ["H"] * 500 + ["C6H6"] * 500
    error_R = rng.standard_normal(1000) * np.repeat([0.1, 0.4], 500)
    calibration = fit_calibration(
        ["emt"] * 1000, adsorbates, error_R, UncertaintySignal.none(1000), seed=0
    )
    small, large = calibration.sigma(["emt"] * 2, ["H", "C6H6"], UncertaintySignal.none(2))
    assert small == pytest.approx(0.1, rel=0.15)
    assert large == pytest.approx(0.4, rel=0.15)


def test_a_rare_size_falls_back_to_its_level() -> None:
    rng = np.random.default_rng(7)
    adsorbates = ["H"] * 300 + ["C6H6"] * 10
    calibration = fit_calibration(
        ["emt"] * 310, adsorbates, rng.normal(0, 0.1, 310), UncertaintySignal.none(310), seed=0
    )
    factors = calibration.level("emt").factors
    assert set(factors) == {"any", "one"}
    sigma = calibration.sigma(["emt"], ["C6H6"], UncertaintySignal.none(1))
    assert sigma == pytest.approx(factors["any"])


def test_levels_have_scales_of_their_own() -> None:
    rng = np.random.default_rng(8)
    levels = ["emt"] * 200 + ["pbe"] * 200
    error_R = rng.standard_normal(400) * np.repeat([0.02, 0.5], 200)
    calibration = fit_calibration(levels, ["O"] * 400, error_R, UncertaintySignal.none(400), seed=0)
    sharp, blunt = calibration.sigma(["emt", "pbe"], ["O", "O"], UncertaintySignal.none(2))
    assert blunt > 10 * sharp


def test_heavy_tails_are_in_the_law_and_not_in_the_normal_one() -> None:
    rng = np.random.default_rng(9)
    error_R = rng.standard_t(2, 6000)
    half = 3000
    calibration = fitted(error_R[:half], UncertaintySignal.none(half))
    sigma_R = calibration.sigma(["emt"] * half, ["CO"] * half, UncertaintySignal.none(half))
    law = calibration.level("emt").law
    assert law.half_width(np.array([0.9]))[0] == pytest.approx(Z90)
    assert law.half_width(np.array([0.5]))[0] < NORMAL.half_width(np.array([0.5]))[0]
    assert miscalibration_area(error_R[half:], sigma_R, law) < 0.015
    assert miscalibration_area(error_R[half:], sigma_R) > 0.05


def test_the_limit_of_nearness_holds_99_of_100_rows() -> None:
    rng = np.random.default_rng(10)
    signal = doubts(rng, 1000)
    limit = fitted(errors_from(signal.head_R, rng), signal).level("emt").distance_limit
    assert (signal.distance_R > limit).sum() == 10


def test_a_calibration_survives_json() -> None:
    rng = np.random.default_rng(11)
    signal = doubts(rng, 200)
    calibration = fitted(errors_from(signal.gap_R, rng), signal)
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_a_calibration_of_another_version_says_what_it_lacks() -> None:
    with pytest.raises(ModelError, match="calibration of emt lacks typical, exponents"):
        Calibration.from_json({"emt": {"floor_ev": 0.1, "factor": 1.0}})


def test_equal_rows_and_seed_make_equal_calibrations() -> None:
    rng = np.random.default_rng(12)
    signal = doubts(rng, 120)
    error_R = errors_from(signal.head_R, rng)
    new = doubts(rng, 20)
    sigmas = [fitted(error_R, signal).sigma(["emt"] * 20, ["CO"] * 20, new) for _ in range(2)]
    assert sigmas[0] == pytest.approx(sigmas[1], rel=1e-6)  # a minimiser ends within its tolerance


def test_a_perfect_model_is_not_more_certain_than_labels() -> None:
    sigma = fitted(np.zeros(50), UncertaintySignal.none(50)).sigma(
        ["emt"], ["CO"], UncertaintySignal.none(1)
    )
    assert sigma == SIGMA_FLOOR_EV


def test_too_few_rows_cannot_calibrate() -> None:
    with pytest.raises(ModelError, match="at least 20 held-out rows of a level, got 5 at emt"):
        fitted(np.zeros(5), UncertaintySignal.none(5))


def test_a_level_that_was_not_calibrated_has_no_sigma() -> None:
    calibration = fitted(np.linspace(-1, 1, 50), UncertaintySignal.none(50))
    with pytest.raises(ModelError, match="calibrated at emt; got level 'pbe'"):
        calibration.sigma(["pbe"], ["CO"], UncertaintySignal.none(1))


def test_an_error_that_is_no_number_is_refused() -> None:
    with pytest.raises(ModelError, match="error of a held-out row is not a number"):
        fitted(np.full(50, np.nan), UncertaintySignal.none(50))


def test_a_doubt_that_is_no_number_is_named() -> None:
    ones = np.ones(3)
    with pytest.raises(ModelError, match="gap must be a number of at least 0, got nan in row 1"):
        UncertaintySignal(ones, ones, np.array([0.1, np.nan, 0.1]), ones)


def test_conformal_reach_is_the_order_statistic_it_should_be() -> None:
    error_R = np.arange(1.0, 20.0)  # of 19 rows, the 18th smallest holds 90 % of new ones
    found = interval_multipliers(error_R, np.full(19, 2.0), ["a"] * 19, 0.9)
    assert found == {"a": 9.0}


def test_kinds_of_rows_are_judged_apart() -> None:
    error_R = np.concatenate([np.arange(1.0, 20.0), np.arange(10.0, 200.0, 10.0)])
    found = interval_multipliers(error_R, np.ones(38), ["a"] * 19 + ["b"] * 19, 0.9)
    assert found == {"a": 18.0, "b": 180.0}


def test_too_few_rows_for_a_confidence_are_refused() -> None:
    assert interval_multipliers(np.ones(9), np.ones(9), ["a"] * 9, 0.9) == {"a": 1.0}
    with pytest.raises(ModelError, match="8 held-out rows of a cannot tell a 90% interval"):
        interval_multipliers(np.ones(8), np.ones(8), ["a"] * 8, 0.9)


@pytest.mark.parametrize(
    ("adsorbate", "size"),
    [
        ("H", "one"),
        ("CH3", "one"),
        ("*OH", "one"),
        ("CO", "small"),
        ("CH2CH2OH", "small"),
        ("C6H6", "large"),
        ("NH2N(CH3)2", "large"),
        ("no formula", "any"),
    ],
)
def test_sizes_count_atoms_beside_hydrogen(adsorbate: str, size: str) -> None:
    assert size_class(adsorbate) == size


def test_the_better_head_gets_the_weight() -> None:
    truth = np.linspace(-1, 1, 50)
    assert head_weight(truth, truth + 1.0, truth) == 1.0
    assert head_weight(truth - 0.4, truth + 0.4, truth) == pytest.approx(0.5)
