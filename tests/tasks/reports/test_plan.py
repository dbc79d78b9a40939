import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk as ase_bulk

from tasks.enumeration import (
    Bulk,
    BulkSurfaces,
    CountedSlab,
    FormulaSpec,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    count_placements,
    enumerate_placements,
    enumerate_slabs,
    enumerate_surfaces,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.bulks import bulk_from_atoms
from tasks.errors import Refusal
from tasks.reports.plan import (
    START_S,
    CampaignContents,
    IdDifference,
    RefusedGroup,
    bulk_notes,
    compare_plans,
    estimated_seconds,
    grouped_refusals,
    pair_ids,
    placement_ids,
    plan_campaign,
)

SLABS = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)
PLACEMENTS = PlacementSpec(rotations=2, random=1)
ADSORBATES = [adsorbate("H"), adsorbate("OH")]


@pytest.fixture(scope="module")
def copper() -> Bulk:
    (bulk,), _ = resolve_bulks([FormulaSpec("Cu")])
    return bulk


def test_the_count_is_what_enumeration_gives(copper: Bulk) -> None:
    cut = enumerate_surfaces(copper, SLABS, ADSORBATES, PLACEMENTS)
    made = 0
    for counted in cut.slabs:
        sites = surface_sites(counted.slab)
        for species in ADSORBATES:
            placed, refused = enumerate_placements(counted.slab, sites, species, PLACEMENTS)
            made += len(placed) + len(refused)
    planned = plan_campaign([cut], len(ADSORBATES), model="mini", workers=1, keep_per_pair=3)
    assert planned.placements == made
    assert planned.pairs == planned.slabs * 2 == len(cut.slabs) * 2


def test_twice_the_workers_take_half_the_time(copper: Bulk) -> None:
    cut = enumerate_surfaces(copper, SLABS, ADSORBATES, PLACEMENTS)
    one, two = (
        plan_campaign([cut], 2, model="mini", workers=workers, keep_per_pair=3)
        for workers in (1, 2)
    )
    assert one.seconds - START_S == pytest.approx(2 * (two.seconds - START_S))


def contents(
    bulks: dict[str, str], adsorbates: str, placements: str, answered: str
) -> CampaignContents:
    slabs, names = frozenset(bulks), frozenset(adsorbates)
    pairs = pair_ids(slabs, names)
    return CampaignContents(bulks, names, slabs, pairs, frozenset(placements), frozenset(answered))


def test_each_id_is_new_gone_or_unchanged() -> None:
    new = contents({"1": "Cu", "2": "Pt"}, "HO", "abcd", "")
    old = contents({"1": "Cu", "3": "Ag"}, "H", "bcx", "bcx")
    found = compare_plans(new, old)
    bulks, adsorbates, _, pairs, placements = found.lines
    assert bulks == IdDifference("bulks", ("Pt",), ("Ag",), 1)
    assert adsorbates == IdDifference("adsorbates", ("O",), (), 1)
    assert (len(pairs.new), len(pairs.gone), pairs.unchanged) == (3, 1, 1)
    assert placements == IdDifference("placements", ("a", "d"), ("x",), 2)
    assert (found.to_predict, found.known) == (2, 2)


def test_what_the_earlier_campaign_did_not_answer_is_left_to_predict() -> None:
    new = contents({"1": "Cu"}, "H", "abc", "")
    old = contents({"1": "Cu"}, "H", "abc", "a")
    found = compare_plans(new, old)
    assert found.lines[-1].unchanged == 3
    assert (found.to_predict, found.known) == (2, 1)


def test_placements_have_one_id_each() -> None:
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
    spec = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)
    slab = enumerate_slabs(copper, spec)[0][0]
    species, places = [adsorbate("H"), adsorbate("OH")], PlacementSpec()
    sites = surface_sites(slab)
    counted = sum(count_placements(slab, sites, a, places) for a in species)
    assert len(placement_ids([CountedSlab(slab, counted)], species, places)) == counted


def test_known_placements_take_less_time_than_new_ones() -> None:
    new = estimated_seconds(1000, model="mini", workers=1)
    known = estimated_seconds(0, model="mini", workers=1, known=1000)
    assert START_S < known < new
    assert estimated_seconds(0, model="mini", workers=1) == pytest.approx(START_S)


def test_a_plan_says_which_planes_and_symmetries_are_not_those_of_the_file() -> None:
    cell = Atoms("CuPd", scaled_positions=[(0, 0, 0), (0.5,) * 3], cell=[6, 4, 3], pbc=True)
    bulk = bulk_from_atoms(cell, "ortho.cif")
    listed = SlabSpec(millers=((1, 0, 0), (0, 0, 1)))
    assert bulk_notes([bulk], listed) == [
        "CuPd of ortho.cif: (1 0 0) of the file = (0 0 1) of the standard cell",
        "CuPd of ortho.cif: (0 0 1) of the file = (1 0 0) of the standard cell",
    ]
    noisy = ase_bulk("Cu", cubic=True)
    noisy.positions += np.random.default_rng(1).normal(0, 0.01, (4, 3))
    (note,) = bulk_notes([bulk_from_atoms(noisy, "relaxed.cif")], SlabSpec())
    assert note.startswith("Cu of relaxed.cif: Fm-3m (225) within 0.05 Å, atoms moved by up to 0.0")


def test_refused_slabs_are_counted_by_reason_and_crystal() -> None:
    copper, gold = Bulk("1" * 64, "Cu", "", Atoms()), Bulk("2" * 64, "Au", "", Atoms())
    sizes = {"a": "too many atoms: 300, at most max_atoms = 250 allowed"}
    sizes["b"] = sizes["a"].replace("300", "1200")
    surfaces = [
        BulkSurfaces(copper, (), tuple(Refusal(i, "slab", r) for i, r in sizes.items())),
        BulkSurfaces(gold, (), (Refusal("c", "slab", sizes["a"]),)),
    ]
    lost = [Refusal("x.cif", "bulk", "cannot be read"), Refusal("y.cif", "bulk", "cannot be read")]
    assert grouped_refusals(lost, surfaces) == (
        RefusedGroup("bulk", "cannot be read", 2, ("x.cif", "y.cif")),
        RefusedGroup(
            "slab",
            "too many atoms: 300 to 1200, at most max_atoms = 250 allowed",
            3,
            ("Cu", "Au"),
        ),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("element: Fe", "element: Zr"), ("facet: (3 1 1)", "facet: (5 1 1)"), ("Cu3Pt", "Cu2Pt")],
)
def test_reasons_that_differ_in_more_than_numbers_stay_apart(one: str, other: str) -> None:
    lost = [Refusal("x", "slab", one), Refusal("y", "slab", other)]
    assert [group.reason for group in grouped_refusals(lost, ())] == [one, other]
