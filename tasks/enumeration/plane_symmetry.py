"""The symmetry of a slab seen from above: rotations, mirrors and shifts onto itself.

Shapes  S operations, N atoms, T repeats of the smallest cell.
Units   Å; in-plane fractions x' = W x + w.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from tasks.enumeration.slabs import Slab
from tasks.structures.standard_frame import folded_in_plane

_SYMPREC_ANG = 0.01
_SHORTEST_ANG = 1.5  # no lattice vector of a crystal is shorter
_NEXT_ANG = 0.35  # images of a point nearer than this are one point, found with some error


@dataclass(frozen=True)
class InPlaneSymmetry:
    """Operations x' = W x + w (in-plane fractions) that keep a slab and its upper side."""

    rotations_S22: NDArray[np.float64]
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
    """Return the operations that keep a slab and its upper side, however wide its cell is.

    They are those of the smallest cell that repeats along a and b: a wide cell may have less
    symmetry than the surface in it (three by two cells of a centred lattice have no mirror).

    Args:
        slab: A slab in the standard frame.

    Returns:
        Rotations and translations as fractions of the slab's own cell.
    """
    atoms = slab.atoms
    counts_2, patch_N = _patch(atoms)
    widths_3 = np.array([*counts_2, 1.0])
    cell = (
        atoms.cell.array / widths_3[:, None],
        atoms.get_scaled_positions()[patch_N] * widths_3,
        atoms.numbers[patch_N],
    )
    steps_T2 = np.stack(np.meshgrid(*map(np.arange, counts_2), indexing="ij"), -1).reshape(-1, 2)
    symmetry = spglib.get_symmetry(cell, symprec=_SYMPREC_ANG)
    if symmetry is None:
        return InPlaneSymmetry(np.tile(np.eye(2), (len(steps_T2), 1, 1)), steps_T2 / counts_2)
    rotations_S33, translations_S3 = symmetry["rotations"], symmetry["translations"]
    climbs_S = np.abs(translations_S3[:, 2] - np.rint(translations_S3[:, 2])) < 1e-3
    upright_S = (rotations_S33[:, 2, 2] == 1) & climbs_S
    upright_S &= (rotations_S33[:, 2, :2] == 0).all(axis=1)
    upright_S &= (rotations_S33[:, :2, 2] == 0).all(axis=1)
    rotations_S22 = rotations_S33[upright_S][:, :2, :2] * counts_2 / counts_2[:, None]
    moved_ST2 = (translations_S3[upright_S][:, None, :2] + steps_T2) / counts_2
    return InPlaneSymmetry(
        np.repeat(rotations_S22, len(steps_T2), axis=0), moved_ST2.reshape(-1, 2)
    )


def _patch(atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often a slab repeats along a and b (2), and the atoms of one repeat."""
    scaled_N3 = atoms.get_scaled_positions()
    apart_NN3 = scaled_N3[:, None] - scaled_N3
    same_NN = atoms.numbers[:, None] == atoms.numbers

    def repeated(counts_2: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which atoms (N, N) are repeats of each other where the cell is divided."""
        widths_3 = np.array([*counts_2, 1.0])
        steps_NN3 = apart_NN3 * widths_3
        # Rounding finds any image as near as the limit; it need not find the nearest of far ones.
        steps_NN3 = (steps_NN3 - np.rint(steps_NN3)) @ (atoms.cell.array / widths_3[:, None])
        return np.asarray(same_NN & ((steps_NN3**2).sum(axis=2) < _SYMPREC_ANG**2))

    most = gcd(*np.unique(atoms.numbers, return_counts=True)[1].tolist())
    counts_2 = np.ones(2, dtype=np.int64)
    for axis in (0, 1):
        for count in range(int(atoms.cell.lengths()[axis] / _SHORTEST_ANG), 1, -1):
            tried_2 = np.ones(2, dtype=np.int64)
            tried_2[axis] = count
            if most % count == 0 and (repeated(tried_2).sum(axis=1) == count).all():
                counts_2[axis] = count
                break
    first_N = repeated(counts_2).argmax(axis=1)
    return counts_2, np.flatnonzero(first_N == np.arange(len(atoms)))
