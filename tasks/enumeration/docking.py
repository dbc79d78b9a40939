"""Lower an adsorbate onto a site, and refuse bad end positions with a reason.

The binding atom is aimed at the point that is one sum of covalent radii from each atom of its
bridge or threefold hollow, and lowered until it is that far from any slab atom or until another of
its atoms would come too near. What overlaps, sinks below the surface or touches nothing is refused.

Shapes  P placements, A adsorbate atoms, M atoms of the landscape, C corners of a site.
Units   Å, degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.landscape import Landscape, highest_common_point, to_cell
from tasks.enumeration.sites import Site
from tasks.enumeration.slabs import Slab
from tasks.structures.contacts import BOND_MARGIN_ANG
from tasks.structures.standard_frame import in_plane_vectors

_BINDING_FACTOR = 1.0  # of r_i + r_j: where a binding atom stops on its way down
_CLEARANCE_FACTOR = 0.8  # of r_i + r_j: where any other atom stops it
OVERLAP_FACTOR = 0.7
_DEEPEST_ANG = 0.5  # below the atoms of the site
_LEAST_VACUUM_ANG = 3.0
_FARTHEST_AIM_ANG = 1.3  # from the middle of a site: facets of steps lean by less


@dataclass(frozen=True)
class Placement:
    """A site and a rotation about the normal; ``seed`` is that of a random one."""

    site: Site
    rotation_deg: float
    seed: int | None = None


def lowered_positions(
    slab: Slab, ground: Landscape, adsorbate: Adsorbate, placements: Sequence[Placement]
) -> NDArray[np.float64]:
    """Return the positions of the adsorbate's atoms, turned and lowered onto the surface.

    Args:
        slab: The slab, whose cell repeats in the plane.
        ground: The slab's atoms that can be met, with their images.
        adsorbate: The species, binding atoms at the origin.
        placements: P sites with rotations.

    Returns:
        (P, A, 3) positions in Å.
    """
    turns_P = np.radians([placement.rotation_deg for placement in placements])
    cosine_P1, sine_P1 = np.cos(turns_P)[:, None], np.sin(turns_P)[:, None]
    x_A, y_A, z_A = adsorbate.atoms.positions.T
    points_P3 = np.array([placement.site.position_3 for placement in placements])
    aims = {site: aim_point(slab, adsorbate, site) for site in {p.site for p in placements}}
    flat_PA2 = np.stack([cosine_P1 * x_A - sine_P1 * y_A, sine_P1 * x_A + cosine_P1 * y_A], axis=2)
    flat_PA2 += np.array([aims[placement.site] for placement in placements])[:, None]
    reach_AM = _stopping_distances(adsorbate, ground)
    distance2_PAM = _flat_distance2(slab, ground, flat_PA2)
    rise2_PAM = reach_AM**2 - distance2_PAM
    stop_PAM = np.where(
        rise2_PAM > 0.0,
        ground.points_M3[:, 2] + np.sqrt(np.maximum(rise2_PAM, 0.0)) - z_A[:, None],
        -np.inf,
    )
    height_P = stop_PAM.max(axis=(1, 2))
    height_P = np.where(np.isfinite(height_P), height_P, points_P3[:, 2])
    return np.dstack([flat_PA2, height_P[:, None] + z_A])


def aim_point(slab: Slab, adsorbate: Adsorbate, site: Site) -> tuple[float, float]:
    """Return the in-plane point over which the binding atom goes down.

    Several binding atoms, atop and fourfold sites keep the middle of the site.
    """
    x, y, _ = site.position_3
    corners = sorted(set(site.slab_atoms))
    if len(adsorbate.binding) != 1 or len(corners) != len(site.slab_atoms):
        return x, y
    if len(corners) not in (2, 3):
        return x, y
    cell_33 = slab.atoms.cell.array
    middle_13 = np.array([site.position_3])
    apart_C3 = in_plane_vectors(middle_13, slab.atoms.positions[corners], cell_33)[0][0]
    binding_radius = covalent_radii[adsorbate.atoms.numbers[adsorbate.binding[0]]]
    reach_C = binding_radius + covalent_radii[slab.atoms.numbers[corners]]
    found = highest_common_point(apart_C3, reach_C)
    if found is None or np.hypot(*found) > _FARTHEST_AIM_ANG:
        return x, y
    return x + found[0], y + found[1]


def _stopping_distances(adsorbate: Adsorbate, ground: Landscape) -> NDArray[np.float64]:
    factor_A = np.full(len(adsorbate.atoms), _CLEARANCE_FACTOR)
    factor_A[list(adsorbate.binding)] = _BINDING_FACTOR
    radii_A = covalent_radii[adsorbate.atoms.numbers]
    return np.asarray(factor_A[:, None] * (radii_A[:, None] + ground.radii_M[None]))


def _flat_distance2(
    slab: Slab, ground: Landscape, flat_PA2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return squared in-plane distances (P, A, M) to the landscape, atoms moved into the cell."""
    shape = flat_PA2.shape
    home_PA2 = to_cell(flat_PA2.reshape(-1, 2), slab.atoms.cell.array[:2, :2]).reshape(shape)
    x_PAM = home_PA2[..., 0, None] - ground.points_M3[:, 0]
    y_PAM = home_PA2[..., 1, None] - ground.points_M3[:, 1]
    return np.asarray(x_PAM**2 + y_PAM**2)


def refusal_reasons(
    slab: Slab,
    ground: Landscape,
    adsorbate: Adsorbate,
    placements: Sequence[Placement],
    positions_PA3: NDArray[np.float64],
    relaxed_ang: float = 0.0,
) -> list[str]:
    """Return why each placement is refused, and an empty string for each good one.

    Args:
        slab: The slab, whose cell repeats in the plane.
        ground: The slab's atoms that can be met, with their images.
        adsorbate: The species that is placed.
        placements: P sites with rotations.
        positions_PA3: Positions (Å) that ``lowered_positions`` gave them.
        relaxed_ang: How much longer (Å) a bond to the slab may be than one of a placement.

    Returns:
        P reasons, each a rule, a colon and the numbers that break it.
    """
    radii_A = covalent_radii[adsorbate.atoms.numbers]
    z_PA1 = positions_PA3[:, :, 2, None]
    distance_PAM = np.sqrt(
        _flat_distance2(slab, ground, positions_PA3[:, :, :2])
        + (z_PA1 - ground.points_M3[:, 2]) ** 2
    )
    sum_AM = radii_A[:, None] + ground.radii_M[None]
    overlap_P = (distance_PAM / sum_AM).min(axis=(1, 2))
    touch_P = (distance_PAM - sum_AM).min(axis=(1, 2)) - 2.0 * BOND_MARGIN_ANG - relaxed_ang
    floor_P = np.array([placement.site.position_3[2] for placement in placements]) - _DEEPEST_ANG
    depth_P = floor_P - positions_PA3[:, :, 2].min(axis=1)
    sky = slab.atoms.cell.array[2, 2] + ground.bottom_ang
    vacuum_P = sky - positions_PA3[:, :, 2].max(axis=1)
    image_P = _image_gaps(slab, radii_A, positions_PA3)
    return [
        _reason(adsorbate.name, placement.seed is None, *values)
        for placement, *values in zip(
            placements,
            overlap_P.tolist(),
            touch_P.tolist(),
            depth_P.tolist(),
            vacuum_P.tolist(),
            image_P.tolist(),
            strict=True,
        )
    ]


def _reason(
    name: str,
    must_touch: bool,
    overlap: float,
    touch: float,
    depth: float,
    vacuum: float,
    image: float,
) -> str:
    if overlap < OVERLAP_FACTOR:
        return (
            f"overlaps the slab: two atoms at {overlap:.2f} of the sum of their radii, "
            f"{OVERLAP_FACTOR} allowed for {name}"
        )
    if depth > 0.0:
        return (
            f"below the surface: an atom of {name} is {depth + _DEEPEST_ANG:.2f} Å under its site, "
            f"{_DEEPEST_ANG} Å allowed"
        )
    if image < 0.0:
        return f"bonded to its own periodic image: raise min_in_plane_ang for {name}"
    if vacuum < _LEAST_VACUUM_ANG:
        return (
            f"too little vacuum: {name} leaves {vacuum:.1f} Å, at least {_LEAST_VACUUM_ANG:g} "
            "needed; raise vacuum_ang"
        )
    if must_touch and touch >= 0.0:
        return f"nothing touches the surface: the nearest atom of {name} is {touch:.2f} Å too far"
    return ""


def _image_gaps(
    slab: Slab, radii_A: NDArray[np.float64], positions_PA3: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much each adsorbate is clear of bonds to its in-plane images."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    # Opposite images are equivalent: four of the eight neighbours do.
    shifts_I2 = np.array([[1, 0], [0, 1], [1, 1], [1, -1]]) @ plane_22
    apart_PAA3 = positions_PA3[:, :, None] - positions_PA3[:, None]
    limit_AA = radii_A[:, None] + radii_A[None] + 2.0 * BOND_MARGIN_ANG
    gaps_IP = []
    for shift_2 in shifts_I2:
        moved_PAA3 = apart_PAA3 + np.append(shift_2, 0.0)
        distance_PAA = np.sqrt((moved_PAA3**2).sum(axis=3))
        gaps_IP.append((distance_PAA - limit_AA).min(axis=(1, 2)))
    return np.asarray(np.min(gaps_IP, axis=0))
