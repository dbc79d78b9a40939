"""What share of held-out errors stays within how many sigmas: split conformal prediction.

Normalised by each row's own sigma and Mondrian, that is separately for each kind of row (Vovk et
al. 2003; Boström & Johansson 2020). crepes fits; only plain numbers leave this module, so nothing
of it is stored or imported where predictions are made.

Shapes  R rows. Units: errors and sigmas in eV, what is returned is a ratio.
"""

from collections.abc import Sequence

import numpy as np
from crepes import ConformalRegressor
from numpy.typing import NDArray

from model.errors import ModelError

_HAIR = 1e-9


def interval_multipliers(
    error_R: NDArray[np.float64],
    sigma_R: NDArray[np.float64],
    bins: Sequence[str],
    confidence: float,
) -> dict[str, float]:
    """Return, for each bin, how many sigmas hold ``confidence`` of the errors of a new row.

    Raises:
        ModelError: a bin has too few rows for that confidence.
    """
    bin_R = np.asarray(bins)
    names = np.unique(bin_R)
    fitted = ConformalRegressor().fit(np.abs(error_R), sigmas=sigma_R, bins=bin_R)
    for name in names:
        rows = int((bin_R == name).sum())
        if not has_enough_rows(rows, confidence):
            raise ModelError(
                f"{rows} held-out rows of {name} cannot tell a {confidence:.0%} interval; "
                "hold out more or merge it with another kind"
            )
    # 1 - 0.9 is a hair below 0.1 in floating point, which crepes rounds to the next wider rank.
    intervals_B2 = fitted.predict_int(
        np.zeros(len(names)), sigmas=np.ones(len(names)), bins=names, confidence=confidence - _HAIR
    )
    return dict(zip(names.tolist(), intervals_B2[:, 1].tolist(), strict=True))


def has_enough_rows(rows: int, confidence: float) -> bool:
    """Return whether so many rows can bound an interval of ``confidence``."""
    return (1 - confidence + _HAIR) * (rows + 1) >= 1
