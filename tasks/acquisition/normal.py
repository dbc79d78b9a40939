"""What a normal error of known size says about an energy, in closed form.

Shapes  R pairs. Everything broadcasts, so that a scalar is a row of one.
Units   energies and sigmas in eV; zero sigma is a known energy.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc, erfcx, ndtr

Floats = NDArray[np.float64]
_FAR = 1e6  # sigmas: nothing of a normal error is left beyond


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
