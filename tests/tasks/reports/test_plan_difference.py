import pytest

from tasks.enumeration.adsorbates import adsorbate
from tasks.enumeration.bulks import FormulaSpec, resolve_bulks
from tasks.enumeration.placements import PlacementSpec, count_placements, surface_sites
from tasks.enumeration.slabs import SlabSpec, enumerate_slabs
from tasks.reports.plan import START_S, estimated_seconds
from tasks.reports.plan_difference import (
    CampaignContents,
    IdDifference,
    compare_plans,
    pair_ids,
    placement_ids,
)


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
    assert len(placement_ids([slab], species, places)) == counted


def test_known_placements_take_less_time_than_new_ones() -> None:
    new = estimated_seconds(1000, model="mini", workers=1)
    known = estimated_seconds(0, model="mini", workers=1, known=1000)
    assert START_S < known < new
    assert estimated_seconds(0, model="mini", workers=1) == pytest.approx(START_S)
