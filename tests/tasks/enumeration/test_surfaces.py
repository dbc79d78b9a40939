import pytest

from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    Slab,
    SlabSpec,
    adsorbate,
    enumerate_surfaces,
    resolve_bulks,
)
from tasks.enumeration.surfaces import refused_crystal

SLABS = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)


def test_nothing_is_placed_on_a_slab_that_is_refused() -> None:
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])

    def refusal(slab: Slab) -> str:
        return "steep" if slab.miller == (1, 1, 0) else ""

    cut = enumerate_surfaces(copper, SLABS, [adsorbate("H")], PlacementSpec(), refusal)
    assert [(r.stage, r.reason) for r in cut.refused] == [("slab", "steep")]
    assert refused_crystal(cut.refused[0].item) == copper.bulk_id[:12]
    assert {counted.slab.miller for counted in cut.slabs} == {(1, 0, 0), (1, 1, 1)}


def test_slabs_of_two_crystals_of_one_formula_are_refused_apart() -> None:
    crystals, _ = resolve_bulks([FormulaSpec("Fe"), FormulaSpec("Fe", "fcc")])
    small = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, max_atoms=1)
    cuts = [enumerate_surfaces(bulk, small, [], PlacementSpec()) for bulk in crystals]
    items = [refused.item for cut in cuts for refused in cut.refused]
    assert len(items) == len(set(items)) == 6


@pytest.mark.parametrize("item", ["Cu (1, 1, 1) shift 0.000 top", "0123456789ab", "f" * 64])
def test_an_item_of_an_older_release_names_no_crystal(item: str) -> None:
    assert refused_crystal(item) == ""
