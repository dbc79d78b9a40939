"""Scores of errors whose law is known."""

import numpy as np
import pytest
from scipy.stats import laplace, norm

from model.uncertainty.metrics import (
    NORMAL,
    Z90,
    IntervalLaw,
    accuracy_scores,
    interval_score,
    miscalibration_area,
    rank_correlation,
)

GRID = np.arange(0.01, 1.0, 0.01)


def errors(law: object, rows: int = 20_001) -> np.ndarray:
    """Return the quantiles of a law: a sample without sampling noise."""
    return np.asarray(law.ppf((np.arange(rows) + 0.5) / rows))  # type: ignore[attr-defined]


def test_scores_of_known_errors() -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0])
    energy = truth + np.array([0.05, -0.06, 0.5, -0.6])
    scores = accuracy_scores(energy, np.array([0.1, 0.2, 0.5, 0.6]), truth)
    assert scores.rows == 4
    assert scores.mae_ev == pytest.approx(0.3025)
    assert scores.rmse_ev == pytest.approx(np.sqrt((0.0025 + 0.0036 + 0.25 + 0.36) / 4))
    assert scores.r2 == pytest.approx(1 - 0.6161 / 5)
    assert scores.within_0_1_ev == 0.5
    assert scores.coverage_90 == 1.0
    assert scores.spearman == pytest.approx(1.0)
    assert scores.mean_sigma_ev == pytest.approx(0.35)
    assert scores.to_json()["mae_ev"] == scores.mae_ev


def test_normal_errors_of_the_stated_sigma_are_calibrated() -> None:
    error = errors(norm(scale=0.3))
    sigma = np.full(len(error), 0.3)
    scores = accuracy_scores(error, sigma, np.zeros(len(error)))
    assert scores.coverage_90 == pytest.approx(0.9, abs=1e-4)
    assert scores.miscalibration < 1e-4


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_wrong_scale_costs_what_the_normal_law_says(factor: float) -> None:
    error = errors(norm(scale=factor))
    width = norm.ppf(0.5 + GRID / 2) / factor
    expected = np.abs(2 * norm.cdf(width) - 1 - GRID).mean()
    assert miscalibration_area(error, np.ones(len(error))) == pytest.approx(expected, abs=1e-4)


def test_laplace_errors_with_right_90_percent_have_the_known_area() -> None:
    scale = Z90 / np.log(10)  # P(|e| <= w) = 1 - exp(-w / scale)
    error = errors(laplace(scale=scale))
    expected = np.abs(1 - np.exp(-norm.ppf(0.5 + GRID / 2) / scale) - GRID).mean()
    assert expected > 0.03
    assert miscalibration_area(error, np.ones(len(error))) == pytest.approx(expected, abs=1e-3)


def test_the_right_law_takes_the_area_away() -> None:
    scale = Z90 / np.log(10)
    confidences = (0.5, 0.68, 0.8, 0.9, 0.95)
    law = IntervalLaw(confidences, tuple(-scale * np.log(1 - c) for c in confidences))
    error = errors(laplace(scale=scale))
    scores = accuracy_scores(error, np.ones(len(error)), np.zeros(len(error)), law)
    assert scores.miscalibration_law < 0.25 * scores.miscalibration


def test_one_point_makes_a_normal_law() -> None:
    np.testing.assert_allclose(NORMAL.half_width(GRID), norm.ppf(0.5 + GRID / 2), rtol=1e-12)


def test_a_wider_interval_reaches_farther() -> None:
    law = IntervalLaw((0.5, 0.9, 0.95), (0.4, Z90, 2.5))
    assert (np.diff(law.half_width(GRID)) > 0).all()
    np.testing.assert_allclose(law.half_width(np.array([0.5, 0.95])), [0.4, 2.5])


def test_a_perfect_law_shows_the_noise_of_its_sample() -> None:
    rng = np.random.default_rng(0)
    areas = [miscalibration_area(rng.standard_normal(200), np.ones(200)) for _ in range(300)]
    assert np.mean(areas) == pytest.approx(np.sqrt(np.pi / 32) / np.sqrt(200), rel=0.1)


def test_only_the_true_quantile_scores_best() -> None:
    error = errors(norm())
    right, bold, timid = (interval_score(error, np.full(len(error), s)) for s in (1.0, 0.8, 1.25))
    assert right < min(bold, timid)
    assert right == pytest.approx(20 * norm.pdf(Z90) * 2 * 0.5 * 2, rel=1e-3)


def test_a_constant_sigma_orders_nothing() -> None:
    assert rank_correlation(np.full(5, 0.1), np.arange(5.0)) == 0.0
    assert rank_correlation(np.arange(1.0, 6.0), -np.arange(5.0)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("energy", "sigma", "complaint"),
    [
        ([np.nan], [1.0], "must be a number"),
        ([0.0], [np.inf], "must be a number"),
        ([0.0], [-1.0], "at least 0 eV; got -1"),
        ([], [], "at least one row"),
    ],
)
def test_what_cannot_be_scored(energy: list[float], sigma: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        accuracy_scores(np.array(energy), np.array(sigma), np.zeros(len(energy)))
