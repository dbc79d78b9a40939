"""Miller indices: how people write them, and which are refused.

An index counts planes by the axes of a cell: (h k l) is normal to h a* + k b* + l c*. A hexagonal
cell also takes four, (h k i l) with i = -(h + k), whose third says nothing new (Frank 1965).
"""

import re
from collections.abc import Sequence
from math import gcd

import numpy as np
from numpy.typing import NDArray

from tasks.errors import UserError

Miller = tuple[int, int, int]
HIGHEST_INDEX = 20  # planes of higher ones hold so few atoms that no slab of them is meant
_INDICES = re.compile(r"[+-]?\d+(?:[ ,]+[+-]?\d+)*\Z")
_SAME_LENGTH_ANG = 0.05  # of a and b of a hexagonal cell
_SAME_ANGLE_DEG = 0.5


def miller_from_text(words: str) -> Miller:
    """Return the Miller index in ``words``: ``1 1 1``, ``(1, 0, -1)``, ``[1 0 -1 0]``.

    Raises:
        UserError: these are no three or four whole numbers, or ``checked_miller`` refuses them.
    """
    inner = words.strip()
    if (inner[:1], inner[-1:]) in {("(", ")"), ("[", "]"), ("{", "}")}:
        inner = inner[1:-1].strip()
    if _INDICES.match(inner) is None:
        raise UserError(
            "a Miller index is three whole numbers with spaces between, such as 1 1 1, or four for "
            f"a hexagonal cell, such as 1 0 -1 0; got {words!r}"
        )
    digits = re.split(r"[ ,]+", inner)
    return checked_miller([int(index[:8]) for index in digits])  # eight digits are too many already


def checked_miller(indices: Sequence[int], *, hexagonal: bool = True) -> Miller:
    """Return three or four indices as three, without a common divisor: (2, 2, 2) is (1, 1, 1).

    Args:
        indices: h k l, or h k i l.
        hexagonal: Whether the cell that they count by is; four are refused where it is not.

    Returns:
        The three indices h k l.

    Raises:
        UserError: the indices name no plane, or one of ``HIGHEST_INDEX`` and beyond.
    """
    if len(indices) not in (3, 4):
        raise UserError(
            "a Miller index has three numbers, or four for a hexagonal cell, got "
            f"{miller_word(indices)}"
        )
    if not any(indices):
        raise UserError(f"a Miller index has a number other than 0, got {miller_word(indices)}")
    if max(map(abs, indices)) > HIGHEST_INDEX:
        raise UserError(
            f"a Miller index has numbers from -{HIGHEST_INDEX} to {HIGHEST_INDEX}, got "
            f"{miller_word(indices)}"
        )
    if len(indices) == 4:
        h, k, i, l = indices  # noqa: E741  the names of Miller indices
        if h + k + i != 0:
            raise UserError(
                f"of four Miller indices (h k i l) i is -(h + k), got {miller_word(indices)}"
            )
        if not hexagonal:
            raise UserError(
                "four Miller indices count by a hexagonal cell (a = b, 120 degrees between them), "
                f"got {miller_word(indices)} for another; give three"
            )
        return reduced_miller((h, k, l))
    return reduced_miller((indices[0], indices[1], indices[2]))


def reduced_miller(miller: Miller) -> Miller:
    """Return ``miller`` without a common divisor: (2, 2, 2) is (1, 1, 1)."""
    divisor = gcd(*miller)
    if divisor == 0:
        raise UserError("a Miller index has a number other than 0, got (0 0 0)")
    h, k, l = (index // divisor for index in miller)  # noqa: E741
    return h, k, l


def is_hexagonal(cell_33: NDArray[np.float64]) -> bool:
    """Tell whether a cell (rows, Å) has a = b, 120 degrees between them, and c upright.

    A rhombohedral crystal in hexagonal axes has such a cell.
    """
    a, b, c = np.linalg.norm(cell_33, axis=1)
    cosines = (cell_33 @ cell_33.T) / np.outer([a, b, c], [a, b, c])
    angles_deg = np.degrees(np.arccos(np.clip(cosines[[1, 0, 0], [2, 2, 1]], -1, 1)))
    wanted_deg = np.array([90.0, 90.0, 120.0])
    return bool(
        abs(a - b) < _SAME_LENGTH_ANG and (abs(angles_deg - wanted_deg) < _SAME_ANGLE_DEG).all()
    )


def miller_word(indices: Sequence[int]) -> str:
    """Return indices as people write them: (1 0 -1 0)."""
    return "(" + " ".join(map(str, indices)) + ")"
