from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    enumerate_surfaces,
    resolve_bulks,
)

SLABS = SlabSpec(min_thickness_ang=4.0, min_in_plane_ang=4.0, vacuum_ang=10.0)


def test_slabs_with_elements_outside_the_model_are_refused_before_placing() -> None:
    (copper,), _ = resolve_bulks([FormulaSpec("Cu")])
    for allowed, rule in (("Pt", "element outside the model"), ("Cu", "no potential")):
        rules = {"element outside the model": frozenset({allowed}), "no potential": frozenset()}
        cut = enumerate_surfaces(copper, SLABS, [adsorbate("H")], PlacementSpec(), rules)
        assert cut.slabs == ()
        assert {(r.stage, r.reason) for r in cut.refused} == {("slab", f"{rule}: Cu")}
