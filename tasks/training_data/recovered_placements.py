"""Put the adsorbate of a relaxed adslab back where a screening would have started it.

Screening predicts relaxed energies from unrelaxed placements, so that is what a model must be
trained on. The ideal clean slab is recovered, the site nearest to the relaxed adsorbate is found
among all images of the slab's sites, and the stored geometry of the species is placed there by the
enumerator, turned to the rotation nearest to the relaxed one.

Shapes  A adsorbate atoms, K sites.
Units   Å, degrees.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tasks.enumeration import (
    Adsorbate,
    Placement,
    Site,
    Slab,
    SurfaceSites,
    adsorbate,
    aim_point,
    place_adsorbate,
    refusal_reason,
    surface_sites,
)
from tasks.enumeration.landscape import to_cell
from tasks.enumeration.plane_symmetry import in_plane_symmetry
from tasks.errors import Refusal, UserError
from tasks.structures.identity import content_id, slab_id
from tasks.structures.orientation import species_colours
from tasks.structures.standard_frame import (
    bulk_formula,
    in_plane_vectors,
    joined_adsorbate,
    standard_frame,
)
from tasks.training_data.ideal_slab import ideal_slab
from tasks.training_data.sources import LabelledStructure, SetSpec

_SITE_REACH_ANG = 1.3  # sites farther from the binding atom than this are not its site
_ROTATION_STEP_DEG = 15.0
_NEVER = 1e6


@dataclass(frozen=True)
class RecoveredPlacement:
    """A relaxed frame beside the placement it is the end of.

    ``moved_ang`` is the root mean square distance between the two adsorbates, ``shifted_ang`` the
    in-plane distance of the binding atoms from the site.
    """

    unrelaxed: Atoms
    relaxed: Atoms
    bulk_formula: str
    moved_ang: float
    shifted_ang: float


@dataclass(frozen=True)
class _Ground:
    """An ideal slab with all images of its distinct sites."""

    slab: Slab
    sites: SurfaceSites
    images: tuple[Site, ...]


class PlacementRecovery:
    """Re-places relaxed frames; the sites of a slab are computed once for all its frames."""

    def __init__(self, spec: SetSpec) -> None:
        self._spec = spec
        self._grounds: dict[str, _Ground] = {}

    def __call__(self, frame: LabelledStructure) -> RecoveredPlacement | Refusal:
        """Return the unrelaxed placement of a relaxed frame, or why there is none."""
        try:
            return self._replaced(frame)
        except UserError as error:
            return Refusal(frame.uid, "placement", str(error))

    def _replaced(self, frame: LabelledStructure) -> RecoveredPlacement:
        relaxed = standard_frame(frame.atoms, self._spec.adsorbate_tag)
        in_slab = relaxed.get_tags() != 2
        ground = self._ground(ideal_slab(relaxed[in_slab]), frame)
        species = adsorbate(frame.adsorbate)
        end_A3 = _matched(species, relaxed[~in_slab])
        placement, shifted = _nearest_placement(ground, species, end_A3)
        reason = refusal_reason(ground.slab, species, placement, ground.sites.landscape)
        if reason:
            raise UserError(reason)
        unrelaxed = place_adsorbate(ground.slab, species, placement, ground.sites.landscape).atoms
        moved = _rms_distance(unrelaxed[unrelaxed.get_tags() == 2], species, end_A3)
        return RecoveredPlacement(unrelaxed, relaxed, ground.slab.bulk_formula, moved, shifted)

    def _ground(self, atoms: Atoms, frame: LabelledStructure) -> _Ground:
        # Sites name atoms by index and the id ignores the order of atoms, so positions join it.
        key = slab_id(atoms) + content_id(np.round(atoms.positions, 3).tobytes())
        if key not in self._grounds:
            slab = Slab(slab_id(atoms), "", bulk_formula(atoms), frame.miller, 0.0, "top", atoms)
            self._grounds[key] = _ground_of(slab)
        return self._grounds[key]


def _matched(species: Adsorbate, relaxed: Atoms) -> tuple[NDArray[np.float64], list[str]]:
    """Return the relaxed positions in one image, and their colours, refusing another molecule."""
    positions_A3 = joined_adsorbate(relaxed)
    colours = species_colours(Atoms(relaxed.numbers, positions_A3))
    if sorted(colours) != sorted(species_colours(species.atoms)):
        raise UserError(
            f"the relaxed adsorbate is not {species.name} any more: dissociated or rearranged"
        )
    return positions_A3, colours


def _ground_of(slab: Slab) -> _Ground:
    """Return all symmetry images of the distinct sites of a slab."""
    sites = surface_sites(slab)
    symmetry = in_plane_symmetry(slab)
    images: dict[tuple[str, tuple[int, ...], tuple[float, ...]], Site] = {}
    for site in sites.sites:
        for rotation_22, shift_2 in zip(
            symmetry.rotations_S22, symmetry.translations_S2, strict=True
        ):
            image = _image(slab, site, rotation_22, shift_2)
            images.setdefault((image.kind, image.slab_atoms, _rounded(image)), image)
    return _Ground(slab, sites, tuple(images.values()))


def _rounded(site: Site) -> tuple[float, ...]:
    return tuple(round(value, 2) for value in site.position_3)


def _image(
    slab: Slab, site: Site, rotation_22: NDArray[np.int64], shift_2: NDArray[np.float64]
) -> Site:
    """Return a site carried by one in-plane operation, with the atoms it is carried to."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    inverse_22 = np.linalg.inv(plane_22)
    corners = slab.atoms.positions[list(site.slab_atoms)]
    moved_C2 = ((corners[:, :2] @ inverse_22) @ rotation_22.T + shift_2) @ plane_22
    moved_C3 = np.column_stack([moved_C2, corners[:, 2]])
    _, apart_CN = in_plane_vectors(moved_C3, slab.atoms.positions, slab.atoms.cell.array)
    atoms = tuple(sorted(apart_CN.argmin(axis=1).tolist()))
    flat_2 = (np.array(site.position_3[:2]) @ inverse_22) @ rotation_22.T + shift_2
    x, y = to_cell((flat_2 @ plane_22)[None], plane_22)[0].tolist()
    return Site(site.kind, atoms, (x, y, site.position_3[2]), site.azimuth_deg, site.fold)


def _nearest_placement(
    ground: _Ground, species: Adsorbate, end: tuple[NDArray[np.float64], list[str]]
) -> tuple[Placement, float]:
    """Return the site and rotation whose adsorbate comes nearest to the relaxed one."""
    end_A3, colours = end
    centre_3 = _binding_centre(species, end_A3, colours)
    offsets_K2 = _offsets(ground, species, centre_3)
    distance_K = np.linalg.norm(offsets_K2, axis=1)
    near = np.flatnonzero(distance_K < _SITE_REACH_ANG)
    if len(near) == 0:
        raise UserError(
            f"no site is near {species.name}: it must lie within {_SITE_REACH_ANG} Å, the nearest "
            f"is {distance_K.min():.2f} Å away"
        )
    best = (np.inf, -1, 0.0)
    for k in near.tolist():
        start_A3 = end_A3 - np.append(centre_3[:2] - offsets_K2[k], centre_3[2])
        cost, angle = _best_rotation(species, start_A3, colours)
        best = min(best, (cost, k, angle))
    _, k, angle = best
    return Placement(ground.images[k], angle), float(distance_K[k])


def _binding_centre(
    species: Adsorbate, end_A3: NDArray[np.float64], colours: list[str]
) -> NDArray[np.float64]:
    """Return the centre of the binding atoms; of interchangeable ones the lowest count."""
    own = species_colours(species.atoms)
    taken: list[int] = []
    for index in species.binding:
        same = [a for a, colour in enumerate(colours) if colour == own[index] and a not in taken]
        taken.append(min(same, key=lambda a: float(end_A3[a, 2])))
    return np.asarray(end_A3[taken].mean(axis=0))


def _offsets(
    ground: _Ground, species: Adsorbate, centre_3: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shortest in-plane vectors from where each site aims to the binding centre."""
    aims_K2 = np.array([aim_point(ground.slab, species, site) for site in ground.images])
    apart_K3 = np.pad(centre_3[:2] - aims_K2, ((0, 0), (0, 1)))
    vectors_K3, _ = find_mic(apart_K3, ground.slab.atoms.cell, pbc=(True, True, False))
    return np.asarray(vectors_K3[:, :2])


def _best_rotation(
    species: Adsorbate, start_A3: NDArray[np.float64], colours: list[str]
) -> tuple[float, float]:
    """Return the mean squared distance and the angle of the rotation nearest to ``start_A3``."""
    own = species_colours(species.atoms)
    forbidden_AA = _NEVER * (np.array(own)[:, None] != np.array(colours)[None])
    best = (np.inf, 0.0)
    for angle in np.arange(0.0, 360.0, _ROTATION_STEP_DEG):
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn_33 = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        turned_A3 = species.atoms.positions @ turn_33.T
        apart_AA = ((turned_A3[:, None] - start_A3[None]) ** 2).sum(axis=2) + forbidden_AA
        rows, columns = linear_sum_assignment(apart_AA)
        # Rounded, so that of the equal angles of a symmetric species the smallest is taken.
        best = min(best, (round(float(apart_AA[rows, columns].mean()), 6), float(angle)))
    return best


def _rms_distance(
    placed: Atoms, species: Adsorbate, end: tuple[NDArray[np.float64], list[str]]
) -> float:
    """Return the root mean square distance (Å) between placed and relaxed adsorbate."""
    end_A3, colours = end
    plane_33 = placed.cell.array
    centre_3 = placed.positions.mean(axis=0) - end_A3.mean(axis=0)
    scaled_2 = np.rint(np.linalg.solve(plane_33.T, centre_3))[:2]
    moved_A3 = end_A3 + scaled_2 @ plane_33[:2]
    own = species_colours(species.atoms)
    forbidden_AA = _NEVER * (np.array(own)[:, None] != np.array(colours)[None])
    apart_AA = ((placed.positions[:, None] - moved_A3[None]) ** 2).sum(axis=2) + forbidden_AA
    rows, columns = linear_sum_assignment(apart_AA)
    return float(np.sqrt(apart_AA[rows, columns].mean()))
