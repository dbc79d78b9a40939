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

from tasks.contacts import Neighbours, neighbours
from tasks.errors import UserError
from tasks.slabs import Slab

SiteKind = Literal["atop", "bridge", "hollow", "random"]
KINDS: tuple[SiteKind, ...] = ("atop", "bridge", "hollow")

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
    top_ang: float  # height of the highest slab atom
    floor_ang: float  # height of the lowest surface atom
    bottom_ang: float


@dataclass(frozen=True)
class SurfaceSites:
    """What is computed once for each slab and shared by all its adsorbates."""

    slab_id: str
    sites: tuple[Site, ...]
    neighbours: Neighbours  # bonded neighbours of each slab atom, in index order
    landscape: Landscape


def surface_sites(slab: Slab) -> SurfaceSites:
    """Return the distinct sites of a slab's upper surface, atop first, and its landscape."""
    if not (slab.atoms.get_tags() == 1).any():
        raise UserError(f"slab {slab.slab_id[:12]} has no atom of tag 1: tag its surface atoms")
    sites = _distinct(slab, _all_sites(slab))
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
    """Return the periodic landscape of a slab's upper surface."""
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
        float(z_N.max()),
        float(z_N[slab.atoms.get_tags() == 1].min()),
        float(z_N.min()),
    )


def _all_sites(slab: Slab) -> list[Site]:
    """Return the sites of the whole cell, those of one kind ordered by position."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    exposed = _seen_from_above(slab)
    home_K2 = to_cell(slab.atoms.positions[exposed, :2], plane_22)
    # Empty circles of a surface are small; 12 Å keeps the border of the cloud away from the cell.
    shifts_I2 = _images(plane_22, 12.0)
    order = np.argsort(np.linalg.norm(shifts_I2, axis=1), kind="stable")  # the cell itself first
    cloud_P2 = (shifts_I2[order][:, None] + home_K2[None]).reshape(-1, 2)
    index_P = np.tile(exposed, len(shifts_I2))
    edges, faces = _edges_and_faces(cloud_P2, len(exposed))
    groups: list[tuple[SiteKind, tuple[int, ...]]] = [("atop", (k,)) for k in range(len(exposed))]
    groups += [("bridge", edge) for edge in edges]
    groups += [("hollow", face) for face in faces]
    sites = [_site(slab, kind, corners, cloud_P2, index_P) for kind, corners in groups]
    return _ordered(_short_bridges(slab, sites, groups, cloud_P2), plane_22)


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
    return surface[~hidden_K]


def _edges_and_faces(
    cloud_P2: NDArray[np.float64], home: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return edges and faces with a corner among the first ``home`` points, as sorted corners."""
    triangulation = Delaunay(cloud_P2)
    triangles_T3 = triangulation.simplices
    near_T = np.flatnonzero((triangles_T3 < home).any(axis=1))
    centre_T2 = _circumcentres(cloud_P2[triangles_T3])
    edges: set[tuple[int, ...]] = set()
    faces: set[tuple[int, ...]] = set()
    for start in near_T.tolist():
        face = _face(start, triangulation.neighbors, centre_T2)
        faces.add(tuple(sorted(set(triangles_T3[face].ravel().tolist()))))
        for side in range(3):  # the edge opposite to corner ``side`` borders neighbour ``side``
            if triangulation.neighbors[start, side] not in face:
                corners = np.delete(triangles_T3[start], side)
                edges.add(tuple(sorted(corners.tolist())))
    return sorted(e for e in edges if e[0] < home), sorted(f for f in faces if f[0] < home)


def _face(
    start: int, neighbours_T3: NDArray[np.int32], centre_T2: NDArray[np.float64]
) -> list[int]:
    """Return the triangles that share the circumcircle of ``start``, itself among them."""
    face, front = [start], [start]
    while front:
        for other in neighbours_T3[front.pop()].tolist():
            if other >= 0 and other not in face:
                apart_2 = centre_T2[other] - centre_T2[start]
                if float(apart_2 @ apart_2) < _SAME_ANG**2:
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
    return corners_T32[:, 0] + np.column_stack([x_T, y_T])


def _site(
    slab: Slab,
    kind: SiteKind,
    corners: tuple[int, ...],
    cloud_P2: NDArray[np.float64],
    index_P: NDArray[np.int64],
) -> Site:
    corner_list = list(corners)
    point_2 = cloud_P2[corner_list].mean(axis=0)
    slab_atoms = index_P[corner_list]
    x, y = to_cell(point_2[None], slab.atoms.cell.array[:2, :2])[0].tolist()
    z = float(slab.atoms.positions[slab_atoms, 2].mean())
    azimuth = _azimuth(point_2, cloud_P2, corner_list, kind)
    return Site(kind, tuple(sorted(slab_atoms.tolist())), (x, y, z), azimuth)


def _azimuth(
    point_2: NDArray[np.float64], cloud_P2: NDArray[np.float64], corners: list[int], kind: SiteKind
) -> float:
    """Return the direction (degrees) to the nearest corner, or from an atom to its neighbour."""
    towards_P2 = cloud_P2 - point_2 if kind == "atop" else cloud_P2[corners] - point_2
    distance_P = np.linalg.norm(towards_P2, axis=1)
    nearest = distance_P[distance_P > _SAME_ANG].min()
    chosen_P2 = towards_P2[(distance_P > _SAME_ANG) & (distance_P < nearest + 1e-3)]
    angles = np.degrees(np.arctan2(chosen_P2[:, 1], chosen_P2[:, 0]))
    return float(np.round((np.round(angles, 3) % 360.0).min(), 3))


def _short_bridges(
    slab: Slab,
    sites: list[Site],
    groups: list[tuple[SiteKind, tuple[int, ...]]],
    cloud_P2: NDArray[np.float64],
) -> list[Site]:
    """Return ``sites`` without bridges between atoms too far apart to share an adsorbate."""
    kept = []
    for site, (_, corners) in zip(sites, groups, strict=True):
        if site.kind == "bridge":
            flat = np.linalg.norm(cloud_P2[corners[0]] - cloud_P2[corners[1]])
            radii = covalent_radii[slab.atoms.numbers[list(site.slab_atoms)]].sum()
            if flat > _LONGEST_BRIDGE * radii:
                continue
        kept.append(site)
    return kept


def _ordered(sites: list[Site], plane_22: NDArray[np.float64]) -> list[Site]:
    """Return sites by kind, then height from the top, then position on a grid of 0.01 Å."""

    def key(site: Site) -> tuple[int, int, int, int]:
        x, y, z = (int(np.floor(value * 100 + 0.37)) for value in site.position_3)
        return KINDS.index(site.kind), -z, y, x  # type: ignore[arg-type]

    return sorted(sites, key=key)


def _distinct(slab: Slab, sites: list[Site]) -> tuple[Site, ...]:
    """Return the first site of each orbit of the slab's in-plane symmetry, with its fold."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    inverse_22 = np.linalg.inv(plane_22)
    rotations_S22, translations_S2 = in_plane_symmetry(slab)
    point_K2 = np.array([site.position_3[:2] for site in sites]) @ inverse_22
    height_K = np.array([site.position_3[2] for site in sites])
    kind_K = np.array([KINDS.index(site.kind) for site in sites])  # type: ignore[arg-type]
    taken_K = np.zeros(len(sites), dtype=bool)
    found = []
    for k, site in enumerate(sites):
        if taken_K[k]:
            continue
        image_S2 = rotations_S22 @ point_K2[k] + translations_S2
        apart_KS2 = point_K2[:, None] - image_S2[None]
        apart_KS2 = (apart_KS2 - np.rint(apart_KS2)) @ plane_22
        met_KS = (apart_KS2**2).sum(axis=2) < _SAME_ANG**2
        same_K = (kind_K == kind_K[k]) & (np.abs(height_K - height_K[k]) < _SAME_ANG)
        taken_K |= met_KS.any(axis=1) & same_K
        proper_S = np.linalg.det(rotations_S22[met_KS[k]]) > 0
        turns = {tuple(r.ravel()) for r in rotations_S22[met_KS[k]][proper_S]}
        found.append(Site(site.kind, site.slab_atoms, site.position_3, site.azimuth_deg, len(turns)))
    return tuple(found)


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
