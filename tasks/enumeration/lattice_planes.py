"""Lattice planes of a crystal: which Miller indices are distinct, and where a plane can be cut.

Everything follows from the crystal's own symmetry operations (spglib), so equivalent planes and
equivalent terminations are found exactly instead of by matching finished slabs. Tests compare the
counts with pymatgen's SlabGenerator.

Shapes  A atoms of the primitive cell, S symmetry operations.
Units   Å; fractional coordinates x' = W x + w.
"""

from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from tasks.enumeration.miller import Miller, reduced_miller
from tasks.errors import UserError
from tasks.structures.symmetrise import inverse_direction

SlabSide = Literal["top", "bottom"]
_SYMPREC_ANG = 0.01


@dataclass(frozen=True)
class Crystal:
    """A bulk with its primitive cell and symmetry; found once for each bulk."""

    numbers_A: NDArray[np.int64]
    scaled_A3: NDArray[np.float64]
    cell_33: NDArray[np.float64]
    rotations_S33: NDArray[np.int64]
    translations_S3: NDArray[np.float64]
    conventional_33: NDArray[np.float64]
    conventional_rotations_S33: NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """Where a family of planes is cut: in the gap at ``height`` (in spacings), seen from a side."""

    height: float
    side: SlabSide


def find_symmetry(atoms: Atoms) -> Crystal:
    """Return the primitive cell and the symmetry of a conventional cell, from one spglib call.

    Args:
        atoms: A crystal in its conventional cell, positions in Å.

    Returns:
        The primitive cell, its A atoms and its S operations, all in the orientation of the given
        cell.

    Raises:
        UserError: spglib finds no symmetry.
    """
    conventional_33 = atoms.cell.array.copy()
    scaled_N3 = np.linalg.solve(conventional_33.T, atoms.positions.T).T
    dataset = spglib.get_symmetry_dataset(
        (conventional_33.tolist(), scaled_N3.tolist(), atoms.numbers.tolist()),
        symprec=_SYMPREC_ANG,
    )
    if dataset is None:
        raise UserError("spglib finds no symmetry in this crystal: check for overlapping atoms")
    _, first_A = np.unique(dataset.mapping_to_primitive, return_index=True)
    primitive_33 = np.array(dataset.primitive_lattice, dtype=np.float64)
    to_primitive_33 = (conventional_33 @ np.linalg.inv(primitive_33)).T  # acts on columns x
    back_33 = np.linalg.inv(to_primitive_33)
    rotations_S33 = np.rint(to_primitive_33 @ dataset.rotations @ back_33).astype(np.int64)
    return Crystal(
        atoms.numbers[np.sort(first_A)],
        (scaled_N3[np.sort(first_A)] @ to_primitive_33.T) % 1.0,
        primitive_33,
        rotations_S33,
        dataset.translations @ to_primitive_33.T,
        conventional_33,
        np.unique(np.asarray(dataset.rotations, dtype=np.int64), axis=0),
    )


def distinct_millers(crystal: Crystal, max_miller: int) -> list[Miller]:
    """Return one index of each symmetry-distinct plane with indices up to ``max_miller``.

    Opposite normals count as one plane: its two sides are cuts of it. Low indices come first.
    """
    span = range(-max_miller, max_miller + 1)
    seen: set[Miller] = set()
    found: list[Miller] = []
    everything = [(h, k, l) for h in span for k in span for l in span]  # noqa: E741
    for miller in sorted(everything, key=_preference):
        if gcd(*miller) != 1 or miller in seen:
            continue
        found.append(miller)
        images = np.array(miller) @ crystal.conventional_rotations_S33
        seen.update(tuple(image) for image in np.vstack([images, -images]).tolist())
    return found


def _preference(miller: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    norm = sum(index * index for index in miller)
    return norm, sum(index < 0 for index in miller), tuple(-index for index in miller)


def preferred_miller(crystal: Crystal, miller: Miller) -> Miller:
    """Return the index that stands for a plane and all that symmetry makes of it."""
    images_S3 = np.array(miller) @ crystal.conventional_rotations_S33
    images = (tuple(image) for image in np.vstack([images_S3, -images_S3]).tolist())
    h, k, l = min(images, key=_preference)  # noqa: E741
    return h, k, l


def primitive_miller(crystal: Crystal, miller: Miller) -> Miller:
    """Return the index of the same planes in the axes of the primitive cell."""
    conventional_33 = np.rint(crystal.conventional_33 @ np.linalg.inv(crystal.cell_33))
    h, k, l = inverse_direction(conventional_33.astype(np.int64)) @ np.array(miller)  # noqa: E741
    return reduced_miller((int(h), int(k), int(l)))


def plane_basis(miller: Miller, cell_33: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return two shortest lattice vectors in the plane and one that climbs one plane, as rows.

    The three are right-handed and span the lattice (determinant 1).
    """
    h, k, l = miller  # noqa: E741
    if h == 0 and k == 0:
        first, second, climb = (1, 0, 0), (0, 1, 0), (0, 0, l)
    else:
        g, u, v = _extended_gcd(h, k)
        _, x, y = _extended_gcd(g, l)
        first, second = (k // g, -h // g, 0), (-u * l, -v * l, g)
        climb = (x * u, x * v, y)
    one, two = _shortest(np.array(first), np.array(second), cell_33)
    basis = np.array([one, two, climb], dtype=np.int64)
    if np.linalg.det(basis @ cell_33) < 0:
        basis[1] *= -1
    return basis


def _extended_gcd(a: int, b: int) -> tuple[int, int, int]:
    """Return (g, u, v) with u a + v b = g > 0."""
    previous, current = (a, 1, 0), (b, 0, 1)
    while current[0]:
        quotient = previous[0] // current[0]
        rest = tuple(p - quotient * c for p, c in zip(previous, current, strict=True))
        previous, current = current, (rest[0], rest[1], rest[2])
    sign = 1 if previous[0] > 0 else -1
    return sign * previous[0], sign * previous[1], sign * previous[2]


def _shortest(
    one: NDArray[np.int64], two: NDArray[np.int64], cell_33: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the Lagrange-reduced basis of a plane, the shorter vector first."""
    metric_33 = cell_33 @ cell_33.T
    while True:
        if two @ metric_33 @ two < one @ metric_33 @ one - 1e-9:
            one, two = two, one
        steps = round(float(one @ metric_33 @ two) / float(one @ metric_33 @ one) - 1e-9)
        if steps == 0:
            return one, two
        two = two - steps * one


def distinct_cuts(crystal: Crystal, plane: Miller, tolerance_ang: float) -> list[Cut]:
    """Return one cut of each symmetry-distinct termination of the planes ``plane``.

    Args:
        crystal: A bulk with its symmetry.
        plane: Miller index in primitive axes.
        tolerance_ang: Each gap between heights of atoms that is wider than this (Å) is a cut.
            Terminations that differ by less corrugation count as one flat layer.

    Returns:
        The tops in order of height, then the bottoms that no operation turns into a top.
    """
    heights = _gaps(crystal, plane, tolerance_ang)
    cuts = [Cut(height, "top") for height in heights]
    cuts += [Cut(height, "bottom") for height in heights]
    reached: set[int] = set()
    found = []
    for index, cut in enumerate(cuts):
        if index in reached:
            continue
        found.append(cut)
        reached.update(_equivalent(crystal, plane, heights, cut))
    return found


def _gaps(crystal: Crystal, plane: Miller, tolerance_ang: float) -> list[float]:
    """Return the middle heights of the gaps between layers, in spacings within [0, 1)."""
    spacing_ang = plane_spacing(crystal, plane)
    height_A = np.sort((crystal.scaled_A3 @ np.array(plane)) % 1.0)
    width_A = np.diff(np.append(height_A, height_A[0] + 1.0))
    wide = np.flatnonzero(width_A * spacing_ang > tolerance_ang)
    if len(wide) == 0:  # atoms at all heights: the cut goes through the widest gap
        wide = np.array([int(np.argmax(width_A))])
    middles = (height_A[wide] + 0.5 * width_A[wide]) % 1.0
    return [float(round(middle, 6) % 1.0) for middle in np.sort(middles)]


def _equivalent(crystal: Crystal, plane: Miller, heights: list[float], cut: Cut) -> set[int]:
    """Return the indices, among all tops and then all bottoms, of the cuts equivalent to one."""
    normal_3 = np.array(plane)
    images_S3 = normal_3 @ crystal.rotations_S33
    shift_S = crystal.translations_S3 @ normal_3
    heights_G = np.array(heights)
    found: set[int] = set()
    for sign in (1, -1):
        kept = np.all(images_S3 == sign * normal_3, axis=1)
        turned = sign == -1
        offset = len(heights) if (cut.side == "bottom") != turned else 0
        images_S = sign * cut.height + shift_S[kept]
        # An operation maps gaps onto gaps, so the nearest one is the image: noise in a translation
        # (the symmetry tolerance at most) is below the half of any gap that is cut.
        away_SG = np.abs((heights_G - images_S[:, None] + 0.5) % 1.0 - 0.5)
        found.update((offset + np.argmin(away_SG, axis=1)).tolist())
    return found


def plane_spacing(crystal: Crystal, plane: Miller) -> float:
    """Return the distance (Å) between neighbouring lattice planes."""
    normal_3 = np.linalg.inv(crystal.cell_33) @ np.array(plane, dtype=np.float64)
    return float(1.0 / np.linalg.norm(normal_3))
