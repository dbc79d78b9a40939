"""Text and atoms of an adslab say the same, in CatBERTa's words."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111

from model.contract import BOND_RULES, BondRule
from model.text.configuration_text import parse_text
from tasks.enumeration import (
    FormulaSpec,
    PlacedAdslab,
    PlacementSpec,
    Slab,
    SlabSpec,
    SurfaceSites,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.errors import UserError
from tasks.prediction.featurise import (
    SiteMismatchError,
    check_site,
    configuration_text,
    featurise,
    featurise_all,
    site_label,
)

Placed = tuple[Slab, SurfaceSites, list[PlacedAdslab]]


def placed(
    name: str, formula: str, prototype: str | None = None, miller: tuple[int, int, int] = (1, 1, 1)
) -> Placed:
    (bulk,), _ = resolve_bulks([FormulaSpec(formula, prototype)])
    slab = enumerate_slabs(bulk, SlabSpec(millers=(miller,)))[0][0]
    sites = surface_sites(slab)
    spec = PlacementSpec(rotations=2, random=4)
    return slab, sites, enumerate_placements(slab, sites, adsorbate(name), spec)[0]


def test_the_text_of_co_on_copper_is_the_one_expected() -> None:
    atoms = fcc111("Cu", (3, 3, 3), a=3.61, vacuum=8.0, periodic=True)
    atoms.set_tags((atoms.get_tags() == 1).astype(int))
    add_adsorbate(atoms, Atoms("CO", [[0, 0, 0], [0, 0, 1.15]], tags=[2, 2]), 1.9, "ontop")
    expected = "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu Cu Cu Cu Cu Cu Cu Cu C]]"
    assert configuration_text(atoms, "CO", "Cu", (1, 1, 1), "radii") == expected
    atoms.positions[-2:] += [0, 0, 3.0]
    assert configuration_text(atoms, "CO", "Cu", (1, 1, 1), "radii") == "CO</s>Cu (1 1 1)</s>[]"


def test_a_text_needs_a_slab_and_an_adsorbate() -> None:
    layers = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    with pytest.raises(UserError, match=r"got \[1, 2, 3\].*number layers"):
        configuration_text(layers, "CO", "Cu", (1, 1, 1), "radii")
    layers.set_tags(0)
    with pytest.raises(UserError, match=r"got \[0\]"):
        configuration_text(layers, "CO", "Cu", (1, 1, 1), "radii")


@pytest.mark.parametrize("rule", BOND_RULES)
def test_the_sites_of_an_alloy_are_named_by_their_atoms(rule: BondRule) -> None:
    slab, sites, adslabs = placed("O", "Cu3Pt", "L1_2")
    texts = [parse_text(featurise(a, slab, "emt", rule, sites).text) for a in adslabs]
    ordered = [(a, t) for a, t in zip(adslabs, texts, strict=True) if a.placement.seed is None]
    for adslab, text in ordered:
        site = adslab.placement.site
        elements = "-".join(str(slab.atoms.symbols[index]) for index in site.slab_atoms)
        assert site_label(text.sites) == f"{site.kind} {elements}"
    assert {site_label(text.sites) for _, text in ordered} == {
        "atop Cu",
        "atop Pt",
        "bridge Cu-Cu",
        "bridge Cu-Pt",
        "hollow Cu-Cu-Cu",
        "hollow Cu-Cu-Pt",
    }


@pytest.mark.parametrize("rule", BOND_RULES)
@pytest.mark.parametrize(
    ("name", "formula", "prototype", "miller"),
    [
        ("CHO", "Cu", None, (1, 1, 1)),
        ("HCOO", "Pt3Ni", "L1_2", (2, 1, 1)),
        ("CH3CH2OH", "Fe", None, (1, 1, 1)),
        ("CH2CH2", "Ru", None, (1, 0, 0)),
    ],
)
def test_the_fast_text_is_the_text_of_the_whole_neighbour_search(
    name: str,
    formula: str,
    prototype: str | None,
    miller: tuple[int, int, int],
    rule: BondRule,
) -> None:
    slab, sites, adslabs = placed(name, formula, prototype, miller)
    configurations, refused = featurise_all(adslabs, slab, "emt", rule, sites)
    assert refused == []
    for adslab, configuration in zip(adslabs, configurations, strict=True):
        whole = configuration_text(adslab.atoms, name, slab.bulk_formula, slab.miller, rule)
        assert configuration.text == whole
        assert parse_text(whole).format() == whole
        assert featurise(adslab, slab, "emt", rule).text == whole


def test_a_configuration_holds_the_atoms_as_placed() -> None:
    slab, sites, (adslab, *_) = placed("OH", "Cu")
    found = featurise(adslab, slab, "emt", "radii", sites)
    assert (found.candidate_id, found.level) == (adslab.candidate_id, "emt")
    assert found.numbers_N.dtype == np.int64
    assert found.positions_N3 == pytest.approx(adslab.atoms.positions)
    assert found.cell_33 == pytest.approx(adslab.atoms.cell.array)
    assert set(found.tags_N) == {0, 1, 2}
    assert found.pbc == (True, True, True)
    assert found.text.startswith("OH</s>Cu (1 1 1)</s>[O Cu atop [Cu ")


def test_a_text_that_names_another_site_is_found_out() -> None:
    slab, sites, adslabs = placed("O", "Cu")
    atop, bridge = (featurise(a, slab, "emt", "radii", sites).text for a in adslabs[:2])
    assert check_site(adslabs[0], atop, "radii") == ""
    assert "names O bridge Cu-Cu, its atoms make O atop Cu" in check_site(
        adslabs[0], bridge, "radii"
    )
    assert "its atoms make O atop Cu" in check_site(adslabs[0], "O</s>Cu (1 1 1)</s>[]", "radii")


def test_neighbour_lists_of_another_slab_are_caught() -> None:
    slab, _, adslabs = placed("O", "Cu")
    _, other, _ = placed("O", "Cu", miller=(1, 0, 0))
    found, refused = featurise_all(adslabs, slab, "emt", "radii", other)
    assert len(found) + len(refused) == len(adslabs)
    assert {item.stage for item in refused} == {"placement"}
    wrong = next(a for a in adslabs if a.candidate_id == refused[0].item)
    with pytest.raises(SiteMismatchError, match="its atoms make"):
        featurise(wrong, slab, "emt", "radii", other)


def test_labels_name_every_touching_atom() -> None:
    text = "HCOO</s>Cu (1 1 1)</s>[O Cu atop [Cu Cu O]][O Cu atop [Cu Cu O]]"
    assert site_label(parse_text(text).sites) == "O atop Cu + O atop Cu"
    assert site_label(parse_text("N</s>Cu (1 1 1)</s>[]").sites) == "no contact"
