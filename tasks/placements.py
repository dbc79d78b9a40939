"""Put an adsorbate on a slab: every distinct site and rotation, and seeded random ones.

A placement is a recipe; ``place`` makes the same adslab from it on any machine. The adsorbate is
lowered over its site until a binding atom is one sum of covalent radii from a slab atom, or another
of its atoms would come too near. What overlaps, sinks below the surface or touches nothing is
refused with a reason.

Shapes  P placements, A adsorbate atoms, M atoms of the landscape.
Units   Å, degrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import lcm

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from tasks.adsorbates import Adsorbate
from tasks.contacts import BOND_MARGIN_ANG
from tasks.errors import Refused, UserError
from tasks.identity import candidate_ids, seed_from
from tasks.orientation import axis_fold
from tasks.sites import (
    KINDS,
    Landscape,
    Site,
    SiteKind,
    SurfaceSites,
    landscape,
    surface_sites,
    to_cell,
)
from tasks.slabs import Slab

__all__ = [
    "Adslab",
    "Placement",
    "PlacementSpec",
    "Site",
    "SurfaceSites",
    "adslab_from_recipe",
    "count_placements",
    "enumerate_placements",
    "place",
    "recipe",
    "surface_sites",
]

_BINDING_FACTOR = 1.0  # of r_i + r_j: where a binding atom stops on its way down
_CLEARANCE_FACTOR = 0.8  # of r_i + r_j: where any other atom stops it
_OVERLAP_FACTOR = 0.7
_DEEPEST_ANG = 0.5  # below the atoms of the site
_LEAST_VACUUM_ANG = 3.0


@dataclass(frozen=True)
class Placement:
    """A site and a rotation about the normal; ``seed`` is that of a random one."""

    site: Site
    rotation_deg: float
    seed: int | None = None


@dataclass(frozen=True)
class Adslab:
    """A slab with one adsorbate; slab atoms first, tags 0/1/2, the slab's fixed atoms kept."""

    candidate_id: str
    slab_id: str
    adsorbate: str
    placement: Placement
    atoms: Atoms


@dataclass(frozen=True)
class PlacementSpec:
    """Which placements to make of each adsorbate on each slab.

    ``rotations`` are equally spaced about the normal. Those that the adsorbate's own axis makes
    equal come once; with ``drop_equivalent`` so do those that the site's axis makes equal.
    """

    kinds: tuple[SiteKind, ...] = KINDS
    rotations: int = 3
    random: int = 0
    seed: int = 0
    drop_equivalent: bool = True

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise UserError(f"sites are {', '.join(KINDS)}, got {', '.join(unknown)}")
        if self.rotations < 1:
            raise UserError(f"rotations is at least 1, got {self.rotations}")
        if self.random < 0:
            raise UserError(f"random is 0 or more placements, got {self.random}")
        if not self.kinds and not self.random:
            raise UserError("placements need sites or random ones: name kinds or raise random")


def enumerate_placements(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> tuple[list[Adslab], list[Refused]]:
    """Return the adslabs of one pair, sites first, and what was refused, by candidate id."""
    placements = _placements(slab, sites, adsorbate, spec)
    if not placements:
        return [], []
    ground = sites.landscape
    positions_PA3 = _lowered(slab, ground, adsorbate, placements)
    ids = _ids(slab, adsorbate, positions_PA3)
    reasons = _reasons(slab, ground, adsorbate, placements, positions_PA3)
    adslabs: list[Adslab] = []
    refused: list[Refused] = []
    assemble = _Assembly(slab, adsorbate)
    for p, (placement, candidate, reason) in enumerate(zip(placements, ids, reasons, strict=True)):
        if reason:
            refused.append(Refused(candidate, "placement", reason))
        else:
            atoms = assemble(positions_PA3[p])
            adslabs.append(Adslab(candidate, slab.slab_id, adsorbate.name, placement, atoms))
    return adslabs, refused


def count_placements(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> int:
    """Return how many placements ``enumerate_placements`` makes, placed and refused together."""
    fold = axis_fold(adsorbate.atoms)
    chosen = (site for site in sites.sites if site.kind in spec.kinds)
    return sum(len(_rotations(site, fold, spec)) for site in chosen) + spec.random


def place(
    slab: Slab, adsorbate: Adsorbate, placement: Placement, ground: Landscape | None = None
) -> Adslab:
    """Return the adslab of one placement, the same as its enumeration made; nothing is checked.

    ``ground`` is ``SurfaceSites.landscape``, computed here where it is None.
    """
    seen = landscape(slab) if ground is None else ground
    positions_PA3 = _lowered(slab, seen, adsorbate, [placement])
    (candidate,) = _ids(slab, adsorbate, positions_PA3)
    atoms = _Assembly(slab, adsorbate)(positions_PA3[0])
    return Adslab(candidate, slab.slab_id, adsorbate.name, placement, atoms)


def refusal(
    slab: Slab, adsorbate: Adsorbate, placement: Placement, ground: Landscape | None = None
) -> str:
    """Return why a placement is refused, and an empty string where it is good."""
    seen = landscape(slab) if ground is None else ground
    positions_PA3 = _lowered(slab, seen, adsorbate, [placement])
    return _reasons(slab, seen, adsorbate, [placement], positions_PA3)[0]


def recipe(adslab: Adslab) -> dict[str, object]:
    """Return what regenerates an adslab from its slab and adsorbate, as plain JSON values."""
    return {
        "candidate_id": adslab.candidate_id,
        "slab_id": adslab.slab_id,
        "adsorbate": adslab.adsorbate,
        "placement": asdict(adslab.placement),
    }


def adslab_from_recipe(
    stored: Mapping[str, object],
    slab: Slab,
    adsorbate: Adsorbate,
    ground: Landscape | None = None,
) -> Adslab:
    """Return the adslab of a stored recipe; another id than the stored one is an error."""
    if (stored["slab_id"], stored["adsorbate"]) != (slab.slab_id, adsorbate.name):
        raise UserError(
            f"the recipe is of {stored['adsorbate']} on slab {str(stored['slab_id'])[:12]}, "
            f"got {adsorbate.name} on {slab.slab_id[:12]}"
        )
    adslab = place(slab, adsorbate, placement_from(stored["placement"]), ground)
    if adslab.candidate_id != stored["candidate_id"]:
        raise UserError(
            f"the recipe of candidate {str(stored['candidate_id'])[:12]} gives another structure "
            f"here ({adslab.candidate_id[:12]}): it was made by another version; enumerate again"
        )
    return adslab


def placement_from(stored: object) -> Placement:
    """Return the placement in a recipe."""
    try:
        values = dict(stored)  # type: ignore[call-overload]
        site = dict(values["site"])
        x, y, z = (float(value) for value in site["position_3"])
        return Placement(
            Site(
                site["kind"],
                tuple(int(index) for index in site["slab_atoms"]),
                (x, y, z),
                float(site["azimuth_deg"]),
                int(site["fold"]),
            ),
            float(values["rotation_deg"]),
            None if values["seed"] is None else int(values["seed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"a recipe's placement holds site, rotation_deg and seed, got {stored!r}"
        ) from error


def _placements(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> list[Placement]:
    fold = axis_fold(adsorbate.atoms)
    ordered = [
        Placement(site, rotation)
        for site in sites.sites
        if site.kind in spec.kinds
        for rotation in _rotations(site, fold, spec)
    ]
    seeds = [
        seed_from(slab.slab_id, adsorbate.name, spec.seed, number) for number in range(spec.random)
    ]
    return ordered + [_random(slab, sites.landscape, fold, seed) for seed in seeds]


def _rotations(site: Site, fold: int, spec: PlacementSpec) -> list[float]:
    """Return the distinct rotations at a site; ``fold`` is the adsorbate's axis, 0 if linear."""
    if fold == 0:
        return [0.0]
    period = 360.0 / (lcm(fold, site.fold) if spec.drop_equivalent else fold)
    kept: list[float] = []
    for k in range(spec.rotations):
        turn = 360.0 * k / spec.rotations
        if all(_apart(turn, other, period) > 1e-6 for other in kept):
            kept.append(turn)
    return [(site.azimuth_deg + turn) % 360.0 for turn in kept]


def _apart(one: float, other: float, period: float) -> float:
    distance = abs(one - other) % period
    return min(distance, period - distance)


def _random(slab: Slab, ground: Landscape, fold: int, seed: int) -> Placement:
    u, v, turn = np.random.default_rng(seed).random(3)
    x, y = (np.array([u, v]) @ slab.atoms.cell.array[:2, :2]).tolist()
    site = Site("random", (), (x, y, ground.floor_ang))
    return Placement(site, 0.0 if fold == 0 else float(360.0 * turn), seed)


def _lowered(
    slab: Slab, ground: Landscape, adsorbate: Adsorbate, placements: Sequence[Placement]
) -> NDArray[np.float64]:
    """Return the positions (P, A, 3) of the adsorbate's atoms, turned and lowered."""
    turns_P = np.radians([placement.rotation_deg for placement in placements])
    cosine_P1, sine_P1 = np.cos(turns_P)[:, None], np.sin(turns_P)[:, None]
    x_A, y_A, z_A = adsorbate.atoms.positions.T
    points_P3 = np.array([placement.site.position_3 for placement in placements])
    flat_PA2 = np.stack(
        [cosine_P1 * x_A - sine_P1 * y_A, sine_P1 * x_A + cosine_P1 * y_A], axis=2
    )
    flat_PA2 += points_P3[:, None, :2]
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


def _reasons(
    slab: Slab,
    ground: Landscape,
    adsorbate: Adsorbate,
    placements: Sequence[Placement],
    positions_PA3: NDArray[np.float64],
) -> list[str]:
    """Return why each placement is refused, and an empty string for each good one."""
    radii_A = covalent_radii[adsorbate.atoms.numbers]
    z_PA1 = positions_PA3[:, :, 2, None]
    distance_PAM = np.sqrt(
        _flat_distance2(slab, ground, positions_PA3[:, :, :2])
        + (z_PA1 - ground.points_M3[:, 2]) ** 2
    )
    sum_AM = radii_A[:, None] + ground.radii_M[None]
    overlap_P = (distance_PAM / sum_AM).min(axis=(1, 2))
    touch_P = (distance_PAM - sum_AM).min(axis=(1, 2)) - 2.0 * BOND_MARGIN_ANG
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
    if overlap < _OVERLAP_FACTOR:
        return (
            f"{name} overlaps the slab: two atoms at {overlap:.2f} of the sum of their radii, "
            f"{_OVERLAP_FACTOR} allowed"
        )
    if depth > 0.0:
        return (
            f"{name} is below the surface: an atom {depth + _DEEPEST_ANG:.2f} Å under its site, "
            f"{_DEEPEST_ANG} Å allowed"
        )
    if image < 0.0:
        return f"{name} is bonded to its own periodic image: raise min_in_plane_ang"
    if vacuum < _LEAST_VACUUM_ANG:
        return (
            f"{name} leaves {vacuum:.1f} Å of vacuum, at least {_LEAST_VACUUM_ANG:g} needed: "
            "raise vacuum_ang"
        )
    if must_touch and touch >= 0.0:
        return f"no atom of {name} touches the surface: the nearest is {touch:.2f} Å beyond a bond"
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


def _ids(slab: Slab, adsorbate: Adsorbate, positions_PA3: NDArray[np.float64]) -> list[str]:
    scaled_PA3 = positions_PA3 @ np.linalg.inv(slab.atoms.cell.array)
    return candidate_ids(slab.slab_id, adsorbate.name, adsorbate.atoms.numbers, scaled_PA3)


class _Assembly:
    """Joins one slab and one adsorbate; what all placements share is prepared once."""

    def __init__(self, slab: Slab, adsorbate: Adsorbate) -> None:
        self._slab_positions_N3 = slab.atoms.positions
        numbers = np.concatenate([slab.atoms.numbers, adsorbate.atoms.numbers])
        tags = np.concatenate([slab.atoms.get_tags(), np.full(len(adsorbate.atoms), 2)])
        self._template = Atoms(
            numbers, np.zeros((len(numbers), 3)), cell=slab.atoms.cell, pbc=True, tags=tags
        )
        self._template.set_constraint([constraint.copy() for constraint in slab.atoms.constraints])

    def __call__(self, positions_A3: NDArray[np.float64]) -> Atoms:
        atoms = self._template.copy()
        atoms.arrays["positions"] = np.concatenate([self._slab_positions_N3, positions_A3])
        return atoms
