"""How good predictions and their error bars are.

Shapes  R rows, L confidence levels. Units: eV. ``sigma`` is one standard deviation.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from model.stored_values import StoredValues

Z90 = float(norm.ppf(0.95))  # half-width of the central 90 % interval, in sigmas
EXPECTED_L = np.arange(0.01, 1.0, 0.01)


@dataclass(frozen=True)
class IntervalLaw(StoredValues):
    """How many sigmas a central interval reaches to either side, by confidence.

    Errors have heavier tails than a normal law: an interval of 90 % is 1.645 sigma by definition
    of sigma, one of 50 % is narrower than the normal 0.674. Between the confidences, which rise,
    half-widths are linear in those of the normal law, so that one point makes a normal law.
    """

    confidences: tuple[float, ...]
    multipliers: tuple[float, ...]

    def half_width(self, confidence_L: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (L,) half-widths in sigmas, for confidences between 0 and 1."""
        normal_L = norm.ppf(0.5 + np.asarray(confidence_L) / 2)
        known_K = np.concatenate([[0.0], norm.ppf(0.5 + np.asarray(self.confidences) / 2)])
        reach_K = np.concatenate([[0.0], self.multipliers])
        slope = (reach_K[-1] - reach_K[-2]) / (known_K[-1] - known_K[-2])
        beyond_L = np.maximum(normal_L - known_K[-1], 0.0) * slope
        return np.asarray(np.interp(normal_L, known_K, reach_K) + beyond_L)


NORMAL = IntervalLaw((0.9,), (Z90,))


@dataclass(frozen=True)
class AccuracyScores:
    """Accuracy and calibration on one set of rows."""

    rows: int
    mae_ev: float
    rmse_ev: float
    r2: float
    within_0_1_ev: float  # share of rows
    coverage_90: float  # share of rows inside the 90 % interval
    miscalibration: float  # area between expected and observed coverage of a normal law
    spearman: float  # rank correlation of sigma and absolute error
    mean_sigma_ev: float
    miscalibration_law: float  # the same area with the intervals that the calibration stores

    def to_json(self) -> dict[str, float]:
        """Return plain numbers."""
        return asdict(self)


def accuracy_scores(
    energy_R: NDArray[np.float64],
    sigma_R: NDArray[np.float64],
    truth_R: NDArray[np.float64],
    law: IntervalLaw = NORMAL,
) -> AccuracyScores:
    """Compare predictions with labels.

    Args:
        energy_R: Predicted energies in eV.
        sigma_R: One standard deviation of each, in eV.
        truth_R: Labels in eV.
        law: Distribution of errors that ``miscalibration_law`` assumes.

    Returns:
        Accuracy and calibration; energies in eV.

    Raises:
        ValueError: there is no row, a number is missing, or a sigma is negative.
    """
    if len(truth_R) == 0:
        raise ValueError("scores need at least one row, got none")
    error_R = energy_R - truth_R
    if not (np.isfinite(error_R).all() and np.isfinite(sigma_R).all()):
        raise ValueError("every energy, sigma and label must be a number")
    if sigma_R.min() < 0:
        raise ValueError(f"sigma is a standard deviation, at least 0 eV; got {sigma_R.min():.3g}")
    spread = float(((truth_R - truth_R.mean()) ** 2).sum())
    return AccuracyScores(
        rows=len(truth_R),
        mae_ev=float(np.abs(error_R).mean()),
        rmse_ev=float(np.sqrt((error_R**2).mean())),
        r2=1.0 - float((error_R**2).sum()) / spread if spread > 0 else 0.0,
        within_0_1_ev=float((np.abs(error_R) <= 0.1).mean()),
        coverage_90=coverage(error_R, sigma_R),
        miscalibration=miscalibration_area(error_R, sigma_R),
        spearman=rank_correlation(sigma_R, error_R),
        mean_sigma_ev=float(sigma_R.mean()),
        miscalibration_law=miscalibration_area(error_R, sigma_R, law),
    )


def coverage(error_R: NDArray[np.float64], sigma_R: NDArray[np.float64]) -> float:
    """Return the share of rows inside their 90 % interval."""
    return float((np.abs(error_R) <= Z90 * sigma_R).mean())


def rank_correlation(sigma_R: NDArray[np.float64], error_R: NDArray[np.float64]) -> float:
    """Return Spearman's correlation of sigma and absolute error; 0 where sigma is constant."""
    if np.ptp(sigma_R) == 0 or np.ptp(np.abs(error_R)) == 0:
        return 0.0
    return float(spearmanr(sigma_R, np.abs(error_R)).statistic)


def miscalibration_area(
    error_R: NDArray[np.float64], sigma_R: NDArray[np.float64], law: IntervalLaw = NORMAL
) -> float:
    """Return the mean gap between expected and observed interval coverage.

    Kuleshov, Fenner & Ermon 2018 (arXiv:1807.00263), central intervals at 99 confidences. Even a
    perfect law shows about 0.31 / sqrt(R): the mean of a Brownian bridge's absolute value.
    """
    return coverage_gap(observed_coverage(error_R, sigma_R, law))


def observed_coverage(
    error_R: NDArray[np.float64], sigma_R: NDArray[np.float64], law: IntervalLaw
) -> NDArray[np.float64]:
    """Return (99,) the share of rows inside their intervals of 1 % to 99 %."""
    half_width_L = law.half_width(EXPECTED_L)
    scaled_R = np.abs(error_R) / np.maximum(sigma_R, 1e-12)
    return np.asarray((scaled_R[None, :] <= half_width_L[:, None]).mean(axis=1))


def coverage_gap(observed_L: NDArray[np.float64]) -> float:
    """Return the mean distance of (99,) observed coverages from the confidences they stand for."""
    return float(np.abs(observed_L - EXPECTED_L).mean())


def interval_score(error_R: NDArray[np.float64], sigma_R: NDArray[np.float64]) -> float:
    """Return the mean score of the 90 % intervals in eV: their width, and 20 x any miss.

    Lower is better, and only true quantiles are best (Gneiting & Raftery 2007, JASA 102, 359,
    eq. 43): neither wide intervals nor bold ones pay.
    """
    half_width_R = Z90 * sigma_R
    miss_R = np.maximum(np.abs(error_R) - half_width_R, 0.0)
    return float((2 * half_width_R + 20 * miss_R).mean())
