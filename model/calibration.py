"""Turn a network's own doubt into one standard deviation, level by level, on held-out rows.

Shapes  R rows. Units: eV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import ModelError
from model.metrics import Z90

MIN_ROWS = 20  # fewer cannot tell what 90 % of the errors stay below
_FLOORS_EV = np.geomspace(0.003, 1.0, 40)


@dataclass(frozen=True)
class LevelCalibration:
    """sigma = factor * sqrt(spread^2 + floor^2), for one level of theory."""

    floor_ev: float
    factor: float

    def sigma(self, spread_R: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one standard deviation for each row's uncalibrated ``spread_R``."""
        return self.factor * np.sqrt(spread_R**2 + self.floor_ev**2)


def calibrate(error_R: NDArray[np.float64], spread_R: NDArray[np.float64]) -> LevelCalibration:
    """Fit floor and factor on held-out rows of one level.

    The floor minimises the negative log-likelihood of a normal error; the factor then makes the
    90 % interval cover 90 % of the rows (split conformal, Lei et al. 2018, arXiv:1604.04173).

    Raises:
        ModelError: there are fewer rows than a 90 % quantile needs.
    """
    if len(error_R) < MIN_ROWS:
        raise ModelError(
            f"calibration needs at least {MIN_ROWS} held-out rows of a level, got {len(error_R)}"
        )

    def surprise(floor: float) -> float:
        raw_R = np.sqrt(spread_R**2 + floor**2)
        scale = np.sqrt(((error_R / raw_R) ** 2).mean())
        return float(np.log(scale * raw_R).mean())

    floor = min(_FLOORS_EV, key=surprise)
    scaled_R = np.abs(error_R) / np.sqrt(spread_R**2 + floor**2)
    rank = min(1.0, 0.9 * (1 + 1 / len(error_R)))
    return LevelCalibration(float(floor), float(np.quantile(scaled_R, rank)) / Z90)


def calibrate_levels(
    levels: Sequence[str], error_R: NDArray[np.float64], spread_R: NDArray[np.float64]
) -> Mapping[str, LevelCalibration]:
    """Calibrate each level on its own rows."""
    names = np.asarray(levels)
    return {
        str(name): calibrate(error_R[names == name], spread_R[names == name])
        for name in np.unique(names)
    }


def head_weight(
    regression_R: NDArray[np.float64],
    token_R: NDArray[np.float64],
    truth_R: NDArray[np.float64],
) -> float:
    """Return the regression head's share of the mean that has the lowest MAE on these rows."""
    shares = np.linspace(0.0, 1.0, 21)

    def mae(share: float) -> float:
        return float(np.abs(share * regression_R + (1 - share) * token_R - truth_R).mean())

    return float(min(shares, key=mae))
