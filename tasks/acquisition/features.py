"""Where a pair lies, as numbers: blocks of equal weight, so that no source drowns another.

Shapes  R pairs, D columns of one block, F of all.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.acquisition.estimates import Floats


def feature_matrix(blocks: Iterable[NDArray[np.floating]]) -> Floats:
    """Return blocks of (R, D) beside each other, each with a mean square distance of pairs of 1.

    A block that is the same for all says nothing and is left out.
    """
    scaled, n = [], 0
    for block_RD in blocks:
        n = len(block_RD)
        centred_RD = np.asarray(block_RD, dtype=np.float64)
        centred_RD = centred_RD - centred_RD.mean(axis=0) if n else centred_RD
        mean_square = 2 * float((centred_RD**2).mean(axis=0).sum()) if n else 0.0
        if mean_square > 1e-24:
            scaled.append(centred_RD / np.sqrt(mean_square))
    return np.hstack(scaled) if scaled else np.zeros((n, 0))


def one_hot(names_R: Sequence[str]) -> Floats:
    """Return a column for each name that occurs."""
    names, place_R = np.unique(np.array(names_R, dtype=str), return_inverse=True)
    return np.eye(len(names))[place_R]


def element_shares(parts_R: Sequence[dict[str, float]]) -> Floats:
    """Return a column for each element that occurs, from the share of each element in each row."""
    elements = sorted({symbol for parts in parts_R for symbol in parts})
    return np.array([[parts.get(e, 0.0) for e in elements] for parts in parts_R]).reshape(
        len(parts_R), len(elements)
    )
