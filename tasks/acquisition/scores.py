"""How much a calculation of each pair is worth: one function for each idea of worth.

The closed forms below the scores take the error of an energy as normal with a known sigma; they
broadcast, so that a scalar is a row of one, and sigma 0 is a known energy.

Shapes  R pairs.
Units   as each score says; the larger is calculated first, and 0 is worth nothing. A score knows
        neither costs, penalties nor what else is in the batch: ``batch`` multiplies it by them.
        Closed forms take energies and sigmas in eV.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfc, erfcx, ndtr

from tasks.acquisition.estimates import AcquisitionError, Floats, PairEstimates

BestDistance = float | Floats | None
HALF_EV = 0.1  # so far outside, an energy is worth half of one on the border
_FAR = 1e6  # sigmas: nothing of a normal error is left beyond


class Score(Protocol):
    """Estimates in, one number of at least 0 for each row out; the order of rows changes nothing.

    ``best_ev`` is the smallest verified distance (eV) of an energy to the middle of its window, for
    all rows or for each; None or NaN where nothing is verified yet. ``seed`` is read by ``random``
    alone.
    """

    def __call__(self, estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
        """Return the score of each row."""
        ...


def probability(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return the probability that the energy lies in its window, in [0, 1]."""
    return probability_between(
        estimates.low_R, estimates.high_R, estimates.energy_R, estimates.sigma_R
    )


def expected_improvement(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return by how much the energy is expected to come closer to the middle of its window, in eV.

    Closer than the best that was found. Before anything was, than the best that is predicted: the
    plug-in of Picheny, Wagner & Ginsbourger 2013, doi 10.1007/s00158-013-0919-4.
    """
    best_R = _best(estimates, best_ev)
    return expected_gain(estimates.centre_ev, best_R, estimates.energy_R, estimates.sigma_R)


def _best(estimates: PairEstimates, best_ev: BestDistance) -> Floats:
    """Return the distance that each row has to beat.

    Where nothing is verified, it is that of the best prediction in the same window.
    """
    stated = np.nan if best_ev is None else best_ev
    best_R = np.broadcast_to(np.asarray(stated, dtype=np.float64), (len(estimates),)).copy()
    if (best_R < 0).any():
        raise AcquisitionError(f"best_ev is a distance of at least 0 eV, got {best_R.min()}")
    windows = np.stack([estimates.low_R, estimates.high_R], axis=1)
    _, window_R = np.unique(windows, axis=0, return_inverse=True)
    predicted = np.full(len(estimates), np.inf)
    np.minimum.at(predicted, window_R, estimates.distance_ev)
    return np.where(np.isnan(best_R), predicted[window_R], best_R)


@dataclass(frozen=True)
class ConfidenceBound:
    """How deep in its window an energy may lie, ``kappa`` sigma in our favour.

    The depth is negative outside the window and enters as ``_worth``. Cox & John 1992; with
    ``kappa`` 0 nothing but the prediction counts, and with a large one nothing but sigma.
    """

    kappa: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.kappa < np.inf:
            raise AcquisitionError(
                f"kappa is a number of sigmas of at least 0, got {self.kappa}; 1 to 3 are usual"
            )

    def __call__(self, estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
        """Return the score of the most optimistic depth of each row, without a unit."""
        depth_R = np.minimum(
            estimates.energy_R - estimates.low_R, estimates.high_R - estimates.energy_R
        )
        return _worth(depth_R + self.kappa * estimates.sigma_R)


def uncertainty(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return sigma, in eV: the largest error is looked for, inside the target or not."""
    return estimates.sigma_R.copy()


def doubt(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return how much a calculation would settle: ``p (1 - p) sigma``, in eV.

    ``p (1 - p)`` is the variance of "it lies in the window", zero where the answer is known;
    sigma puts the pairs first of which the model knows least.
    """
    p_R = probability(estimates, best_ev=best_ev, seed=seed)
    return p_R * (1 - p_R) * estimates.sigma_R


def greedy(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return how near the prediction is to the middle of its window, in (0, 1]."""
    return _worth(-estimates.distance_ev)


def _worth(depth_R: Floats) -> Floats:
    """Return a number above 0 that grows with a depth (eV) of either sign.

    Scores are multiplied by what speaks against a pair, so they need a zero: it is far outside.
    """
    deep_R = depth_R / HALF_EV
    return np.where(deep_R < 0, 1 / (1 + np.abs(deep_R)), 1 + np.maximum(deep_R, 0.0))


def random(estimates: PairEstimates, *, best_ev: BestDistance, seed: int) -> Floats:
    """Return a number in [0, 1) for each candidate that depends on ``seed`` alone."""
    by_id = np.argsort(np.array(estimates.candidate_ids, dtype=str), kind="stable")
    drawn_R = np.empty(len(estimates))
    drawn_R[by_id] = np.random.default_rng(seed).random(len(estimates))
    return drawn_R


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "probability": probability,
        "expected_improvement": expected_improvement,
        "confidence_bound": ConfidenceBound(),
        "uncertainty": uncertainty,
        "doubt": doubt,
        "greedy": greedy,
        "random": random,
    }
)


def probability_between(
    low: ArrayLike, high: ArrayLike, energy: ArrayLike, sigma: ArrayLike
) -> Floats:
    """Return the probability that an energy lies in ``[low, high]``.

    erfc of the nearer tail keeps its digits where a difference of two erf would lose them.
    """
    low_R, high_R, energy_R, sigma_R = _rows(low, high, energy, sigma)
    known_R = sigma_R == 0
    scale_R = np.where(known_R, 1.0, sigma_R) * np.sqrt(2.0)
    below_R = energy_R <= (low_R + high_R) / 2
    near_R = np.where(below_R, low_R - energy_R, energy_R - high_R)
    far_R = np.where(below_R, high_R - energy_R, energy_R - low_R)
    with np.errstate(over="ignore"):
        inside_R = 0.5 * (erfc(near_R / scale_R) - erfc(far_R / scale_R))
    certain_R = (low_R <= energy_R) & (energy_R <= high_R)
    return np.where(known_R, certain_R.astype(float), np.clip(inside_R, 0.0, 1.0))


def expected_gain(
    centre: ArrayLike, best: ArrayLike, energy: ArrayLike, sigma: ArrayLike
) -> Floats:
    """Return E[max(best - |e - centre|, 0)] for a normal e, in eV.

    The gain is a triangle around ``centre``: three hinges, each with the expectation of Jones,
    Schonlau & Welch 1998, doi 10.1023/A:1008306431147, eq. 15. It grows with sigma while sigma is
    below the way to where the triangle begins; a wider error spreads beyond it.
    """
    centre_R, best_R, energy_R, sigma_R = _rows(centre, best, energy, sigma)
    # Mirrored so that all three hinges lie on the side where tails keep their digits.
    offset_R = -np.abs(energy_R - centre_R)
    gain_R = (
        _hinge(offset_R + best_R, sigma_R)
        - 2 * _hinge(offset_R, sigma_R)
        + _hinge(offset_R - best_R, sigma_R)
    )
    return np.maximum(gain_R, 0.0)


def _hinge(mean_R: Floats, sigma_R: Floats) -> Floats:
    """Return E[max(x, 0)] of a normal x."""
    safe_R = np.where(sigma_R == 0, 1.0, sigma_R)
    with np.errstate(over="ignore"):
        z_R = np.clip(mean_R / safe_R, -_FAR, _FAR)
    spread_R = safe_R * np.exp(-0.5 * z_R**2) / np.sqrt(2 * np.pi)
    # In the lower tail the body's two terms cancel; Mills' ratio by erfcx does so far less.
    below_R = np.maximum(-z_R, 0.0)
    mills_R = np.sqrt(np.pi / 2) * erfcx(below_R / np.sqrt(2.0))
    tail_R = spread_R * np.maximum(1 - below_R * mills_R, 0.0)
    body_R = mean_R * ndtr(z_R) + spread_R
    hinge_R = np.where(z_R < 0, tail_R, body_R)
    return np.where(sigma_R == 0, np.maximum(mean_R, 0.0), hinge_R)


def _rows(*values: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in values)))
