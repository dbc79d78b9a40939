import pytest

from tasks.enumeration.adsorbates import adsorbate
from tasks.enumeration.bulks import Bulk, FormulaSpec, resolve_bulks
from tasks.enumeration.placements import PlacementSpec, enumerate_placements, surface_sites
from tasks.enumeration.slabs import SlabSpec
from tasks.enumeration.surfaces import enumerate_surfaces
from tasks.reports.plan import START_S, plan_campaign

SLABS = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)
PLACEMENTS = PlacementSpec(rotations=2, random=1)
ADSORBATES = [adsorbate("H"), adsorbate("OH")]
COPPER = {"element outside the model": frozenset({"Cu"})}


@pytest.fixture(scope="module")
def copper() -> Bulk:
    (bulk,), _ = resolve_bulks([FormulaSpec("Cu")])
    return bulk


def test_the_count_is_what_enumeration_gives(copper: Bulk) -> None:
    cut = enumerate_surfaces(copper, SLABS, ADSORBATES, PLACEMENTS, COPPER)
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
    cut = enumerate_surfaces(copper, SLABS, ADSORBATES, PLACEMENTS, COPPER)
    one, two = (
        plan_campaign([cut], 2, model="mini", workers=workers, keep_per_pair=3)
        for workers in (1, 2)
    )
    assert one.seconds - START_S == pytest.approx(2 * (two.seconds - START_S))
