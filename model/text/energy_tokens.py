"""An energy as text of fixed width, one token a character: ``+01.23``.

The sign comes first and the width never changes, so that decoding can be constrained to the
characters that may stand in each place.
"""

import math

from model.errors import ModelError

WIDTH = 6
LIMIT_EV = 99.99
DIGITS = "0123456789"
# What may stand in each of the six places.
ALLOWED_CHARACTERS = ("+-", DIGITS, DIGITS, ".", DIGITS, DIGITS)


def format_energy(energy_ev: float) -> str:
    """Return ``energy_ev`` as six characters, rounded to 0.01 eV.

    Raises:
        ModelError: the energy is not a number or beyond +-99.99 eV.
    """
    if not math.isfinite(energy_ev) or abs(energy_ev) > LIMIT_EV:
        raise ModelError(f"energy must be a number within +-{LIMIT_EV} eV, got {energy_ev}")
    text = f"{energy_ev:+06.2f}"
    return "+00.00" if text == "-00.00" else text
