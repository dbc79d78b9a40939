"""Put an adsorbate on a slab: every distinct site and rotation, and seeded random ones.

A placement is a recipe; ``place_adsorbate`` makes the same adslab from it on any machine. How the
adsorbate is lowered onto its site, and what is refused, is in ``docking``.

Shapes  P placements, A adsorbate atoms.
Units   Å, degrees.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import lcm

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tasks.enumeration.adsorbates import Adsorbate
from tasks.enumeration.docking import Placement, aim_point, lowered_positions, refusal_reasons
from tasks.enumeration.landscape import Landscape, landscape
from tasks.enumeration.sites import ENUMERATED_KINDS, Site, SiteKind, SurfaceSites
from tasks.enumeration.slabs import Slab
from tasks.errors import Refusal, UserError
from tasks.structures.identity import candidate_ids, seed_from
from tasks.structures.orientation import axis_fold, mirror_line
from tasks.structures.standard_frame import folded_in_plane

_SAME_AIM_ANG = 0.02  # far below any step of an energy surface, far above rounding
_SAME_TURN_DEG = 0.5  # of mirror images: mirror planes of molecules in files are not exact


@dataclass(frozen=True)
class Adslab:
    """A slab with one adsorbate: slab atoms first, tags 0, 1 and 2, the slab's fixed atoms kept."""

    candidate_id: str
    slab_id: str
    adsorbate: str
    atoms: Atoms


@dataclass(frozen=True)
class PlacedAdslab(Adslab):
    """An adslab that the recipe ``placement`` makes again."""

    placement: Placement


@dataclass(frozen=True)
class PlacementSpec:
    """Which placements to make of each adsorbate on each slab.

    ``rotations`` are equally spaced about the normal. Those that the adsorbate's own axis makes
    equal come once; with ``drop_equivalent`` so do those that the site's axis makes equal, and
    mirror images where site and adsorbate each have a mirror plane.
    """

    kinds: tuple[SiteKind, ...] = ENUMERATED_KINDS
    rotations: int = 3
    random: int = 0
    seed: int = 0
    drop_equivalent: bool = True

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in ENUMERATED_KINDS]
        if unknown:
            raise UserError(f"sites are {', '.join(ENUMERATED_KINDS)}, got {', '.join(unknown)}")
        if self.rotations < 1:
            raise UserError(f"rotations is at least 1, got {self.rotations}")
        if self.random < 0:
            raise UserError(f"random is 0 or more placements, got {self.random}")
        if not self.kinds and not self.random:
            raise UserError("placements need sites or random ones: name kinds or raise random")


def enumerate_placements(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> tuple[list[PlacedAdslab], list[Refusal]]:
    """Return the adslabs of one pair, sites first, and the placements that were refused.

    Args:
        slab: The slab to place on.
        sites: What ``surface_sites`` found on that slab.
        adsorbate: The species to place.
        spec: Kinds of sites, rotations and random placements.

    Returns:
        The adslabs (positions in Å), and the refusals, whose items are candidate ids.

    Example:
        >>> from tasks.enumeration.adsorbates import adsorbate
        >>> from tasks.enumeration.bulks import FormulaSpec, resolve_bulks
        >>> from tasks.enumeration.sites import surface_sites
        >>> from tasks.enumeration.slabs import SlabSpec, enumerate_slabs
        >>> (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
        >>> (slab,), _ = enumerate_slabs(copper, SlabSpec(millers=((1, 1, 1),)))
        >>> adslabs, refused = enumerate_placements(
        ...     slab, surface_sites(slab), adsorbate("OH"), PlacementSpec()
        ... )
        >>> len(adslabs), refused
        (6, [])
    """
    placements = _placements(slab, sites, adsorbate, spec)
    if not placements:
        return [], []
    ground = sites.landscape
    positions_PA3 = lowered_positions(slab, ground, adsorbate, placements)
    ids = _ids(slab, adsorbate, positions_PA3)
    reasons = refusal_reasons(slab, ground, adsorbate, placements, positions_PA3)
    adslabs: list[PlacedAdslab] = []
    refused: list[Refusal] = []
    assemble = _Assembly(slab, adsorbate)
    for p, (placement, candidate, reason) in enumerate(zip(placements, ids, reasons, strict=True)):
        if reason:
            refused.append(Refusal(candidate, "placement", reason))
        else:
            atoms = assemble(positions_PA3[p])
            adslabs.append(PlacedAdslab(candidate, slab.slab_id, adsorbate.name, atoms, placement))
    return adslabs, refused


def count_placements(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> int:
    """Return how many placements ``enumerate_placements`` makes, placed and refused together."""
    fold, line = axis_fold(adsorbate.atoms), mirror_line(adsorbate.atoms)
    chosen = _sites_for(slab, sites, adsorbate, spec)
    return sum(len(_rotations(site, fold, line, spec)) for site in chosen) + spec.random


def place_adsorbate(
    slab: Slab, adsorbate: Adsorbate, placement: Placement, ground: Landscape | None = None
) -> PlacedAdslab:
    """Return the adslab of one placement, the same as its enumeration made; nothing is checked.

    ``ground`` is ``SurfaceSites.landscape``, computed here where it is None.
    """
    seen = landscape(slab) if ground is None else ground
    positions_PA3 = lowered_positions(slab, seen, adsorbate, [placement])
    (candidate,) = _ids(slab, adsorbate, positions_PA3)
    atoms = _Assembly(slab, adsorbate)(positions_PA3[0])
    return PlacedAdslab(candidate, slab.slab_id, adsorbate.name, atoms, placement)


def refusal_reason(
    slab: Slab, adsorbate: Adsorbate, placement: Placement, ground: Landscape | None = None
) -> str:
    """Return why a placement is refused, and an empty string where it is good."""
    seen = landscape(slab) if ground is None else ground
    positions_PA3 = lowered_positions(slab, seen, adsorbate, [placement])
    return refusal_reasons(slab, seen, adsorbate, [placement], positions_PA3)[0]


def adslab_recipe(adslab: PlacedAdslab) -> dict[str, object]:
    """Return the recipe that makes the adslab from slab and adsorbate, as plain JSON values."""
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
) -> PlacedAdslab:
    """Return the adslab of a stored recipe; another id than the stored one is an error."""
    if (stored["slab_id"], stored["adsorbate"]) != (slab.slab_id, adsorbate.name):
        raise UserError(
            f"the recipe is of {stored['adsorbate']} on slab {str(stored['slab_id'])[:12]}, "
            f"got {adsorbate.name} on {slab.slab_id[:12]}"
        )
    adslab = place_adsorbate(slab, adsorbate, placement_from(stored["placement"]), ground)
    if adslab.candidate_id != stored["candidate_id"]:
        raise UserError(
            f"the recipe of candidate {str(stored['candidate_id'])[:12]} gives another structure "
            f"here ({adslab.candidate_id[:12]}): it was made by another version; enumerate again"
        )
    return adslab


def placement_from(stored: object) -> Placement:
    """Return the placement in a recipe.

    Args:
        stored: The ``placement`` of a recipe, as JSON was read.

    Returns:
        The site (Å, degrees) and the rotation.

    Raises:
        UserError: a key is missing or a value is no number.
    """
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
                None if site.get("mirror_deg") is None else float(site["mirror_deg"]),
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
    fold, line = axis_fold(adsorbate.atoms), mirror_line(adsorbate.atoms)
    ordered = [
        Placement(site, rotation)
        for site in _sites_for(slab, sites, adsorbate, spec)
        for rotation in _rotations(site, fold, line, spec)
    ]
    seeds = [
        seed_from(slab.slab_id, adsorbate.name, spec.seed, number) for number in range(spec.random)
    ]
    return ordered + [_random(slab, sites.landscape, fold, seed) for seed in seeds]


def _sites_for(
    slab: Slab, sites: SurfaceSites, adsorbate: Adsorbate, spec: PlacementSpec
) -> list[Site]:
    """Return the requested sites, without those whose aim is that of an earlier one."""
    plane_22 = slab.atoms.cell.array[:2, :2]
    kept: list[Site] = []
    aims: list[NDArray[np.float64]] = []
    for site in sites.sites:
        point_2 = np.array(aim_point(slab, adsorbate, site)) @ np.linalg.inv(plane_22)
        if site.kind in spec.kinds and all(
            np.linalg.norm(folded_in_plane(point_2 - other, plane_22)) > _SAME_AIM_ANG
            for other in aims
        ):
            kept.append(site)
            aims.append(point_2)
    return kept


def _rotations(site: Site, fold: int, line: float | None, spec: PlacementSpec) -> list[float]:
    """Return the distinct rotations at a site.

    Args:
        site: The site, with its axis and mirror plane.
        fold: Order of the adsorbate's axis, 0 if linear.
        line: Direction of a mirror plane of the adsorbate, if any.
        spec: How many rotations, and whether equivalent ones are dropped.

    Returns:
        Rotations about the normal in degrees.
    """
    if fold == 0:
        return [0.0]
    period = 360.0 / (lcm(fold, site.fold) if spec.drop_equivalent else fold)
    mirrors = None
    if spec.drop_equivalent and line is not None and site.mirror_deg is not None:
        mirrors = (site.mirror_deg, line)
    kept: list[float] = []
    for k in range(spec.rotations):
        turn = site.azimuth_deg + 360.0 * k / spec.rotations
        if any(_apart(turn, other, period) <= 1e-6 for other in kept):
            continue
        twin = mirror_twin(turn, *mirrors) if mirrors else None
        if twin is not None and any(_apart(twin, each, period) < _SAME_TURN_DEG for each in kept):
            continue
        kept.append(turn)
    return [turn % 360.0 for turn in kept]


def mirror_twin(rotation_deg: float, site_deg: float, line_deg: float) -> float:
    """Return the rotation whose adslab is the mirror image of that at ``rotation_deg``.

    Mirrored in a plane of the site (along ``site_deg``) and in one of its own (``line_deg``), the
    adsorbate is turned as a whole.
    """
    return 2.0 * (site_deg - line_deg) - rotation_deg


def _apart(one: float, other: float, period: float) -> float:
    distance = abs(one - other) % period
    return min(distance, period - distance)


def _random(slab: Slab, ground: Landscape, fold: int, seed: int) -> Placement:
    u, v, turn = np.random.default_rng(seed).random(3)
    x, y = (np.array([u, v]) @ slab.atoms.cell.array[:2, :2]).tolist()
    site = Site("random", (), (x, y, ground.floor_ang))
    return Placement(site, 0.0 if fold == 0 else float(360.0 * turn), seed)


def _ids(slab: Slab, adsorbate: Adsorbate, positions_PA3: NDArray[np.float64]) -> list[str]:
    scaled_PA3 = positions_PA3 @ np.linalg.inv(slab.atoms.cell.array)
    return candidate_ids(slab.slab_id, adsorbate.name, adsorbate.atoms.numbers, scaled_PA3)


class _Assembly:
    """Joins one slab and one adsorbate; the parts that all placements share are prepared once."""

    def __init__(self, slab: Slab, adsorbate: Adsorbate) -> None:
        self._slab_positions_N3 = slab.atoms.positions
        numbers = np.concatenate([slab.atoms.numbers, adsorbate.atoms.numbers])
        tags = np.concatenate([slab.atoms.get_tags(), np.full(len(adsorbate.atoms), 2)])
        self._template = Atoms(
            numbers, np.zeros((len(numbers), 3)), cell=slab.atoms.cell, pbc=True, tags=tags
        )
        self._template.set_constraint([constraint.copy() for constraint in slab.atoms.constraints])

    def __call__(self, positions_A3: NDArray[np.float64]) -> Atoms:
        atoms: Atoms = self._template.copy()
        atoms.arrays["positions"] = np.concatenate([self._slab_positions_N3, positions_A3])
        return atoms
