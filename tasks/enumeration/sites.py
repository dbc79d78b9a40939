"""The sites of a slab: atop, bridge and hollow, one of each symmetry-distinct kind.

The surface atoms, seen from above, are joined by a periodic Delaunay triangulation: its corners are
atop sites, its edges bridges, its faces hollows. Triangles that share a circumcircle are one face
(a square is one fourfold hollow, and its diagonal no bridge). Where that leaves part of the surface
without a site, open atoms below, long edges and rests of a rolling sphere become sites too. The
slab's in-plane symmetry (spglib) keeps one site of each kind. All this is done once for each slab
and shared by all adsorbates.

Shapes  N slab atoms, M atoms of the landscape, K sites or surface atoms, S operations.
Units   Å, degrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Literal

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from model.contract import BOND_RULES, BondRule
from tasks.enumeration.landscape import (
    KnownSites,
    Landscape,
    cell_images,
    landscape,
    lows_of_the_map,
    near_cell,
    open_atoms,
    to_cell,
    touched_atoms,
)
from tasks.enumeration.plane_symmetry import InPlaneSymmetry, in_plane_symmetry
from tasks.enumeration.slabs import Slab
from tasks.errors import UserError
from tasks.structures.bond_rules import slab_neighbours
from tasks.structures.contacts import Neighbours
from tasks.structures.standard_frame import folded_in_plane

SiteKind = Literal["atop", "bridge", "hollow", "random"]
ENUMERATED_KINDS: tuple[SiteKind, ...] = ("atop", "bridge", "hollow")

_SAME_ANG = 0.1  # circumcentres and sites nearer than this are one
_COVERED_ANG = 0.7  # an exposed atom this close under another, seen from above, is hidden
_LONGEST_BRIDGE = 1.6  # in units of r_i + r_j: the long bridge of fcc(110) has 1.37
_RESOLUTION_ANG = 0.7  # a rest farther from every site than this gets its own: half a bond
_PROBES_ANG = (0.76, 0.31)  # covalent radii of C and H, the largest and smallest common binders


@dataclass(frozen=True)
class Site:
    """Where a binding atom goes: over which slab atoms, at which point (z is their mean height).

    ``azimuth_deg`` is a direction that belongs to the site (along a bridge, to a neighbour),
    ``fold`` the order of the rotation axis there and ``mirror_deg`` the direction of a mirror plane
    through the site, if any; they choose rotations and nothing else.
    """

    kind: SiteKind
    slab_atoms: tuple[int, ...]
    position_3: tuple[float, float, float]
    azimuth_deg: float = 0.0
    fold: int = 1
    mirror_deg: float | None = None


@dataclass(frozen=True)
class SurfaceSites:
    """The sites, neighbours and landscape of one slab, shared by all its adsorbates."""

    slab_id: str
    sites: tuple[Site, ...]
    neighbours: Mapping[BondRule, Neighbours]  # of each slab atom, by the rule of a bond
    landscape: Landscape


def surface_sites(slab: Slab) -> SurfaceSites:
    """Return the distinct sites of a slab's upper surface, with its neighbour lists and landscape.

    Args:
        slab: A slab whose surface atoms have tag 1.

    Returns:
        The sites, atop first, the neighbour lists of the slab and its landscape. Å and degrees.

    Raises:
        UserError: no atom has tag 1.

    Example:
        >>> from tasks.enumeration.bulks import FormulaSpec, resolve_bulks
        >>> from tasks.enumeration.slabs import SlabSpec, enumerate_slabs
        >>> (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
        >>> (slab,), _ = enumerate_slabs(copper, SlabSpec(millers=((1, 1, 1),)))
        >>> [site.kind for site in surface_sites(slab).sites]
        ['atop', 'bridge', 'hollow', 'hollow']
    """
    if not (slab.atoms.get_tags() == 1).any():
        raise UserError(f"slab {slab.slab_id[:12]} has no atom of tag 1: tag its surface atoms")
    ground = landscape(slab)
    symmetry = in_plane_symmetry(slab)
    sites = _distinct(slab, _sketch(slab, ground, symmetry), symmetry)
    neighbours = {rule: slab_neighbours(slab.atoms, rule) for rule in BOND_RULES}
    return SurfaceSites(slab.slab_id, sites, neighbours, ground)


@dataclass(frozen=True)
class _Spot:
    """A site before symmetry; ``corners`` are rows of the cloud."""

    kind: SiteKind
    corners: list[int]
    point_2: NDArray[np.float64]


@dataclass(frozen=True)
class _Sketch:
    """All sites of a cell before symmetry: what they are, where, and on which surface atoms."""

    spots: list[_Spot]
    cloud_P2: NDArray[np.float64]
    index_P: NDArray[np.int64]  # slab atom of each point of the cloud
    triangulated: int  # as many first points of the cloud are images of exposed surface atoms
    points_K3: NDArray[np.float64]


def _sketch(slab: Slab, ground: Landscape, symmetry: InPlaneSymmetry) -> _Sketch:
    """Return the sites of the whole cell by kind, then depth, then position."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    exposed = _seen_from_above(slab)
    home_K2 = to_cell(slab.atoms.positions[exposed, :2], plane_22)
    # Empty circles of a surface are small; 10 Å keep the border of the cloud away from the cell.
    shifts_I2 = cell_images(plane_22, 10.0)
    order = np.argsort(np.linalg.norm(shifts_I2, axis=1), kind="stable")  # the cell itself first
    cloud_P2 = (shifts_I2[order][:, None] + home_K2[None]).reshape(-1, 2)
    near_P = near_cell(cloud_P2, plane_22, 10.0)
    cloud_P2 = cloud_P2[near_P]
    triangulated = len(cloud_P2)
    edges, faces = _edges_and_faces(cloud_P2, len(exposed))
    index_P = np.concatenate([exposed[np.flatnonzero(near_P) % len(exposed)], ground.index_M])
    short, long = _by_length(edges, cloud_P2, covalent_radii[slab.atoms.numbers[index_P]])

    def spots_of(kind: SiteKind, corners: list[list[int]]) -> list[_Spot]:
        points_K2 = _means(cloud_P2, corners)
        return [_Spot(kind, *each) for each in zip(corners, points_K2, strict=True)]

    spots = spots_of("atop", [[k] for k in range(len(exposed))])
    spots += spots_of("bridge", short) + spots_of("hollow", faces)
    bridges = spots_of("bridge", long)
    spots = _completed(spots, bridges, slab, ground, symmetry, triangulated)
    cloud_P2 = np.vstack([cloud_P2, ground.points_M3[:, :2]])
    points_K2 = to_cell(np.array([spot.point_2 for spot in spots]), plane_22)
    z_P = slab.atoms.positions[index_P, 2]
    z_K1 = _means(z_P[:, None], [spot.corners for spot in spots])
    points_K3 = np.column_stack([points_K2, z_K1])
    # A grid of 0.01 Å whose steps no high-symmetry position sits on keeps the order repeatable.
    steps_K3 = np.floor(points_K3 * 100.0 + 0.37)
    rank_K = np.array([ENUMERATED_KINDS.index(spot.kind) for spot in spots])
    sequence = np.lexsort((steps_K3[:, 0], steps_K3[:, 1], -steps_K3[:, 2], rank_K)).tolist()
    ordered = [spots[k] for k in sequence]
    return _Sketch(ordered, cloud_P2, index_P, triangulated, points_K3[sequence])


def _means(values_PD: NDArray[np.float64], corners: list[list[int]]) -> NDArray[np.float64]:
    """Return the mean over each list of rows."""
    if not corners:
        return np.zeros((0, values_PD.shape[1]))
    counts_K = np.array([len(rows) for rows in corners])
    starts_K = np.cumsum(counts_K) - counts_K
    flat_PD = values_PD[[row for rows in corners for row in rows]]
    return np.asarray(np.add.reduceat(flat_PD, starts_K, axis=0) / counts_K[:, None])


def _by_length(
    edges: list[list[int]], cloud_P2: NDArray[np.float64], radii_P: NDArray[np.float64]
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the edges short enough for their two atoms to share an adsorbate, and the others.

    The others come shortest first.
    """
    ends_E2 = np.array(edges, dtype=np.int64).reshape(-1, 2)
    flat_E = np.linalg.norm(cloud_P2[ends_E2[:, 0]] - cloud_P2[ends_E2[:, 1]], axis=1)
    short_E = flat_E <= _LONGEST_BRIDGE * radii_P[ends_E2].sum(axis=1)
    by_length = np.argsort(np.round(flat_E, 3), kind="stable")
    return (
        [edges[e] for e in np.flatnonzero(short_E)],
        [edges[e] for e in by_length if not short_E[e]],
    )


def _completed(
    spots: list[_Spot],
    bridges: list[_Spot],
    slab: Slab,
    ground: Landscape,
    symmetry: InPlaneSymmetry,
    first_row: int,
) -> list[_Spot]:
    """Return ``spots`` and one of each kind that leaves no part of the surface without a site.

    Closed surfaces of metals need nothing. Between the surface atoms of compounds lie atoms of the
    second layer that are open to an adsorbate, long bridges, and rests of a binding atom.

    Args:
        spots: The sites of the triangulation.
        bridges: Its long edges.
        slab: Whose surface it is.
        ground: The landscape, whose rows in the cloud begin at ``first_row``.
        symmetry: Of the slab; a site stands for all its images.
        first_row: See ``ground``.
    """
    cell_22 = slab.atoms.cell.array[:2, :2]
    patch_22 = cell_22 / np.array(symmetry.repeats())[:, None]
    found = list(spots)
    sites_K2 = to_cell(np.array([spot.point_2 for spot in spots]), patch_22)
    # Repeats of the patch bring nothing new.
    known = KnownSites(np.unique(np.round(sites_K2, 2), axis=0), patch_22)

    def add(kind: SiteKind | None, rows: list[int], point_2: NDArray[np.float64]) -> None:
        if known.distances(point_2[None])[0] > _RESOLUTION_ANG:
            known.add(symmetry.images(point_2, cell_22))
            found.append(_Spot(kind or ENUMERATED_KINDS[min(len(rows), 3) - 1], rows, point_2))

    candidates = [
        _Spot("atop", [first_row + row], ground.points_M3[row, :2])
        for row in open_atoms(ground, patch_22, _PROBES_ANG[0])
    ] + bridges
    far_K = known.distances(np.array([spot.point_2 for spot in candidates])) > _RESOLUTION_ANG
    for spot in compress(candidates, far_K):
        add(spot.kind, spot.corners, spot.point_2)
    for radius in _PROBES_ANG:
        for low_2 in lows_of_the_map(ground, patch_22, _RESOLUTION_ANG, known, radius):
            point_2 = symmetry.symmetrised(low_2, cell_22)
            rows = [first_row + row for row in touched_atoms(ground, point_2, radius)]
            add(None, rows, point_2)
    return found


def _seen_from_above(slab: Slab) -> NDArray[np.int64]:
    """Return the surface atoms that no higher surface atom hides, in index order."""
    atoms = slab.atoms
    surface = np.flatnonzero(atoms.get_tags() == 1)
    plane_22 = atoms.cell.array[:2, :2]
    apart_KK2 = atoms.positions[surface][:, None, :2] - atoms.positions[surface][None, :, :2]
    scaled_KK2 = apart_KK2 @ np.linalg.inv(plane_22)
    distance_KK = np.linalg.norm(folded_in_plane(scaled_KK2, plane_22), axis=2)
    z_K = atoms.positions[surface, 2]
    hidden_K = ((distance_KK < _COVERED_ANG) & (z_K[None] > z_K[:, None] + _SAME_ANG)).any(axis=1)
    return np.asarray(surface[~hidden_K], dtype=np.int64)


def _edges_and_faces(
    cloud_P2: NDArray[np.float64], home: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Return edges and faces with a corner among the first ``home`` points, as sorted corners."""
    triangulation = Delaunay(cloud_P2)
    triangles: list[list[int]] = triangulation.simplices.tolist()
    beside: list[list[int]] = triangulation.neighbors.tolist()
    centres = _circumcentres(cloud_P2[triangulation.simplices]).tolist()
    edges: set[tuple[int, ...]] = set()
    faces: set[tuple[int, ...]] = set()
    for start, triangle in enumerate(triangles):
        if min(triangle) >= home:
            continue
        face = _face(start, beside, centres)
        faces.add(tuple(sorted({corner for t in face for corner in triangles[t]})))
        for side in range(3):  # the edge opposite to corner ``side`` borders neighbour ``side``
            if beside[start][side] not in face:
                edges.add(tuple(sorted(triangle[:side] + triangle[side + 1 :])))
    return (
        [list(edge) for edge in sorted(edges) if edge[0] < home],
        [list(face) for face in sorted(faces) if face[0] < home],
    )


def _face(start: int, beside: list[list[int]], centres: list[list[float]]) -> list[int]:
    """Return the triangles that share the circumcircle of ``start``, itself among them."""
    x, y = centres[start]
    face, front = [start], [start]
    while front:
        for other in beside[front.pop()]:
            if other < 0 or other in face:
                continue
            if (centres[other][0] - x) ** 2 + (centres[other][1] - y) ** 2 < _SAME_ANG**2:
                face.append(other)
                front.append(other)
    return face


def _circumcentres(corners_T32: NDArray[np.float64]) -> NDArray[np.float64]:
    a_T2, b_T2 = corners_T32[:, 1] - corners_T32[:, 0], corners_T32[:, 2] - corners_T32[:, 0]
    double_area_T = 2.0 * (a_T2[:, 0] * b_T2[:, 1] - a_T2[:, 1] * b_T2[:, 0])
    safe_T = np.where(np.abs(double_area_T) < 1e-9, 1e-9, double_area_T)
    aa_T, bb_T = (a_T2**2).sum(1), (b_T2**2).sum(1)
    x_T = (b_T2[:, 1] * aa_T - a_T2[:, 1] * bb_T) / safe_T
    y_T = (a_T2[:, 0] * bb_T - b_T2[:, 0] * aa_T) / safe_T
    return np.asarray(corners_T32[:, 0] + np.column_stack([x_T, y_T]))


def _azimuth(sketch: _Sketch, spot: _Spot) -> float:
    """Return the direction (degrees) to the nearest corner, or from an atom to its neighbour."""
    atop = spot.kind == "atop"
    rows = sketch.cloud_P2[: sketch.triangulated] if atop else sketch.cloud_P2[spot.corners]
    towards_P2 = rows - spot.point_2
    distance_P = np.linalg.norm(towards_P2, axis=1)
    nearest = distance_P[distance_P > _SAME_ANG].min()
    chosen_P2 = towards_P2[(distance_P > _SAME_ANG) & (distance_P < nearest + 1e-3)]
    angles = np.degrees(np.arctan2(chosen_P2[:, 1], chosen_P2[:, 0]))
    return float(np.round((np.round(angles, 3) % 360.0).min(), 3))


def _distinct(slab: Slab, sketch: _Sketch, symmetry: InPlaneSymmetry) -> tuple[Site, ...]:
    """Return the first site of each orbit of the in-plane symmetry, with its axis and mirror."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    rotations_S22, translations_S2 = symmetry.rotations_S22, symmetry.translations_S2
    proper_S, lines_S = np.linalg.det(rotations_S22) > 0, symmetry.mirror_lines(plane_22)
    scaled_K2 = sketch.points_K3[:, :2] @ np.linalg.inv(plane_22)
    height_K = sketch.points_K3[:, 2]
    kind_K = np.array([spot.kind for spot in sketch.spots])
    taken_K = np.zeros(len(kind_K), dtype=bool)
    found = []
    for k in range(len(kind_K)):
        if taken_K[k]:
            continue
        rivals = np.flatnonzero(
            (kind_K == kind_K[k]) & (np.abs(height_K - height_K[k]) < _SAME_ANG)
        )
        image_S2 = rotations_S22 @ scaled_K2[k] + translations_S2
        apart_RS2 = folded_in_plane(scaled_K2[rivals][:, None] - image_S2[None], plane_22)
        met_RS = (apart_RS2**2).sum(axis=2) < _SAME_ANG**2
        taken_K[rivals] |= met_RS.any(axis=1)
        fixed_S = met_RS[int(np.searchsorted(rivals, k))]
        turning_S4 = rotations_S22[fixed_S & proper_S].reshape(-1, 4)
        turns = set(map(tuple, np.round(turning_S4, 3).tolist()))
        mirror_deg = min(lines_S[fixed_S & ~proper_S].tolist(), default=None)
        found.append(_site(sketch, k, max(1, len(turns)), mirror_deg))
    return tuple(found)


def _site(sketch: _Sketch, k: int, fold: int, mirror_deg: float | None) -> Site:
    spot = sketch.spots[k]
    x, y, z = sketch.points_K3[k].tolist()
    slab_atoms = tuple(sorted(sketch.index_P[spot.corners].tolist()))
    return Site(spot.kind, slab_atoms, (x, y, z), _azimuth(sketch, spot), fold, mirror_deg)
