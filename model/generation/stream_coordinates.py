"""The coordinates that structure streams are written in.

Slab atoms: fractions of the smallest in-plane lattice, so that a stream writes each atom that
repeats only once.

Adsorbate atoms: bond length, angle to an axis and turn about it, which are nearly constant in
molecules. The axis of the first atom points down to the surface, that of the others to an atom
written before; the turn counts from a sibling, else from the atom behind the axis, else from the
surface normal. Both writing and reading use the positions that the stream's bins stand for, so
errors do not add up.

Shapes  N slab atoms, T translations, K lattice points, P positions for the next atom; 22 holds two
        row vectors in the plane.
Units   Å, degrees; z is the surface normal and x the slab's first primitive vector.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
SAME_ANG = 0.02  # an atom on the image of another one
_AS_SHORT_ANG = 0.05  # bins must not decide which of two vectors is the shorter one
_AROUND_K2 = np.array([[i, j] for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2) if i or j])
_DOWN = np.array([0.0, 0.0, -1.0])
_ALONG = np.array([1.0, 0.0, 0.0])
_STRAIGHT = 0.15  # sine of the angle below which a direction is too close to the axis to turn from


@dataclass(frozen=True)
class PlaneLattice:
    """Primitive vectors (rows), the first along x, and the cell's vectors as multiples of them.

    ``turn_22`` carries in-plane positions of the cell (rows) into this frame.
    """

    primitive_22: NDArray[np.float64]
    repeats_22: NDArray[np.int64]
    turn_22: NDArray[np.float64]

    @property
    def cells(self) -> int:
        """Return how many primitive cells the cell holds."""
        return round(float(np.linalg.det(self.repeats_22)))


def plane_lattice(
    numbers_N: NDArray[np.int64],
    positions_N3: NDArray[np.float64],
    tags_N: NDArray[np.int64],
    plane_22: NDArray[np.float64],
) -> PlaneLattice:
    """Return the lattice of all in-plane translations that leave the slab as it is.

    ``plane_22`` is right-handed. Of several shortest vectors the first is the one least turned from
    the cell's first vector, anticlockwise, so equal slabs are written equally.
    """
    translations_T2 = _translations(numbers_N, positions_N3, tags_N, plane_22)
    lattice = _lattice(translations_T2, plane_22)
    if len(translations_T2) and lattice.cells != len(translations_T2) + 1:
        # A relaxed slab may repeat within the tolerance here and not there: nothing is shared.
        lattice = _lattice(np.zeros((0, 2)), plane_22)
    return lattice


def _lattice(translations_T2: NDArray[np.float64], plane_22: NDArray[np.float64]) -> PlaneLattice:
    vectors_22 = _reduced(translations_T2, plane_22)
    first_2 = vectors_22[0] / np.linalg.norm(vectors_22[0])
    turn_22 = np.array([first_2, [-first_2[1], first_2[0]]]).T
    repeats_22 = plane_22 @ np.linalg.inv(vectors_22)
    whole_22 = np.rint(repeats_22).astype(np.int64)
    if np.abs((repeats_22 - whole_22) @ vectors_22).max() > 5 * SAME_ANG:
        return PlaneLattice(vectors_22 @ turn_22, np.zeros_like(whole_22), turn_22)
    return PlaneLattice(vectors_22 @ turn_22, whole_22, turn_22)


def _translations(
    numbers_N: NDArray[np.int64],
    positions_N3: NDArray[np.float64],
    tags_N: NDArray[np.int64],
    plane_22: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (T, 2) the translations, beside whole cells, that carry the slab onto itself."""
    _, kind_N, count_K = np.unique(
        np.stack([numbers_N, tags_N], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    rarest_N = np.flatnonzero(kind_N.ravel() == np.argmin(count_K))
    same_NN = kind_N.ravel()[:, None] == kind_N.ravel()[None]
    first_3 = positions_N3[rarest_N[0]]
    found = []
    for other in rarest_N[1:]:
        step_3 = positions_N3[other] - first_3
        if abs(step_3[2]) < SAME_ANG:
            apart_NN3 = positions_N3[None] - positions_N3[:, None]
            apart_NN3[..., :2] -= step_3[:2]
            # Rounding finds any image as near as the limit, if not the nearest of far ones.
            turns_NN2 = np.rint(apart_NN3[..., :2] @ np.linalg.inv(plane_22))
            apart_NN3[..., :2] -= turns_NN2 @ plane_22
            on_NN = (np.linalg.norm(apart_NN3, axis=-1) < SAME_ANG) & same_NN
            if on_NN.any(axis=1).all():
                found.append(step_3[:2])
    return np.array(found).reshape(-1, 2)


def _reduced(
    translations_T2: NDArray[np.float64], plane_22: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the two shortest vectors of the lattice, right-handed, in a fixed choice.

    The second one lies in the strip above the first: 0 <= its part along the first < the first.
    """
    home_T2 = np.concatenate([np.zeros((1, 2)), translations_T2])
    points_K2 = (home_T2[:, None] + (_AROUND_K2 @ plane_22)[None]).reshape(-1, 2)
    points_K2 = np.concatenate([points_K2, translations_T2])
    points_K2 = points_K2[np.linalg.norm(points_K2, axis=1) > 5 * SAME_ANG]
    start = np.arctan2(plane_22[0, 1], plane_22[0, 0])
    first_2 = _first_of_shortest(points_K2, start)
    area_K = first_2[0] * points_K2[:, 1] - first_2[1] * points_K2[:, 0]
    beside_K = area_K > 0.1 * (first_2 @ first_2)
    beside_K &= area_K < 1.1 * area_K[beside_K].min()  # with any of these it spans the lattice
    second_2 = _first_of_shortest(points_K2[beside_K], start)
    along = np.floor(second_2 @ first_2 / (first_2 @ first_2) + 1e-3)
    return np.array([first_2, second_2 - along * first_2])


def _first_of_shortest(points_K2: NDArray[np.float64], start: float) -> NDArray[np.float64]:
    """Return the shortest point; of those nearly as short the one least turned from ``start``."""
    length_K = np.linalg.norm(points_K2, axis=1)
    shortest_K2 = points_K2[length_K < length_K.min() + _AS_SHORT_ANG]
    turn_K = (np.arctan2(shortest_K2[:, 1], shortest_K2[:, 0]) - start + 1e-3) % (2 * np.pi)
    return np.asarray(shortest_K2[np.argmin(turn_K)])


def cells_within(repeats_22: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (K, 2) the primitive cells inside a cell of these repeats, in lexical order."""
    corners = np.array([[0, 0], repeats_22[0], repeats_22[1], repeats_22.sum(axis=0)])
    low_2, high_2 = corners.min(axis=0), corners.max(axis=0)
    grid_K2 = np.mgrid[low_2[0] : high_2[0] + 1, low_2[1] : high_2[1] + 1].reshape(2, -1).T
    scaled_K2 = grid_K2 @ np.linalg.inv(repeats_22)
    inside_K = ((scaled_K2 > -1e-6) & (scaled_K2 < 1 - 1e-6)).all(axis=1)
    return np.asarray(grid_K2[inside_K])


@dataclass(frozen=True)
class Polar:
    """A bond: its length, its angle to the axis and its turn about it."""

    length_ang: float
    polar_deg: float
    azimuth_deg: float


@dataclass
class GrowingMolecule:
    """Atoms written so far, each bonded to an earlier one."""

    positions: list[Vector] = field(default_factory=list)
    _near: list[list[int]] = field(default_factory=list)  # bonded by the order of writing

    def start(self, position_3: Vector) -> int:
        """Add the first atom and return its index, 0."""
        self.positions.append(position_3)
        self._near.append([])
        return 0

    def around(
        self, source: int, length_ang: float, polar_deg: float, azimuths_deg: Vector
    ) -> NDArray[np.float64]:
        """Return (P, 3) where an atom bonded to ``source`` lies at each of P turns."""
        axis_3, side_3, third_3 = self._frame(source)
        polar, azimuth_P1 = np.radians(polar_deg), np.radians(azimuths_deg)[:, None]
        around_P3 = np.cos(azimuth_P1) * side_3 + np.sin(azimuth_P1) * third_3
        direction_P3 = np.cos(polar) * axis_3 + np.sin(polar) * around_P3
        return np.asarray(self.positions[source] + length_ang * direction_P3)

    def grow(self, source: int, bond: Polar) -> int:
        """Add an atom bonded to ``source`` and return its index."""
        turn = np.array([bond.azimuth_deg])
        index = len(self.positions)
        self.positions.append(self.around(source, bond.length_ang, bond.polar_deg, turn)[0])
        self._near.append([source])
        self._near[source].append(index)
        return index

    def polar(self, source: int, position_3: Vector) -> Polar:
        """Return the bond from ``source`` that leads to a position."""
        axis_3, side_3, third_3 = self._frame(source)
        apart_3 = position_3 - self.positions[source]
        length = float(np.linalg.norm(apart_3))
        cosine = float(np.clip(apart_3 @ axis_3 / length, -1.0, 1.0))
        turn = float(np.degrees(np.arctan2(apart_3 @ third_3, apart_3 @ side_3)))
        return Polar(length, float(np.degrees(np.arccos(cosine))), turn % 360.0)

    def _frame(self, source: int) -> tuple[Vector, Vector, Vector]:
        """Return axis, the direction turns count from, and the third of a right-handed frame."""
        near = self._near[source]
        if not near:
            return _square(_DOWN, (_ALONG,))
        axis_3 = self.positions[near[0]] - self.positions[source]
        behind = [atom for atom in self._near[near[0]] if atom != source]
        if len(near) > 1:  # a sibling
            towards_3 = self.positions[near[-1]] - self.positions[source]
        elif behind:
            towards_3 = self.positions[behind[0]] - self.positions[near[0]]
        else:
            towards_3 = _DOWN
        return _square(axis_3 / np.linalg.norm(axis_3), (towards_3, _DOWN, _ALONG))


def _square(axis_3: Vector, towards: tuple[Vector, ...]) -> tuple[Vector, Vector, Vector]:
    """Return a frame about ``axis_3`` from the first direction that is not along it."""
    for direction_3 in towards:
        side_3 = direction_3 - (direction_3 @ axis_3) * axis_3
        if np.linalg.norm(side_3) > _STRAIGHT * np.linalg.norm(direction_3):
            break
    side_3 = side_3 / np.linalg.norm(side_3)
    return axis_3, side_3, np.cross(axis_3, side_3)
