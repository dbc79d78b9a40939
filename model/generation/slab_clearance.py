"""Where the next atom of a stream fits: clear of the slab, and bonded to its neighbours alone.

Shapes  S written sites of the slab, I images of a site in the plane, A written atoms of the
        adsorbate, P places for an atom.
Units   Å; heights count from the lowest atom of the slab.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from model.generation.skeleton import BOND_FACTOR
from model.text.stream_tokens import FRACTION, Tokens

_AROUND_I2 = np.mgrid[-2:3, -2:3].reshape(2, -1).T.astype(np.float64)


@dataclass(frozen=True)
class Molecule:
    """An adsorbate as written so far; ``near`` are the atoms that the next one is bonded to."""

    symbols: Sequence[str]
    positions_A3: NDArray[np.float64]
    near: Sequence[int]


class SlabClearance:
    """The slab of a stream as written so far, as balls that further atoms keep out of.

    Two atoms are apart where their distance is ``nearest`` times the sum of their covalent radii or
    more; with 0 everything fits.
    """

    def __init__(self, primitive_22: NDArray[np.float64], nearest: float):
        self._primitive_22 = primitive_22
        self._nearest = nearest
        self._sites_S3: list[NDArray[np.float64]] = []
        self._radii_S: list[float] = []

    @property
    def top(self) -> float:
        """Return the height of the highest atom."""
        return max((float(site_3[2]) for site_3 in self._sites_S3), default=0.0)

    def plane(self, u: float, v: float) -> NDArray[np.float64]:
        """Return the in-plane position of bins ``u`` and ``v`` of the primitive vectors."""
        return np.asarray(np.array([u, v]) / FRACTION.count @ self._primitive_22)

    def add(self, symbol: str, position_3: NDArray[np.float64]) -> None:
        """Put an atom of the primitive cell, which repeats in the plane."""
        self._sites_S3.append(position_3)
        self._radii_S.append(_radius(symbol))

    def fitting(self, symbol: str, tokens: Sequence[str], places_P3: NDArray[np.float64]) -> Tokens:
        """Return the tokens whose places are clear of the slab; all of them where none is."""
        if not self._sites_S3 or self._nearest == 0:
            return tuple(tokens)
        limit_S = self._nearest * (np.array(self._radii_S) + _radius(symbol))
        apart_PS3 = places_P3[:, None] - np.array(self._sites_S3)
        scaled_PS2 = apart_PS3[..., :2] @ np.linalg.inv(self._primitive_22)
        home_PS2 = (scaled_PS2 - np.rint(scaled_PS2)) @ self._primitive_22
        images_PSI2 = home_PS2[:, :, None] + _AROUND_I2 @ self._primitive_22
        aside_PS = (images_PSI2**2).sum(axis=-1).min(axis=-1)
        fits_P = (aside_PS + apart_PS3[..., 2] ** 2 >= limit_S**2).all(axis=1)
        return _chosen(tokens, fits_P)

    def bonding(
        self,
        symbol: str,
        tokens: Sequence[str],
        places_P3: NDArray[np.float64],
        molecule: Molecule,
    ) -> Tokens:
        """Return the tokens whose places bond to the right atoms of the molecule and no others.

        Of these, those that are clear of the slab; where none is, the next best.
        """
        if self._nearest == 0:
            return tuple(tokens)
        radii_A = np.array([_radius(other) for other in molecule.symbols])
        distance_PA = np.linalg.norm(places_P3[:, None] - molecule.positions_A3, axis=-1)
        is_bond_PA = distance_PA < BOND_FACTOR * (radii_A + _radius(symbol))
        is_near_A = np.isin(np.arange(len(radii_A)), molecule.near)
        fits_P = (is_bond_PA == is_near_A).all(axis=1)
        if not fits_P.any():
            fits_P = np.ones_like(fits_P)
        return self.fitting(symbol, _chosen(tokens, fits_P), places_P3[fits_P])


def _chosen(tokens: Sequence[str], fits_P: NDArray[np.bool_]) -> Tokens:
    found = tuple(token for token, fits in zip(tokens, fits_P, strict=True) if fits)
    return found or tuple(tokens)


def _radius(symbol: str) -> float:
    return float(covalent_radii[atomic_numbers[symbol]])
