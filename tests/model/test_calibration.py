"""An error bar is one standard deviation that was checked on rows nobody trained on."""

import numpy as np
import pytest

from model.calibration import calibrate, head_weight
from model.errors import ModelError
from model.metrics import Z90, miscalibration_area, score


def test_intervals_cover_nine_tenths_of_new_rows() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.02, 0.4, 4000)
    error = 2.5 * spread * rng.standard_normal(4000)
    fitted = calibrate(error[:2000], spread[:2000])
    covered = np.abs(error[2000:]) <= Z90 * fitted.sigma(spread[2000:])
    assert covered.mean() == pytest.approx(0.9, abs=0.02)


def test_a_useless_spread_leaves_a_constant_sigma() -> None:
    rng = np.random.default_rng(1)
    spread = rng.uniform(1e-6, 2e-6, 500)
    sigma = calibrate(rng.normal(0, 0.3, 500), spread).sigma(spread)
    assert np.ptp(sigma) < 1e-4
    assert sigma.mean() == pytest.approx(0.3, rel=0.1)


def test_too_few_rows_cannot_calibrate() -> None:
    with pytest.raises(ModelError, match="at least 20 held-out rows of a level, got 5"):
        calibrate(np.zeros(5), np.ones(5))


def test_the_better_head_gets_the_weight() -> None:
    truth = np.linspace(-1, 1, 50)
    assert head_weight(truth, truth + 1.0, truth) == 1.0
    assert head_weight(truth - 0.4, truth + 0.4, truth) == pytest.approx(0.5)


def test_normal_errors_of_the_stated_sigma_are_calibrated() -> None:
    rng = np.random.default_rng(2)
    sigma = rng.uniform(0.1, 0.5, 20_000)
    assert miscalibration_area(sigma * rng.standard_normal(20_000), sigma) < 0.01
    assert miscalibration_area(3 * sigma * rng.standard_normal(20_000), sigma) > 0.2


def test_scores_of_known_errors() -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0])
    scores = score(
        truth + np.array([0.05, -0.06, 0.5, -0.6]), np.array([0.1, 0.2, 0.5, 0.6]), truth
    )
    assert scores.mae_ev == pytest.approx(0.3025)
    assert scores.within_0_1_ev == 0.5
    assert scores.coverage_90 == 1.0
    assert scores.spearman == pytest.approx(1.0)


def test_a_missing_number_is_not_scored() -> None:
    with pytest.raises(ValueError, match="must be a number"):
        score(np.array([np.nan]), np.ones(1), np.zeros(1))
