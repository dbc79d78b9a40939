"""What one campaign adds to another is counted, and adds up."""

from dataclasses import replace

import pytest

from tasks.adsorbates import adsorbate
from tasks.bulks import FormulaSpec, resolve_bulks
from tasks.placements import PlacementSpec
from tasks.plan import BulkSurfaces, surfaces_of
from tasks.plan_difference import Change, Difference, Offer, difference
from tasks.slabs import SlabSpec

SPEC = SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0, min_in_plane_ang=4.0)
RULES = PlacementSpec(kinds=("atop",), rotations=1)


@pytest.fixture(scope="module")
def offer() -> Offer:
    bulks, _ = resolve_bulks([FormulaSpec("Cu"), FormulaSpec("Pt")])
    species = (adsorbate("H"), adsorbate("O"))
    cuts = tuple(surfaces_of(b, SPEC, species, RULES, frozenset({"Cu", "Pt"})) for b in bulks)
    return Offer(cuts, species, RULES, "level", "checkpoint")


def counts(found: Difference) -> dict[str, tuple[int, int, int]]:
    return {c.what: (c.new, c.gone, c.unchanged) for c in found.changes}


def test_a_campaign_adds_nothing_to_itself(offer: Offer) -> None:
    found = difference(offer, offer)
    assert all((change.new, change.gone) == (0, 0) for change in found.changes)
    assert found.to_predict == 0


def test_a_new_adsorbate_on_a_new_bulk_is_counted(offer: Offer) -> None:
    before = replace(offer, surfaces=offer.surfaces[:1], adsorbates=offer.adsorbates[:1])
    found = difference(offer, before)
    seen = counts(found)
    assert seen["bulk"] == (1, 0, 1)
    assert seen["adsorbate"] == (1, 0, 1)
    assert seen["pair"] == (3, 0, 1)
    new, gone, unchanged = seen["placement"]
    assert new + unchanged == placements(offer.surfaces)
    assert (gone, found.to_predict) == (0, new)


def placements(surfaces: tuple[BulkSurfaces, ...]) -> int:
    return sum(slab.placements for cut in surfaces for slab in cut.slabs)


def test_what_is_gone_is_what_the_other_way_is_new(offer: Offer) -> None:
    less = replace(offer, surfaces=offer.surfaces[:1])
    here, there = counts(difference(offer, less)), counts(difference(less, offer))
    assert here == {what: (gone, new, same) for what, (new, gone, same) in there.items()}


def test_other_sites_are_new_placements_of_the_same_pairs(offer: Offer) -> None:
    rules = PlacementSpec(kinds=("atop", "hollow"), rotations=1)
    found = difference(replace(offer, placements=rules), offer)
    assert counts(found)["pair"][:2] == (0, 0)
    new, gone, unchanged = counts(found)["placement"]
    assert new > 0
    assert (gone, unchanged) == (0, placements(offer.surfaces))


def test_another_checkpoint_predicts_everything_anew(offer: Offer) -> None:
    found = difference(replace(offer, checkpoint_sha256="another"), offer)
    assert not found.same_model
    assert found.changes[-1] == Change("placement", 0, 0, found.to_predict)
