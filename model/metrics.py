"""How good predictions and their error bars are.

Shapes  R rows. Units: eV. ``sigma`` is one standard deviation of a normal error.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

Z90 = float(norm.ppf(0.95))  # half-width of the central 90 % interval, in sigmas


@dataclass(frozen=True)
class Scores:
    """Accuracy and calibration on one set of rows."""

    rows: int
    mae_ev: float
    rmse_ev: float
    r2: float
    within_0_1_ev: float  # share of rows
    coverage_90: float  # share of rows inside the 90 % interval
    miscalibration: float  # area between expected and observed coverage, 0 is perfect
    spearman: float  # rank correlation of sigma and absolute error

    def to_json(self) -> dict[str, float]:
        """Return plain numbers."""
        return asdict(self)


def score(
    energy_R: NDArray[np.float64], sigma_R: NDArray[np.float64], truth_R: NDArray[np.float64]
) -> Scores:
    """Compare predictions with labels.

    Raises:
        ValueError: there is no row, or a number is missing.
    """
    if len(truth_R) == 0:
        raise ValueError("scores need at least one row, got none")
    error_R = energy_R - truth_R
    if not (np.isfinite(error_R).all() and np.isfinite(sigma_R).all()):
        raise ValueError("every energy, sigma and label must be a number")
    spread = float(((truth_R - truth_R.mean()) ** 2).sum())
    ranks = spearmanr(sigma_R, np.abs(error_R)).statistic if np.ptp(sigma_R) > 0 else 0.0
    return Scores(
        rows=len(truth_R),
        mae_ev=float(np.abs(error_R).mean()),
        rmse_ev=float(np.sqrt((error_R**2).mean())),
        r2=1.0 - float((error_R**2).sum()) / spread if spread > 0 else 0.0,
        within_0_1_ev=float((np.abs(error_R) <= 0.1).mean()),
        coverage_90=float((np.abs(error_R) <= Z90 * sigma_R).mean()),
        miscalibration=miscalibration_area(error_R, sigma_R),
        spearman=float(ranks),
    )


def miscalibration_area(error_R: NDArray[np.float64], sigma_R: NDArray[np.float64]) -> float:
    """Return the mean gap between expected and observed interval coverage.

    Kuleshov, Fenner & Ermon 2018 (arXiv:1807.00263), central intervals at 99 levels.
    """
    expected_L = np.arange(0.01, 1.0, 0.01)
    half_width_L = norm.ppf(0.5 + expected_L / 2)
    scaled_R = np.abs(error_R) / np.maximum(sigma_R, 1e-12)
    observed_L = (scaled_R[None, :] <= half_width_L[:, None]).mean(axis=1)
    return float(np.abs(observed_L - expected_L).mean())
