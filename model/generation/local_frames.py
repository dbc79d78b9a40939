"""Where a new atom lies, seen from the atom it is bonded to.

Bond length, angle to an axis and turn about it: what is nearly constant in molecules. The axis of
the first atom points down to the surface, that of the others to an atom written before; the turn
counts from a sibling, else from the atom behind the axis, else from the surface normal. Both
writing and reading use the positions that the stream's bins stand for, so errors do not add up.

Units   Å, degrees; z is the surface normal and x the slab's first primitive vector.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_DOWN = np.array([0.0, 0.0, -1.0])
_ALONG = np.array([1.0, 0.0, 0.0])
_STRAIGHT = 0.15  # sine of the angle below which a direction is too close to the axis to turn from


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
