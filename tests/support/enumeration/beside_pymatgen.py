"""Slabs and sites of pymatgen beside ours, and fingerprints that owe nothing to either.

A face is told by its atoms down to 4 Å: densities over depth and distance for each pair of
elements. A site is told by its distances to slab atoms. Mirror images have the same fingerprint.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from pymatgen.analysis.adsorption import AdsorbateSiteFinder
from pymatgen.core.surface import Slab as PymatgenSlab
from pymatgen.core.surface import SlabGenerator
from pymatgen.io.ase import AseAtomsAdaptor

from tasks.enumeration import Bulk, Slab, SlabSpec, enumerate_slabs, surface_sites
from tasks.enumeration.landscape import landscape, rolling_heights
from tasks.enumeration.plane_symmetry import in_plane_symmetry

CARBON_ANG = 0.76
RESOLUTION_ANG = 0.8
_DEPTH_ANG = 4.0
_REACH_ANG = 4.5
_INSIDE_ANG = 1.5  # a rest this far below the lowest surface atom is none
_FAR_ANG = 7.0  # of a site: its surroundings end here


@dataclass(frozen=True)
class Terminations:
    """Of one plane: our slabs, pymatgen's, and faces by an independent search."""

    ours: int
    pymatgen: int
    equivalent: int  # pairs of our slabs with the same face
    missed: int  # faces, above or below, of pymatgen's cuts that we lack


@dataclass(frozen=True)
class Sites:
    """Of one slab: atop, bridge and hollow sites, and what the two lack of each other."""

    ours: tuple[int, int, int]
    pymatgen: tuple[int, int, int]
    equivalent: int  # pairs of our sites with the same surroundings
    far: int  # sites of pymatgen's farther than 0.8 Å from ours
    missed: int  # of these, from where a carbon atom rests on the surface, yet at no site of ours


def terminations(
    bulk: Bulk, miller: tuple[int, int, int], cut_tolerance_ang: float
) -> Terminations:
    """Return the terminations of one plane."""
    spec = SlabSpec(
        millers=(miller,),
        miller_axes="conventional",
        min_thickness_ang=10.0,
        min_in_plane_ang=0.0,
        cut_tolerance_ang=cut_tolerance_ang,
    )
    ours = [face(slab.atoms) for slab in enumerate_slabs(bulk, spec)[0]]
    structure = AseAtomsAdaptor.get_structure(bulk.atoms)
    generator = SlabGenerator(structure, miller, 10.0, 15.0, center_slab=True)
    theirs = []
    for shift in generator.gen_possible_terminations(ftol=cut_tolerance_ang):
        cut = generator.get_slab(shift).get_orthogonal_c_slab()
        theirs += [face(_upright(cut, 1)), face(_upright(cut, -1))]
    return Terminations(
        len(ours),
        len(generator.get_slabs(ftol=cut_tolerance_ang)),
        sum(_alike(one, other) for k, one in enumerate(ours) for other in ours[:k]),
        len(_unlike([each for each in theirs if not any(_alike(each, own) for own in ours)])),
    )


def _upright(slab: PymatgenSlab, side: int) -> Atoms:
    """Return a slab with c along z and one of its two sides up; the lower one is mirrored."""
    atoms = Atoms(
        [site.specie.symbol for site in slab],
        scaled_positions=slab.frac_coords % 1.0,
        cell=slab.lattice.parameters,
        pbc=True,
    )
    atoms.positions[:, 2] *= side
    return atoms


def face(atoms: Atoms) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return the fingerprint of the upper face of a slab with c along z."""
    i, j, distance = neighbor_list("ijd", atoms, _REACH_ANG)
    depth = atoms.positions[:, 2].max() - atoms.positions[i, 2]
    area = float(np.linalg.norm(np.cross(*atoms.cell.array[:2])))
    weight = np.clip(_DEPTH_ANG - depth, 0.0, 1.0) * np.clip(_REACH_ANG - distance, 0.0, 1.0)
    depths, distances = np.arange(0.0, _DEPTH_ANG, 0.25), np.arange(1.0, _REACH_ANG, 0.25)
    at_depth = np.exp(-(((depth[:, None] - depths) / 0.25) ** 2))
    at_distance = np.exp(-(((distance[:, None] - distances) / 0.25) ** 2))
    found = {}
    for one in sorted(set(atoms.numbers.tolist())):
        for other in sorted(set(atoms.numbers.tolist())):
            rows = (atoms.numbers[i] == one) & (atoms.numbers[j] == other)
            values = np.einsum("p,pd,pr->dr", weight[rows], at_depth[rows], at_distance[rows])
            found[one, other] = values / area
    return found


def _alike(
    one: dict[tuple[int, int], NDArray[np.float64]],
    other: dict[tuple[int, int], NDArray[np.float64]],
) -> bool:
    largest = max(values.max() for values in one.values())
    return all(np.abs(one[pair] - other[pair]).max() < 0.02 * largest for pair in one)


def _unlike(
    faces: list[dict[tuple[int, int], NDArray[np.float64]]],
) -> list[dict[tuple[int, int], NDArray[np.float64]]]:
    found: list[dict[tuple[int, int], NDArray[np.float64]]] = []
    for each in faces:
        if not any(_alike(each, other) for other in found):
            found.append(each)
    return found


def sites_of(slab: Slab) -> Sites:
    """Return the sites of one slab."""
    seen = surface_sites(slab)
    symmetry, cell_22 = in_plane_symmetry(slab), slab.atoms.cell.array[:2, :2]
    ours = np.vstack([symmetry.images(np.array(s.position_3[:2]), cell_22) for s in seen.sites])
    theirs = {
        kind: np.array([point[:2] for point in points]).reshape(-1, 2)
        for kind, points in _pymatgen_sites(slab).items()
    }
    points = np.vstack(list(theirs.values()))
    far = points[_apart(points, ours, cell_22) > RESOLUTION_ANG]
    slid = [_slid(slab, point) for point in far]
    ends = np.array([end for end in slid if end is not None]).reshape(-1, 2)
    prints = [(site.kind, _surroundings(slab, np.array(site.position_3))) for site in seen.sites]
    kinds = [site.kind for site in seen.sites]
    return Sites(
        (kinds.count("atop"), kinds.count("bridge"), kinds.count("hollow")),
        (len(theirs["ontop"]), len(theirs["bridge"]), len(theirs["hollow"])),
        sum(
            kind == other_kind and bool(np.abs(own - other).max() < 0.01)
            for k, (kind, own) in enumerate(prints)
            for other_kind, other in prints[:k]
        ),
        len(far),
        int((_apart(ends, ours, cell_22) > RESOLUTION_ANG).sum()),
    )


def _pymatgen_sites(slab: Slab) -> dict[str, list[NDArray[np.float64]]]:
    atoms = slab.atoms.copy()
    atoms.set_constraint()
    structure = AseAtomsAdaptor.get_structure(atoms)
    tags = ["surface" if tag else "subsurface" for tag in slab.atoms.get_tags()]
    taken = PymatgenSlab(
        structure.lattice,
        structure.species,
        structure.frac_coords,
        slab.miller,
        structure,
        0,
        np.eye(3),
        site_properties={"surface_properties": tags},
    )
    finder = AdsorbateSiteFinder(taken, height=0.9)
    found = finder.find_adsorption_sites(  # type: ignore[no-untyped-call]
        distance=0.0, no_obtuse_hollow=False
    )
    return {kind: found[kind] for kind in ("ontop", "bridge", "hollow")}


def _surroundings(slab: Slab, point_3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted distances to the slab, by element, of a point 1 Å above a site."""
    atoms = slab.atoms.repeat((5, 5, 1))
    distance = np.linalg.norm(
        atoms.positions - 2.0 * slab.atoms.cell.array[:2].sum(axis=0) - point_3 - [0.0, 0.0, 1.0],
        axis=1,
    )
    found = [np.sort(distance[atoms.numbers == each]) for each in sorted(set(atoms.numbers))]
    return np.concatenate(
        [np.append(np.minimum(row, _FAR_ANG), [_FAR_ANG] * 150)[:150] for row in found]
    )


def _apart(
    points: NDArray[np.float64], others: NDArray[np.float64], cell_22: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far each point is from the nearest of others in the plane."""
    scaled = (points[:, None] - others[None]) @ np.linalg.inv(cell_22)
    distance = np.linalg.norm((scaled - np.rint(scaled)) @ cell_22, axis=2)
    return np.asarray(distance.min(axis=1, initial=99.0))


def _slid(slab: Slab, point_2: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return where a carbon atom comes to rest that slides down; None where it falls inside."""
    ground, cell_22 = landscape(slab), slab.atoms.cell.array[:2, :2]
    angles = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
    ring = 0.05 * np.column_stack([np.cos(angles), np.sin(angles)])
    while True:
        scaled = point_2 @ np.linalg.inv(cell_22)
        point_2 = (scaled - np.floor(scaled)) @ cell_22
        around = np.vstack([point_2, point_2 + ring])
        heights = rolling_heights(ground, around, CARBON_ANG).max(axis=1)
        lowest = int(heights.argmin())
        if heights[lowest] < ground.floor_ang - _INSIDE_ANG:
            return None
        if lowest == 0:
            return point_2
        point_2 = around[lowest]
