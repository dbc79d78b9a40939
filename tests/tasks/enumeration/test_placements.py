"""Sites are those of the textbook, placements are recipes, and bad ones are refused."""

import json
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from tasks.enumeration import (
    FormulaSpec,
    PlacedAdslab,
    Placement,
    PlacementSpec,
    Site,
    Slab,
    SlabSpec,
    SurfaceSites,
    adslab_from_recipe,
    adslab_recipe,
    adsorbate,
    count_placements,
    enumerate_placements,
    enumerate_slabs,
    place_adsorbate,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.adsorbates import adsorbate_from_atoms
from tasks.enumeration.docking import refusal_reasons
from tasks.enumeration.landscape import landscape
from tasks.enumeration.placements import refusal_reason
from tasks.errors import UserError
from tasks.structures.identity import fixed_mask

SPECIES = ("H", "O", "OH", "CO", "CH3", "CHO", "HCOO", "CH2CH2", "CH3CH2OH", "NH2N(CH3)2")


def slab_of(
    formula: str,
    miller: tuple[int, int, int],
    prototype: str | None = None,
    index: int = 0,
    **spec: float,
) -> Slab:
    (bulk,), _ = resolve_bulks([FormulaSpec(formula, prototype)])
    return enumerate_slabs(bulk, SlabSpec(millers=(miller,), **spec))[0][index]  # type: ignore[arg-type]


def kinds(sites: SurfaceSites) -> dict[str, int]:
    found = [site.kind for site in sites.sites]
    return {kind: found.count(kind) for kind in ("atop", "bridge", "hollow")}


@pytest.fixture(scope="module")
def copper() -> tuple[Slab, SurfaceSites]:
    slab = slab_of("Cu", (1, 1, 1))
    return slab, surface_sites(slab)


def same(one: PlacedAdslab, other: PlacedAdslab) -> bool:
    return (
        one.candidate_id == other.candidate_id
        and one.placement == other.placement
        and bool(np.allclose(one.atoms.positions, other.atoms.positions, atol=1e-9))
        and bool((one.atoms.numbers == other.atoms.numbers).all())
        and bool((one.atoms.get_tags() == other.atoms.get_tags()).all())
    )


@pytest.mark.parametrize(
    ("formula", "prototype", "miller", "atop", "bridge", "hollow"),
    [
        ("Cu", None, (1, 1, 1), 1, 1, 2),  # the hollows are fcc and hcp
        ("Cu", None, (1, 0, 0), 1, 1, 1),
        ("Ru", None, (0, 0, 1), 1, 1, 2),
        ("Fe", None, (1, 1, 0), 1, 2, 1),  # long and short bridge, one threefold hollow
        ("Fe", None, (1, 0, 0), 1, 1, 1),
        ("Cu3Pt", "L1_2", (1, 1, 1), 2, 3, 4),  # Cu3 and Cu2Pt hollows, each fcc and hcp
    ],
)
def test_sites_are_those_of_the_textbook(
    formula: str,
    prototype: str | None,
    miller: tuple[int, int, int],
    atop: int,
    bridge: int,
    hollow: int,
) -> None:
    sites = surface_sites(slab_of(formula, miller, prototype))
    assert kinds(sites) == {"atop": atop, "bridge": bridge, "hollow": hollow}


@pytest.mark.parametrize("width", [0.0, 5.0, 8.0, 11.0])
@pytest.mark.parametrize("miller", [(1, 1, 1), (1, 0, 0), (2, 1, 1)])
def test_sites_do_not_depend_on_the_width_of_the_cell(
    width: float, miller: tuple[int, int, int]
) -> None:
    narrow = kinds(surface_sites(slab_of("Cu", miller, min_in_plane_ang=width)))
    assert narrow == kinds(surface_sites(slab_of("Cu", miller)))


@pytest.mark.parametrize("vacuum", [10.0, 25.0])
def test_sites_do_not_depend_on_the_vacuum(vacuum: float) -> None:
    sites = surface_sites(slab_of("Cu", (2, 1, 1), vacuum_ang=vacuum))
    assert kinds(sites) == kinds(surface_sites(slab_of("Cu", (2, 1, 1))))


def test_sites_know_their_atoms_and_axes(copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper
    atop, bridge, *hollows = sites.sites
    assert [len(s.slab_atoms) for s in sites.sites] == [1, 2, 3, 3]
    assert [s.fold for s in sites.sites] == [3, 1, 3, 3]
    assert atop.position_3 == pytest.approx(slab.atoms.positions[atop.slab_atoms[0]])
    one, other = slab.atoms.positions[list(bridge.slab_atoms)]
    along = np.radians(bridge.azimuth_deg)
    apart = slab.atoms.get_distance(*bridge.slab_atoms, mic=True, vector=True)
    assert abs(np.cross([np.cos(along), np.sin(along)], apart[:2] / np.linalg.norm(apart))) < 1e-3
    assert one[2] == pytest.approx(other[2])
    below = [min(abs(_under(slab, hollow))) for hollow in hollows]
    assert sorted(below) == pytest.approx([2.08, 4.17], abs=0.02)  # hcp over layer 2, fcc over 3


def _under(slab: Slab, site: Site) -> np.ndarray:
    """Return the depths of the atoms right below a site."""
    apart = slab.atoms.positions - np.array(site.position_3)
    scaled = apart[:, :2] @ np.linalg.inv(slab.atoms.cell.array[:2, :2])
    flat = np.linalg.norm((scaled - np.rint(scaled)) @ slab.atoms.cell.array[:2, :2], axis=1)
    return apart[flat < 0.1, 2]


@pytest.mark.parametrize("name", SPECIES)
@pytest.mark.parametrize(
    ("formula", "prototype", "miller"),
    [("Cu", None, (1, 1, 1)), ("Fe", None, (1, 1, 1)), ("Pt3Ni", "L1_2", (2, 1, 1))],
)
def test_every_placement_touches_and_none_overlaps(
    name: str, formula: str, prototype: str | None, miller: tuple[int, int, int]
) -> None:
    slab = slab_of(formula, miller, prototype)
    sites = surface_sites(slab)
    spec = PlacementSpec(rotations=4, random=3)
    adslabs, refused = enumerate_placements(slab, sites, adsorbate(name), spec)
    assert len(adslabs) + len(refused) == count_placements(slab, sites, adsorbate(name), spec)
    assert len(adslabs) >= 0.8 * (len(adslabs) + len(refused))
    ids = [adslab.candidate_id for adslab in adslabs] + [item.item for item in refused]
    assert len(set(ids)) == len(ids)
    n = len(slab.atoms)
    for adslab in adslabs:
        radii = covalent_radii[adslab.atoms.numbers]
        distance = np.array(
            [adslab.atoms.get_distances(a, range(n), mic=True) for a in range(n, len(radii))]
        )
        ratio = distance / (radii[n:, None] + radii[None, :n])
        assert ratio.min() > 0.7
        if adslab.placement.seed is None:
            assert (distance < radii[n:, None] + radii[None, :n] + 0.1).any()


def test_an_adslab_is_the_slab_and_then_the_adsorbate(copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper
    (adslab, *_), _ = enumerate_placements(slab, sites, adsorbate("CO"), PlacementSpec())
    n = len(slab.atoms)
    assert adslab.atoms.positions[:n] == pytest.approx(slab.atoms.positions)
    assert adslab.atoms.get_tags()[n:].tolist() == [2, 2]
    assert (fixed_mask(adslab.atoms)[:n] == fixed_mask(slab.atoms)).all()
    assert not fixed_mask(adslab.atoms)[n:].any()
    carbon, oxygen = adslab.atoms.positions[-2:]
    assert sorted(adslab.atoms.symbols[-2:]) == ["C", "O"]
    assert abs(carbon[2] - oxygen[2]) == pytest.approx(1.13, abs=0.03)


def test_rotations_that_change_nothing_come_once(copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper

    def count(name: str, rotations: int, drop: bool = True) -> int:
        spec = PlacementSpec(rotations=rotations, drop_equivalent=drop)
        return count_placements(slab, sites, adsorbate(name), spec)

    assert count("H", 6) == count("CO", 6) == 4
    assert count("OH", 6, drop=False) == 24
    # Threefold sites make 120 degrees equal, the mirror plane between two neighbours 0 and 60 atop,
    # that across a bridge 0 and 180.
    assert count("OH", 6) == 1 + 3 + 2 + 2
    assert count("NH3", 6, drop=False) == 4 * 2
    assert count("HCOO", 6) == 1 + 2 + 1 + 1
    assert count("CH2CH2OH", 6) == 2 + 6 + 2 + 2  # it has no mirror plane


def distances(adslab: PlacedAdslab, n: int) -> list[float]:
    """Return what a mirror image keeps: sorted distances of each element to those of the slab."""
    atoms = adslab.atoms.repeat((5, 5, 1))
    atoms.positions -= 2.0 * (adslab.atoms.cell[0] + adslab.atoms.cell[1])
    kept = []
    for one in sorted(set(adslab.atoms.numbers[n:])):
        for other in sorted(set(adslab.atoms.numbers[:n])):
            upper = adslab.atoms.positions[n:][adslab.atoms.numbers[n:] == one]
            lower = atoms.positions[(atoms.get_tags() < 2) & (atoms.numbers == other)]
            apart = np.linalg.norm(upper[:, None] - lower[None], axis=2)
            kept += np.sort(apart.ravel())[:30].tolist()
    return kept


@pytest.mark.parametrize("name", ["OH", "CHO", "CH3", "HCOO"])
@pytest.mark.parametrize(
    ("formula", "prototype", "miller"),
    [("Cu", None, (1, 1, 0)), ("Fe", None, (1, 1, 0)), ("Cu3Pt", "L1_2", (1, 1, 1))],
)
def test_what_symmetry_makes_equal_is_dropped_and_nothing_else(
    name: str, formula: str, prototype: str | None, miller: tuple[int, int, int]
) -> None:
    slab = slab_of(formula, miller, prototype, min_in_plane_ang=5.0)
    sites, n = surface_sites(slab), len(slab.atoms)
    full = PlacementSpec(rotations=4, drop_equivalent=False)
    for site in sites.sites:
        alone = replace(sites, sites=(site,))
        placed = enumerate_placements(slab, alone, adsorbate(name), full)[0]
        unlike: list[list[float]] = []
        for adslab in placed:
            own = distances(adslab, n)
            if not any(np.allclose(own, other, atol=0.02) for other in unlike):
                unlike.append(own)
        kept = enumerate_placements(slab, alone, adsorbate(name), PlacementSpec(rotations=4))[0]
        assert len(kept) == len(unlike), site


def test_a_recipe_of_before_mirror_planes_were_known_is_read(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, sites = copper
    (adslab, *_), _ = enumerate_placements(slab, sites, adsorbate("OH"), PlacementSpec())
    stored = json.loads(json.dumps(adslab_recipe(adslab)))
    del stored["placement"]["site"]["mirror_deg"]
    found = adslab_from_recipe(stored, slab, adsorbate("OH"))
    assert (found.candidate_id, found.placement.site.mirror_deg) == (adslab.candidate_id, None)


def test_kinds_choose_sites(copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper
    spec = PlacementSpec(kinds=("hollow",), rotations=1)
    adslabs, _ = enumerate_placements(slab, sites, adsorbate("O"), spec)
    assert [adslab.placement.site.kind for adslab in adslabs] == ["hollow", "hollow"]
    none, refused = enumerate_placements(
        slab, replace(sites, sites=()), adsorbate("O"), PlacementSpec(kinds=("atop",))
    )
    assert (none, refused) == ([], [])


def test_a_bridge_between_unlike_atoms_touches_both() -> None:
    slab = slab_of("NiAl", (1, 1, 0), "B2")
    sites = surface_sites(slab)
    spec = PlacementSpec(kinds=("bridge",))
    adslabs, _ = enumerate_placements(slab, sites, adsorbate("O"), spec)
    for adslab in adslabs:
        oxygen = len(slab.atoms)
        corners = list(adslab.placement.site.slab_atoms)
        bond = covalent_radii[8] + covalent_radii[slab.atoms.numbers[corners]]
        found = adslab.atoms.get_distances(oxygen, corners, mic=True)
        assert found == pytest.approx(bond, abs=1e-6)


@pytest.mark.parametrize("name", ["H", "OH", "CH3CH2OH"])
def test_a_recipe_makes_the_same_adslab_again(name: str, copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper
    species = adsorbate(name)
    adslabs, _ = enumerate_placements(slab, sites, species, PlacementSpec(random=3))
    for adslab in adslabs:
        assert same(place_adsorbate(slab, species, adslab.placement), adslab)
        stored = json.loads(json.dumps(adslab_recipe(adslab)))
        assert same(adslab_from_recipe(stored, slab, species, sites.landscape), adslab)


def test_a_recipe_of_something_else_is_refused(copper: tuple[Slab, SurfaceSites]) -> None:
    slab, sites = copper
    (adslab, *_), _ = enumerate_placements(slab, sites, adsorbate("CO"), PlacementSpec())
    stored = adslab_recipe(adslab)
    with pytest.raises(UserError, match="recipe is of CO"):
        adslab_from_recipe(stored, slab, adsorbate("OH"))
    with pytest.raises(UserError, match="another structure"):
        adslab_from_recipe({**stored, "candidate_id": "0" * 64}, slab, adsorbate("CO"))
    with pytest.raises(UserError, match="site, rotation_deg and seed"):
        adslab_from_recipe({**stored, "placement": {"site": {}}}, slab, adsorbate("CO"))


def test_random_placements_depend_on_content_and_seed_alone(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, sites = copper

    def ids(random: int, seed: int) -> list[str]:
        spec = PlacementSpec(kinds=(), random=random, seed=seed)
        adslabs, refused = enumerate_placements(slab, sites, adsorbate("OH"), spec)
        return sorted([a.candidate_id for a in adslabs] + [r.item for r in refused])

    assert ids(5, 0) == ids(5, 0)
    assert set(ids(3, 0)) < set(ids(5, 0))  # more of them add, and change none
    assert not set(ids(5, 0)) & set(ids(5, 1))


def test_enumerations_are_the_same_in_every_run() -> None:
    def ids() -> list[str]:
        slab = slab_of("Cu3Pt", (2, 1, 1), "L1_2")
        sites = surface_sites(slab)
        spec = PlacementSpec(random=2)
        return [
            a.candidate_id for a in enumerate_placements(slab, sites, adsorbate("CHO"), spec)[0]
        ]

    assert ids() == ids()


def test_a_crowded_cell_is_refused_for_the_image() -> None:
    slab = slab_of("Cu", (1, 1, 1), min_in_plane_ang=0.0)
    sites = surface_sites(slab)
    adslabs, refused = enumerate_placements(
        slab, sites, adsorbate("CH3CH2OH"), PlacementSpec(rotations=1)
    )
    assert adslabs == []
    assert {item.stage for item in refused} == {"placement"}
    assert all("periodic image" in item.reason for item in refused)


def test_a_thin_vacuum_is_refused() -> None:
    slab = slab_of("Cu", (1, 1, 1), vacuum_ang=5.0)
    _, refused = enumerate_placements(
        slab, surface_sites(slab), adsorbate("CH3CH2OH"), PlacementSpec(rotations=1)
    )
    assert refused
    assert all("raise vacuum_ang" in item.reason for item in refused)


def test_overlap_depth_and_distance_are_refused_by_name(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, sites = copper
    oxygen, atop = adsorbate("O"), Placement(sites.sites[0], 0.0)
    point = np.array(sites.sites[0].position_3)

    def reason(height: float, placement: Placement = atop) -> str:
        positions = (point + np.array([0.0, 0.0, height]))[None, None]
        return refusal_reasons(slab, sites.landscape, oxygen, [placement], positions)[0]

    assert reason(1.98) == ""
    assert "overlaps the slab" in reason(1.0)
    assert "touches the surface" in reason(2.5)
    assert reason(2.5, Placement(sites.sites[0], 0.0, seed=1)) == ""
    hollow = sites.sites[2]
    deep = np.array(hollow.position_3)[None, None] - np.array([0.0, 0.0, 0.6])
    (sunk,) = refusal_reasons(slab, sites.landscape, oxygen, [Placement(hollow, 0.0)], deep)
    assert "below the surface" in sunk
    assert refusal_reason(slab, oxygen, atop) == ""


def test_a_probe_too_small_for_a_wide_hollow_rests_on_what_it_meets() -> None:
    slab = slab_of("Cu", (1, 0, 0))
    spec = PlacementSpec(kinds=("hollow",))
    (adslab,), _ = enumerate_placements(slab, surface_sites(slab), adsorbate("H"), spec)
    n = len(slab.atoms)
    nearest = adslab.atoms.get_distances(n, range(n), mic=True).min()
    assert nearest == pytest.approx(covalent_radii[1] + covalent_radii[29], abs=1e-6)


def test_the_landscape_holds_every_atom_a_probe_can_meet(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, _ = copper
    ground = landscape(slab)
    rng = np.random.default_rng(0)
    n = len(slab.atoms)
    top_ang = slab.atoms.positions[:, 2].max()
    for u, v in rng.random((5, 2)):
        point = np.array([u, v, 0.0]) @ slab.atoms.cell.array + [0, 0, top_ang + 1.5]
        probe = slab.atoms + Atoms("O", [point])
        expected = np.sort(probe.get_distances(n, range(n), mic=True))[:6]
        found = np.sort(np.linalg.norm(ground.points_M3 - point, axis=1))[:6]
        assert found == pytest.approx(expected)


def test_an_adsorbate_of_ones_own_is_placed_like_any_other(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, sites = copper
    own = adsorbate_from_atoms(Atoms("SH", [[0, 0, 0], [0, 0, 1.34]]), (0,), "SH")
    adslabs, refused = enumerate_placements(slab, sites, own, PlacementSpec())
    assert (len(adslabs), refused) == (4, [])


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"kinds": ("top",)}, "atop, bridge, hollow, got top"),
        ({"rotations": 0}, "rotations is at least 1"),
        ({"random": -1}, "random is 0 or more"),
        ({"kinds": ()}, "name kinds or raise random"),
    ],
)
def test_impossible_placements_are_refused_by_rule(values: dict[str, object], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        PlacementSpec(**values)  # type: ignore[arg-type]


def test_a_placement_takes_no_longer_than_a_few_copies_of_its_slab(
    copper: tuple[Slab, SurfaceSites],
) -> None:
    slab, sites = copper
    spec = PlacementSpec(rotations=6, random=20)
    enumerate_placements(slab, sites, adsorbate("CHO"), spec)
    start = process_time()
    made = sum(len(enumerate_placements(slab, sites, adsorbate(name), spec)[0]) for name in SPECIES)
    ours_s = process_time() - start
    start = process_time()
    for _ in range(made):
        slab.atoms.copy().get_distance(0, 1, mic=True)
    assert ours_s < 20 * (process_time() - start)
