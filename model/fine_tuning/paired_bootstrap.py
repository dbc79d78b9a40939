"""Compare two predictors on the same rows: the difference of their errors, with its limits.

Shapes  R rows, C clusters of rows that are not independent, B resamples. Units: eV.
Source  paired bootstrap of whole clusters: Efron & Tibshirani 1993, chapter 8.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

RESAMPLES = 4_000
CONFIDENCE = 0.95  # one-sided


@dataclass(frozen=True)
class PairedComparison:
    """Mean absolute errors (eV) on the same rows, and the limits of their difference."""

    rows: int
    mae_before_ev: float
    mae_after_ev: float
    difference_ev: float  # after minus before: below 0 is better
    lower_ev: float  # of the difference, one-sided 95 %
    upper_ev: float  # as well

    def to_json(self) -> dict[str, float]:
        """Return plain numbers."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class PairedErrors:
    """Errors (eV) on the same rows before and after, and which rows are drawn together."""

    before_R: NDArray[np.float64]
    after_R: NDArray[np.float64]
    clusters: Sequence[str]

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        sizes = len(self.before_R), len(self.after_R), len(self.clusters)
        if len(set(sizes)) > 1 or not sizes[0]:
            raise ValueError(
                f"a comparison needs the same rows on both sides and at least one, got "
                f"{sizes[0]}, {sizes[1]} and {sizes[2]} clusters"
            )
        if not np.isfinite(self.growth).all():
            raise ValueError("every error must be a number")

    @property
    def growth(self) -> NDArray[np.float64]:
        """Return (R,) by how much each absolute error grew."""
        return np.asarray(np.abs(self.after_R) - np.abs(self.before_R))


def compare_errors(strata: Sequence[PairedErrors], *, seed: int) -> PairedComparison:
    """Compare mean absolute errors; strata count alike, however many rows each has."""
    drawn_B = np.mean(
        [resampled_means(one.growth, one.clusters, seed=seed + i) for i, one in enumerate(strata)],
        axis=0,
    )
    return PairedComparison(
        rows=sum(len(one.growth) for one in strata),
        mae_before_ev=float(np.mean([np.abs(one.before_R).mean() for one in strata])),
        mae_after_ev=float(np.mean([np.abs(one.after_R).mean() for one in strata])),
        difference_ev=float(np.mean([one.growth.mean() for one in strata])),
        lower_ev=float(np.quantile(drawn_B, 1 - CONFIDENCE)),
        upper_ev=float(np.quantile(drawn_B, CONFIDENCE)),
    )


def resampled_means(
    value_R: NDArray[np.float64], clusters: Sequence[str], *, seed: int
) -> NDArray[np.float64]:
    """Return (B,) means over clusters drawn with replacement."""
    _, cluster_R = np.unique(np.asarray(clusters), return_inverse=True)
    size_C = np.bincount(cluster_R).astype(float)
    total_C = np.bincount(cluster_R, weights=value_R)
    even_C = np.full(len(size_C), 1 / len(size_C))
    rng = np.random.default_rng(seed)
    times_BC = rng.multinomial(len(size_C), even_C, size=RESAMPLES)
    return np.asarray((times_BC @ total_C) / (times_BC @ size_C))


def is_no_worse(found: PairedComparison, margin: float, margin_ev: float) -> bool:
    """Return whether errors grew by less than a share or so many eV, 95 % sure."""
    return found.upper_ev <= max(margin * found.mae_before_ev, margin_ev)


def is_better(found: PairedComparison) -> bool:
    """Return whether errors shrank, 95 % sure."""
    return found.upper_ev < 0


def distance_growth(target: float, before: float, after: float) -> float:
    """Return how much further a share lies from its target than before; below 0 it is nearer."""
    return abs(after - target) - abs(before - target)


def anticorrelation(
    predicted_R: NDArray[np.float64], truth_R: NDArray[np.float64]
) -> tuple[float | None, bool]:
    """Return the rank correlation of two series, and whether it is below 0 for sure (95 %).

    The bound is Fisher's. Four rows, or a series that is constant, say nothing.
    """
    if len(predicted_R) < 5 or np.ptp(predicted_R) == 0 or np.ptp(truth_R) == 0:
        return None, False
    rho = float(spearmanr(predicted_R, truth_R).statistic)
    reach = float(norm.ppf(CONFIDENCE)) / float(np.sqrt(len(predicted_R) - 3))
    return rho, float(np.arctanh(np.clip(rho, -0.999, 0.999))) + reach < 0
