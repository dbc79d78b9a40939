from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    Slab,
    SlabSpec,
    adsorbate,
    enumerate_surfaces,
    resolve_bulks,
)

SLABS = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)


def test_nothing_is_placed_on_a_slab_that_is_refused() -> None:
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])

    def refusal(slab: Slab) -> str:
        return "steep" if slab.miller == (1, 1, 0) else ""

    cut = enumerate_surfaces(copper, SLABS, [adsorbate("H")], PlacementSpec(), refusal)
    assert [(r.stage, r.reason) for r in cut.refused] == [("slab", "steep")]
    assert {counted.slab.miller for counted in cut.slabs} == {(1, 0, 0), (1, 1, 1)}
