"""The symmetry of a slab seen from above: rotations, mirrors and shifts onto itself.

Shapes  S operations.
Units   Å; in-plane fractions x' = W x + w.
"""

from dataclasses import dataclass

import numpy as np
import spglib
from numpy.typing import NDArray

from tasks.enumeration.slabs import Slab
from tasks.structures.standard_frame import folded_in_plane

_SYMPREC_ANG = 0.01
_NEXT_ANG = 0.35  # images of a point nearer than this are one point, found with some error


@dataclass(frozen=True)
class InPlaneSymmetry:
    """Operations x' = W x + w (in-plane fractions) that keep a slab and its upper side."""

    rotations_S22: NDArray[np.int64]
    translations_S2: NDArray[np.float64]

    def images(
        self, point_2: NDArray[np.float64], plane_22: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the images of a point (Å) under the operations."""
        scaled_2 = point_2 @ np.linalg.inv(plane_22)
        return np.asarray((self.rotations_S22 @ scaled_2 + self.translations_S2) @ plane_22)

    def mirror_lines(self, plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the direction (degrees, 0 to 180) of each mirror; of a rotation, no meaning."""
        turned_S22 = plane_22.T @ self.rotations_S22 @ np.linalg.inv(plane_22.T)
        twice_S = np.degrees(np.arctan2(turned_S22[:, 1, 0], turned_S22[:, 0, 0]))
        return np.asarray(np.round(twice_S / 2.0, 3) % 180.0)

    def repeats(self) -> tuple[int, int]:
        """Return how often the slab repeats within its cell along a and b."""
        pure_S = (self.rotations_S22 == np.eye(2)).all(axis=(1, 2))
        steps_T2 = self.translations_S2[pure_S] - np.rint(self.translations_S2[pure_S])
        still_T2 = np.abs(steps_T2) < 1e-3
        return int(still_T2[:, 1].sum()), int(still_T2[:, 0].sum())

    def symmetrised(
        self, point_2: NDArray[np.float64], plane_22: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the mean of a point (Å) and those of its images that are next to it."""
        away_S2 = (self.images(point_2, plane_22) - point_2) @ np.linalg.inv(plane_22)
        away_S2 = folded_in_plane(away_S2, plane_22)
        next_S = np.linalg.norm(away_S2, axis=1) < _NEXT_ANG
        return np.asarray(point_2 + away_S2[next_S].mean(axis=0))


def in_plane_symmetry(slab: Slab) -> InPlaneSymmetry:
    """Return the operations that keep a slab and its upper side."""
    atoms = slab.atoms
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    symmetry = spglib.get_symmetry(cell, symprec=_SYMPREC_ANG)
    if symmetry is None:
        return InPlaneSymmetry(np.eye(2, dtype=np.int64)[None], np.zeros((1, 2)))
    rotations_S33, translations_S3 = symmetry["rotations"], symmetry["translations"]
    climbs_S = np.abs(translations_S3[:, 2] - np.rint(translations_S3[:, 2])) < 1e-3
    upright_S = (rotations_S33[:, 2, 2] == 1) & climbs_S
    upright_S &= (rotations_S33[:, 2, :2] == 0).all(axis=1)
    upright_S &= (rotations_S33[:, :2, 2] == 0).all(axis=1)
    chosen = rotations_S33[upright_S][:, :2, :2].astype(np.int64)
    return InPlaneSymmetry(chosen, np.asarray(translations_S3[upright_S][:, :2], dtype=np.float64))
