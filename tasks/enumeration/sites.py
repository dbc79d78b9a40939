"""The sites of a slab: atop, bridge and hollow, one of each symmetry-distinct kind.

The surface atoms, seen from above, are joined by a periodic Delaunay triangulation: its corners are
atop sites, its edges bridges, its faces hollows. Triangles that share a circumcircle are one face
(a square is one fourfold hollow, and its diagonal no bridge). The slab's in-plane symmetry (spglib)
keeps one site of each kind. All this is done once for each slab and shared by all adsorbates.

Shapes  N slab atoms, M atoms of the landscape, K sites or surface atoms, S operations.
Units   Å, degrees.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import spglib
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from tasks.enumeration.slabs import Slab
from tasks.errors import UserError
from tasks.structures.contacts import Neighbours, neighbours

SiteKind = Literal["atop", "bridge", "hollow", "random"]
ENUMERATED_KINDS: tuple[SiteKind, ...] = ("atop", "bridge", "hollow")

_SYMPREC_ANG = 0.01
_SAME_ANG = 0.1  # circumcentres and sites nearer than this are one
_COVERED_ANG = 0.7  # an exposed atom this close under another, seen from above, is hidden
_LONGEST_BRIDGE = 1.6  # in units of r_i + r_j: the long bridge of fcc(110) has 1.37
_DEPTH_ANG = 6.0  # deeper atoms never meet an adsorbate on the surface
_MARGIN_ANG = 4.5  # of the landscape around the cell: more than any r_i + r_j


@dataclass(frozen=True)
class Site:
    """Where a binding atom goes: over which slab atoms, at which point (z is their mean height).

    ``azimuth_deg`` is a direction that belongs to the site (along a bridge, to a neighbour) and
    ``fold`` the order of the rotation axis there; both choose rotations and nothing else.
    """

    kind: SiteKind
    slab_atoms: tuple[int, ...]
    position_3: tuple[float, float, float]
    azimuth_deg: float = 0.0
    fold: int = 1


@dataclass(frozen=True)
class Landscape:
    """The atoms an adsorbate can meet, with their in-plane images around the cell."""

    points_M3: NDArray[np.float64]
    index_M: NDArray[np.int64]  # which slab atom each is an image of
    radii_M: NDArray[np.float64]
    floor_ang: float  # height of the lowest surface atom
    bottom_ang: float


@dataclass(frozen=True)
class SurfaceSites:
    """The sites, neighbours and landscape of one slab, shared by all its adsorbates."""

    slab_id: str
    sites: tuple[Site, ...]
    neighbours: Neighbours  # bonded neighbours of each slab atom, in index order
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
    sites = _distinct(slab, _sketch(slab))
    return SurfaceSites(slab.slab_id, sites, neighbours(slab.atoms), landscape(slab))


def to_cell(points_P2: NDArray[np.float64], plane_22: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return in-plane points moved by lattice vectors into the cell at the origin."""
    scaled_P2 = points_P2 @ np.linalg.inv(plane_22)
    return np.asarray((scaled_P2 - np.floor(scaled_P2 + 1e-6)) @ plane_22)


def _images(plane_22: NDArray[np.float64], margin_ang: float) -> NDArray[np.float64]:
    """Return lattice vectors whose cells cover the cell at the origin with a margin."""
    heights_2 = 1.0 / np.linalg.norm(np.linalg.inv(plane_22), axis=0)
    reach = np.ceil(margin_ang / heights_2).astype(int)
    grid = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    return np.asarray(np.stack(grid, -1).reshape(-1, 2) @ plane_22)


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
    shifts_I2 = _images(plane_22, _MARGIN_ANG)
    points_M2 = (shifts_I2[:, None] + inside_K2[None]).reshape(-1, 2)
    index_M = np.tile(near, len(shifts_I2))
    inverse_22 = np.linalg.inv(plane_22)
    margin_2 = _MARGIN_ANG * np.linalg.norm(inverse_22, axis=0)
    scaled_M2 = points_M2 @ inverse_22
    kept_M = np.all((scaled_M2 > -margin_2) & (scaled_M2 < 1.0 + margin_2), axis=1)
    return Landscape(
        np.column_stack([points_M2, z_N[index_M]])[kept_M],
        index_M[kept_M],
        covalent_radii[slab.atoms.numbers[index_M[kept_M]]],
        float(z_N[slab.atoms.get_tags() == 1].min()),
        float(z_N.min()),
    )


@dataclass(frozen=True)
class _Sketch:
    """All sites of a cell before symmetry: what they are, where, and on which surface atoms."""

    kinds: list[SiteKind]
    corners: list[list[int]]  # rows of the cloud
    cloud_P2: NDArray[np.float64]
    index_P: NDArray[np.int64]  # slab atom of each point of the cloud
    points_K3: NDArray[np.float64]


def _sketch(slab: Slab) -> _Sketch:
    """Return the sites of the whole cell by kind, then depth, then position."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    exposed = _seen_from_above(slab)
    home_K2 = to_cell(slab.atoms.positions[exposed, :2], plane_22)
    # Empty circles of a surface are small; 10 Å keep the border of the cloud away from the cell.
    shifts_I2 = _images(plane_22, 10.0)
    order = np.argsort(np.linalg.norm(shifts_I2, axis=1), kind="stable")  # the cell itself first
    cloud_P2 = (shifts_I2[order][:, None] + home_K2[None]).reshape(-1, 2)
    index_P = np.tile(exposed, len(shifts_I2))
    edges, faces = _edges_and_faces(cloud_P2, len(exposed))
    corners = [[k] for k in range(len(exposed))]
    corners += _short(edges, cloud_P2, covalent_radii[slab.atoms.numbers[index_P]])
    n_bridge = len(corners) - len(exposed)
    corners += faces
    counts: dict[SiteKind, int] = {"atop": len(exposed), "bridge": n_bridge, "hollow": len(faces)}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    points_K2 = to_cell(np.array([cloud_P2[c].mean(axis=0) for c in corners]), plane_22)
    z_P = slab.atoms.positions[index_P, 2]
    points_K3 = np.column_stack([points_K2, [z_P[c].mean() for c in corners]])
    # A grid of 0.01 Å whose steps no high-symmetry position sits on keeps the order repeatable.
    steps_K3 = np.floor(points_K3 * 100.0 + 0.37)
    rank_K = np.array([ENUMERATED_KINDS.index(kind) for kind in kinds])
    sequence = np.lexsort((steps_K3[:, 0], steps_K3[:, 1], -steps_K3[:, 2], rank_K)).tolist()
    return _Sketch(
        [kinds[k] for k in sequence],
        [corners[k] for k in sequence],
        cloud_P2,
        index_P,
        points_K3[sequence],
    )


def _short(
    edges: list[list[int]], cloud_P2: NDArray[np.float64], radii_P: NDArray[np.float64]
) -> list[list[int]]:
    """Return the edges short enough for their two atoms to share an adsorbate."""
    ends_E2 = np.array(edges, dtype=np.int64).reshape(-1, 2)
    flat_E = np.linalg.norm(cloud_P2[ends_E2[:, 0]] - cloud_P2[ends_E2[:, 1]], axis=1)
    short_E = flat_E <= _LONGEST_BRIDGE * radii_P[ends_E2].sum(axis=1)
    return [edge for edge, short in zip(edges, short_E.tolist(), strict=True) if short]


def _seen_from_above(slab: Slab) -> NDArray[np.int64]:
    """Return the surface atoms that no higher surface atom hides, in index order."""
    atoms = slab.atoms
    surface = np.flatnonzero(atoms.get_tags() == 1)
    plane_22 = atoms.cell.array[:2, :2]
    apart_KK2 = atoms.positions[surface][:, None, :2] - atoms.positions[surface][None, :, :2]
    scaled_KK2 = apart_KK2 @ np.linalg.inv(plane_22)
    distance_KK = np.linalg.norm((scaled_KK2 - np.rint(scaled_KK2)) @ plane_22, axis=2)
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


def _azimuth(cloud_P2: NDArray[np.float64], corners: list[int], kind: SiteKind) -> float:
    """Return the direction (degrees) to the nearest corner, or from an atom to its neighbour."""
    point_2 = cloud_P2[corners].mean(axis=0)
    towards_P2 = cloud_P2 - point_2 if kind == "atop" else cloud_P2[corners] - point_2
    distance_P = np.linalg.norm(towards_P2, axis=1)
    nearest = distance_P[distance_P > _SAME_ANG].min()
    chosen_P2 = towards_P2[(distance_P > _SAME_ANG) & (distance_P < nearest + 1e-3)]
    angles = np.degrees(np.arctan2(chosen_P2[:, 1], chosen_P2[:, 0]))
    return float(np.round((np.round(angles, 3) % 360.0).min(), 3))


def _distinct(slab: Slab, sketch: _Sketch) -> tuple[Site, ...]:
    """Return the first site of each orbit of the slab's in-plane symmetry, with its fold."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    rotations_S22, translations_S2 = in_plane_symmetry(slab)
    proper_S = np.linalg.det(rotations_S22) > 0
    scaled_K2 = sketch.points_K3[:, :2] @ np.linalg.inv(plane_22)
    height_K = sketch.points_K3[:, 2]
    kind_K = np.array(sketch.kinds)
    taken_K = np.zeros(len(kind_K), dtype=bool)
    found = []
    for k in range(len(kind_K)):
        if taken_K[k]:
            continue
        rivals = np.flatnonzero(
            (kind_K == kind_K[k]) & (np.abs(height_K - height_K[k]) < _SAME_ANG)
        )
        image_S2 = rotations_S22 @ scaled_K2[k] + translations_S2
        apart_RS2 = scaled_K2[rivals][:, None] - image_S2[None]
        apart_RS2 = (apart_RS2 - np.rint(apart_RS2)) @ plane_22
        met_RS = (apart_RS2**2).sum(axis=2) < _SAME_ANG**2
        taken_K[rivals] |= met_RS.any(axis=1)
        fixed_S = met_RS[int(np.searchsorted(rivals, k))] & proper_S
        turns = {tuple(turn) for turn in rotations_S22[fixed_S].reshape(-1, 4).tolist()}
        found.append(_site(sketch, k, max(1, len(turns))))
    return tuple(found)


def _site(sketch: _Sketch, k: int, fold: int) -> Site:
    corners = sketch.corners[k]
    x, y, z = sketch.points_K3[k].tolist()
    slab_atoms = tuple(sorted(sketch.index_P[corners].tolist()))
    azimuth = _azimuth(sketch.cloud_P2, corners, sketch.kinds[k])
    return Site(sketch.kinds[k], slab_atoms, (x, y, z), azimuth, fold)


def in_plane_symmetry(slab: Slab) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return operations x' = W x + w (in-plane fractions) that keep the slab and its upper side."""
    atoms = slab.atoms
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    symmetry = spglib.get_symmetry(cell, symprec=_SYMPREC_ANG)
    if symmetry is None:
        return np.eye(2, dtype=np.int64)[None], np.zeros((1, 2))
    rotations_S33, translations_S3 = symmetry["rotations"], symmetry["translations"]
    climbs_S = np.abs(translations_S3[:, 2] - np.rint(translations_S3[:, 2])) < 1e-3
    upright_S = (rotations_S33[:, 2, 2] == 1) & climbs_S
    upright_S &= (rotations_S33[:, 2, :2] == 0).all(axis=1)
    upright_S &= (rotations_S33[:, :2, 2] == 0).all(axis=1)
    chosen = rotations_S33[upright_S][:, :2, :2].astype(np.int64)
    return chosen, np.asarray(translations_S3[upright_S][:, :2], dtype=np.float64)
