"""The upper atoms of a slab as an adsorbate meets them, and a sphere that is rolled over them.

The height of a rolling sphere is the highest position, right below which it touches an atom of the
slab: a map of the surface whose minima are rests, the natural positions of a binding atom between
its neighbours. Where ``sites`` has none near a rest, the rest becomes a hollow.

Shapes  N slab atoms, M atoms of the landscape, P points in the plane, K sites, C centres.
Units   Å.
"""

from dataclasses import dataclass, replace

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.spatial import cKDTree

from tasks.enumeration.slabs import Slab

_DEPTH_ANG = 6.0  # deeper atoms never meet an adsorbate on the surface
_MARGIN_ANG = 4.5  # of the landscape around the cell: more than any r_i + r_j
_STEP_ANG = 0.2  # of the grid on which rests are looked for
_DEEPEST_ANG = 1.5  # a rest this far below the lowest surface atom is inside the slab
_TOUCH_ANG = 0.1  # a sphere at rest touches the atoms that are this much farther at most


@dataclass(frozen=True)
class Landscape:
    """The atoms an adsorbate can meet, with their in-plane images around the cell."""

    points_M3: NDArray[np.float64]
    index_M: NDArray[np.int64]  # which slab atom each is an image of
    radii_M: NDArray[np.float64]
    floor_ang: float  # height of the lowest surface atom
    bottom_ang: float


def to_cell(points_P2: NDArray[np.float64], plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return in-plane points moved by lattice vectors into the cell at the origin."""
    scaled_P2 = points_P2 @ np.linalg.inv(plane_22)
    return np.asarray((scaled_P2 - np.floor(scaled_P2 + 1e-6)) @ plane_22)


def cell_images(plane_22: NDArray[np.float64], margin_ang: float) -> NDArray[np.float64]:
    """Return lattice vectors whose cells cover the cell at the origin with a margin."""
    heights_2 = 1.0 / np.linalg.norm(np.linalg.inv(plane_22), axis=0)
    reach = np.ceil(margin_ang / heights_2).astype(int)
    grid = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    return np.asarray(np.stack(grid, -1).reshape(-1, 2) @ plane_22)


def near_cell(
    points_P2: NDArray[np.float64], plane_22: NDArray[np.float64], margin_ang: float
) -> NDArray[np.bool_]:
    """Return which in-plane points lie in the cell at the origin or within a margin around it."""
    inverse_22 = np.linalg.inv(plane_22)
    margin_2 = margin_ang * np.linalg.norm(inverse_22, axis=0)
    scaled_P2 = points_P2 @ inverse_22
    return np.asarray(np.all((scaled_P2 > -margin_2) & (scaled_P2 < 1.0 + margin_2), axis=1))


def landscape(slab: Slab) -> Landscape:
    """Return the periodic landscape of a slab's upper surface.

    Args:
        slab: A slab with c along z, whose surface atoms have tag 1.

    Returns:
        M points in Å: the upper atoms of the slab inside the cell and within a margin around it.
    """
    positions_N3 = slab.atoms.positions
    z_N = positions_N3[:, 2]
    plane_22 = slab.atoms.cell.array[:2, :2]
    near = np.flatnonzero(z_N > z_N.max() - _DEPTH_ANG)
    inside_K2 = to_cell(positions_N3[near, :2], plane_22)
    shifts_I2 = cell_images(plane_22, _MARGIN_ANG)
    points_M2 = (shifts_I2[:, None] + inside_K2[None]).reshape(-1, 2)
    kept_M = near_cell(points_M2, plane_22, _MARGIN_ANG)
    index_M = near[np.flatnonzero(kept_M) % len(near)]
    return Landscape(
        np.column_stack([points_M2[kept_M], z_N[index_M]]),
        index_M,
        covalent_radii[slab.atoms.numbers[index_M]],
        float(z_N[slab.atoms.get_tags() == 1].min()),
        float(z_N.min()),
    )


def rolling_heights(
    ground: Landscape, points_P2: NDArray[np.float64], radius_ang: float
) -> NDArray[np.float64]:
    """Return the heights (P, M) at which a sphere that comes down meets each atom.

    It touches at the sum of radii; where it passes an atom by, the height is minus infinity.
    """
    x_PM = points_P2[:, 0, None] - ground.points_M3[:, 0]
    y_PM = points_P2[:, 1, None] - ground.points_M3[:, 1]
    rise2_PM = (ground.radii_M + radius_ang) ** 2 - x_PM**2 - y_PM**2
    met_PM = ground.points_M3[:, 2] + np.sqrt(np.maximum(rise2_PM, 0.0))
    return np.where(rise2_PM > 0.0, met_PM, -np.inf)


class KnownSites:
    """Points of a repeating plane, among which the nearest to any point is found."""

    def __init__(self, points_K2: NDArray[np.float64], plane_22: NDArray[np.float64]) -> None:
        self._plane_22 = plane_22
        self._images_I2 = cell_images(plane_22, 2.0)  # farther is far enough
        self._points_K2 = np.zeros((0, 2))
        self.add(points_K2)

    def add(self, points_K2: NDArray[np.float64]) -> None:
        """Take more points (Å)."""
        self._points_K2 = np.vstack([self._points_K2, to_cell(points_K2, self._plane_22)])
        self._tree = cKDTree((self._images_I2[:, None] + self._points_K2).reshape(-1, 2))

    def distances(self, points_P2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far (Å) each point is from the nearest known one, its images among them."""
        return np.asarray(self._tree.query(to_cell(points_P2, self._plane_22))[0])


def open_atoms(ground: Landscape, plane_22: NDArray[np.float64], radius_ang: float) -> list[int]:
    """Return the rows of the atoms in the cell that a sphere straight above them touches first."""
    scaled_M2 = ground.points_M3[:, :2] @ np.linalg.inv(plane_22)
    home = np.flatnonzero(((scaled_M2 > -1e-5) & (scaled_M2 < 1.0 - 1e-5)).all(axis=1))
    met_KM = rolling_heights(ground, ground.points_M3[home, :2], radius_ang)
    own_K = met_KM[np.arange(len(home)), home]
    return [int(row) for row in home[own_K > met_KM.max(axis=1) - 1e-6]]


def lows_of_the_map(
    ground: Landscape,
    plane_22: NDArray[np.float64],
    away_ang: float,
    sites: KnownSites,
    radius_ang: float,
) -> NDArray[np.float64]:
    """Return where a rolling sphere rests, among the points at least ``away_ang`` from all sites.

    Args:
        ground: The landscape of a slab.
        plane_22: In-plane vectors (Å) of the cell that is looked at; the slab repeats by them.
        away_ang: Nearer rests belong to a site that is there.
        sites: Sites that are there already, all of the cell.
        radius_ang: Of the sphere; atoms of the slab have their covalent radii.

    Returns:
        Points (Å) to some hundredths of an Å, the lowest first, none of them inside the slab.
    """
    counts_2 = np.ceil(np.linalg.norm(plane_22, axis=1) / _STEP_ANG).astype(int)
    steps = np.meshgrid(*(np.arange(n) / n for n in counts_2), indexing="ij")
    grid_P2 = np.stack(steps, axis=-1).reshape(-1, 2) @ plane_22
    # The grid's point nearest to a rest is less than a step from it.
    open_P = sites.distances(grid_P2) > away_ang - _STEP_ANG
    open_GG = open_P.reshape(counts_2)
    if not open_P.any():
        return np.zeros((0, 2))
    seen_P = maximum_filter(open_GG, size=3, mode="wrap").ravel()
    near_M = near_cell(ground.points_M3[:, :2], plane_22, ground.radii_M.max() + radius_ang + 0.5)
    ground = replace(ground, points_M3=ground.points_M3[near_M], radii_M=ground.radii_M[near_M])
    height_P = np.full(len(grid_P2), np.inf)
    height_P[seen_P] = rolling_heights(ground, grid_P2[seen_P], radius_ang).max(axis=1)
    map_GG = height_P.reshape(counts_2)
    lowest_GG = minimum_filter(map_GG, size=3, mode="wrap")
    starts_P2 = grid_P2[(open_GG & (map_GG <= lowest_GG)).ravel()]
    found = [_descended(ground, start_2, radius_ang) for start_2 in starts_P2]
    rests = [low for low in found if low[0] > ground.floor_ang - _DEEPEST_ANG]
    rests.sort(key=lambda low: round(low[0], 2))
    return np.array([point_2 for _, point_2 in rests]).reshape(-1, 2)


def _descended(
    ground: Landscape, start_2: NDArray[np.float64], radius_ang: float
) -> tuple[float, NDArray[np.float64]]:
    """Return the height and position of the minimum that is reached from ``start_2``."""
    angles_P = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    ring_P2 = np.vstack([np.zeros(2), np.column_stack([np.cos(angles_P), np.sin(angles_P)])])
    point_2, height, step = start_2, np.inf, 0.5 * _STEP_ANG
    while step > 0.01:
        height_P = rolling_heights(ground, point_2 + step * ring_P2, radius_ang).max(axis=1)
        lowest = int(np.argmin(height_P))
        point_2, height = point_2 + step * ring_P2[lowest], float(height_P[lowest])
        step = 0.5 * step if lowest == 0 else step
        if not np.isfinite(height):
            break
    return height, point_2


def touched_atoms(ground: Landscape, point_2: NDArray[np.float64], radius_ang: float) -> list[int]:
    """Return the rows of the atoms that a sphere touches where it has come down at a point."""
    height = rolling_heights(ground, point_2[None], radius_ang).max()
    apart_M = np.linalg.norm(ground.points_M3 - np.append(point_2, height), axis=1)
    return [int(m) for m in np.flatnonzero(apart_M < ground.radii_M + radius_ang + _TOUCH_ANG)]


def highest_common_point(
    centres_C3: NDArray[np.float64], reach_C: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Return the highest point at ``reach_C`` from two or three centres, if any.

    Its x and y are in the frame of the given centres.

    The common points of the spheres lie around ``foot`` in the span of the centres' differences,
    square to that span.
    """
    spans_D3 = centres_C3[1:] - centres_C3[0]
    known_D = 0.5 * ((spans_D3**2).sum(axis=1) + reach_C[0] ** 2 - reach_C[1:] ** 2)
    gram_DD = spans_D3 @ spans_D3.T
    if np.linalg.det(gram_DD) < 1e-6:  # three centres in a line
        return None
    weights_D2 = np.linalg.solve(gram_DD, np.column_stack([known_D, spans_D3[:, 2]]))
    foot_3, climb_3 = weights_D2.T @ spans_D3
    up_3 = np.array([0.0, 0.0, 1.0]) - climb_3
    left = float(reach_C[0] ** 2 - foot_3 @ foot_3)
    length = float(np.sqrt(up_3 @ up_3))
    if left < 0.0 or length < 1e-3:  # too far apart, or above one another
        return None
    x, y, _ = (centres_C3[0] + foot_3 + up_3 * np.sqrt(left) / length).tolist()
    return x, y
