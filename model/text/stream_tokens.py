"""The vocabulary of structure streams: one token for each bin of a coordinate.

A scale is a row of equally spaced values, each with a token of its own such as ``<d:1.10>``.
Elements are written as they are in texts (``Cu``), so that the model may copy them from the prompt.

Units   lengths in Å, angles in degrees, fractions of a primitive lattice vector.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from model.elements import MAX_ATOMIC_NUMBER
from model.errors import ModelError

Tokens = tuple[str, ...]  # those that may come next
STRUCTURE = "<structure>"  # asks for a stream, at the end of a prompt
DESCRIBE = "<describe>"  # asks for a configuration text
SURFACE = "<surface>"  # the slab atom after it is a surface atom (tag 1)
ADSORBATE = "<adsorbate>"  # the slab is written; the adsorbate follows
MARKS = (STRUCTURE, DESCRIBE, SURFACE, ADSORBATE)
ELEMENTS = tuple(chemical_symbols[1 : MAX_ATOMIC_NUMBER + 1])
MOST_HYDROGENS, MOST_BONDS = 4, 4  # on one heavy atom; bonds to other heavy atoms
REACH = 24  # heavy atoms between two bonded ones, counted along the stream


@dataclass(frozen=True)
class Scale:
    """Equally spaced values; ``period`` is the length of a periodic scale, else None."""

    name: str
    low: float
    step: float
    count: int
    decimals: int = 0
    period: float | None = None

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Return the tokens of all bins, in order of their values."""
        return tuple(f"<{self.name}:{value:.{self.decimals}f}>" for value in self.values)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Return the values of all bins."""
        values = self.low + self.step * np.arange(self.count)
        return np.asarray(np.where(np.abs(values) < 1e-9, 0.0, values))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    def token(self, value: float) -> str:
        """Return the token of the bin nearest to ``value``.

        Raises:
            ModelError: the value is beyond the scale, so that no bin stands for it.
        """
        index = round((value - self.low) / self.step)
        if self.period is not None:
            index %= self.count
        if not 0 <= index < self.count:
            last = self.values[-1]
            raise ModelError(
                f"a stream writes {self.name} from {self.low:g} to {last:g}, got {value:.2f}"
            )
        return self.tokens[index]

    def value(self, token: str) -> float:
        """Return the value that a token of this scale stands for."""
        return float(self.values[self._index[token]])


WHOLE = Scale("A", 0, 1, 64)  # a cell length's whole Å ...
HUNDREDTHS = Scale("c", 0, 1, 100)  # ... and its hundredths
REPEAT = Scale("m", -8, 1, 25)  # primitive vectors in a cell vector
FRACTION = Scale("f", 0, 1, 240, period=240)  # 240 holds 1/2, 1/3, 1/4, 1/5 and 1/6 exactly
DISTANCE = Scale("d", -2.0, 0.02, 401, decimals=2)  # bonds, heights and layer gaps
POLAR = Scale("t", 0, 2, 91)
AZIMUTH = Scale("p", 0, 2, 180, period=360)
BACK = Scale("back", 1, 1, REACH)  # the heavy atom this one is bonded to, counted back
RING = Scale("ring", 1, 1, REACH)  # another one it is bonded to: a ring closes
# Hydrogens on a heavy atom, then its bonds to heavy atoms: <h:31> is a CH3 on something.
LABELS = tuple(f"<h:{h}{d}>" for h in range(MOST_HYDROGENS + 1) for d in range(MOST_BONDS + 1))
SCALES = (WHOLE, HUNDREDTHS, REPEAT, FRACTION, DISTANCE, POLAR, AZIMUTH, BACK, RING)


def label_token(hydrogens: int, bonds: int) -> str:
    """Return the token of a heavy atom's hydrogens and bonds to other heavy atoms.

    Raises:
        ModelError: the atom has more of one than any token says.
    """
    if hydrogens > MOST_HYDROGENS or bonds > MOST_BONDS:
        raise ModelError(
            f"a stream writes atoms with at most {MOST_HYDROGENS} hydrogens and {MOST_BONDS} "
            f"other bonds, got {hydrogens} and {bonds}"
        )
    return f"<h:{hydrogens}{bonds}>"


def read_label(token: str) -> tuple[int, int]:
    """Return hydrogens and bonds of a label token."""
    return int(token[3]), int(token[4])


def stream_tokens() -> list[str]:
    """Return every token of streams that is not an element symbol, in a fixed order."""
    return [*MARKS, *LABELS, *(token for scale in SCALES for token in scale.tokens)]


def stream_embeddings(width: int, *, std: float = 0.02) -> NDArray[np.float64]:
    """Return (S, D) starting embeddings of ``stream_tokens()``: neighbouring bins lie close.

    A bin starts at the Fourier features of its value, carried into D dimensions by one random map
    for each scale, beside a direction that its scale shares and a little that is its own.
    """
    random = np.random.default_rng(0)
    own_SD = random.normal(size=(len(MARKS) + len(LABELS), width))
    parts = [own_SD, *(_scale_embeddings(scale, width, random) for scale in SCALES)]
    return np.concatenate([std * part / part.std() for part in parts])


def _scale_embeddings(scale: Scale, width: int, random: np.random.Generator) -> NDArray[np.float64]:
    features_BF = _fourier(scale)
    map_FD = random.normal(size=(features_BF.shape[1], width)) * np.sqrt(2 / features_BF.shape[1])
    shared_D = 0.7 * random.normal(size=width)
    own_BD = 0.3 * random.normal(size=(scale.count, width))
    return np.asarray(features_BF @ map_FD + shared_D + own_BD)


def _fourier(scale: Scale) -> NDArray[np.float64]:
    """Return (B, F) sines and cosines: whole turns of a periodic scale, octaves of another."""
    if scale.period is not None:
        turns_F = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24])
        phase_B = scale.values / scale.period
    else:
        turns_F = 2.0 ** np.arange(-1, 7)
        phase_B = (scale.values - scale.low) / (scale.step * scale.count)
    angle_BF = 2 * np.pi * phase_B[:, None] * turns_F
    return np.concatenate([np.sin(angle_BF), np.cos(angle_BF)], axis=1)
