"""Adsorbates and levels are listed with what a model knows of them."""

import pytest

from model.contract import Domain, LevelDomain
from tasks.errors import UserError
from tasks.reports.catalogue import AdsorbateEntry, adsorbate_entries, level_entries

SEEN = Domain(
    {
        "emt": LevelDomain(adsorbates=frozenset({"CO", "SH"})),
        "own": LevelDomain(adsorbates=frozenset({"CO", "CH3SH"})),
    }
)


def test_an_adsorbate_has_other_names_elements_binding_atoms_and_levels() -> None:
    (found,) = adsorbate_entries(SEEN, "SH2")
    assert found == AdsorbateEntry("H2S", ("SH2",), "H2S", ("H", "S"), ("S",), ())
    (found,) = [entry for entry in adsorbate_entries(SEEN) if entry.name == "CO"]
    assert found.known_at == ("emt", "own")


def test_an_element_selects_what_holds_it() -> None:
    assert [entry.name for entry in adsorbate_entries(SEEN, "S")] == ["H2S", "S", "SH"]
    assert [entry.name for entry in adsorbate_entries(SEEN, "Cl")] == ["Cl", "HCl"]


def test_a_level_selects_what_the_model_knows_there_stored_or_not() -> None:
    found = adsorbate_entries(SEEN, level="own")
    assert [(entry.name, entry.binding) for entry in found] == [("CH3SH", ()), ("CO", ("C",))]
    assert found[0].elements == ("C", "H", "S")


@pytest.mark.parametrize(
    ("wanted", "level", "rule"),
    [
        ("Xx", "", r"'Xx' as an element or in its name; the nearest of \d+ names are"),
        ("CO", "emtt", "2 levels of theory and not at 'emtt'; the nearest of 2 names are emt"),
    ],
)
def test_what_no_adsorbate_fits_is_refused(wanted: str, level: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        adsorbate_entries(SEEN, wanted, level)


def test_a_level_says_its_references_and_who_knows_it() -> None:
    emt, *_ = level_entries({"mine": SEEN})
    assert (emt.name, emt.engine, emt.references) == ("emt", "emt", "CO, H2O, H2, N2")
    assert (emt.not_here, emt.known_by) == ("", {"mine": 2})


def test_published_levels_are_not_computed_here() -> None:
    (found,) = level_entries({}, "gmae")
    assert (found.name, found.not_here) == ("beef-vdw-gmae", "published labels")


def test_a_level_that_only_a_model_has_is_listed() -> None:
    (found,) = level_entries({"mine": SEEN}, "own")
    assert (found.name, found.known_by) == ("own", {"mine": 2})


def test_levels_are_found_by_engine_and_functional() -> None:
    assert {entry.engine for entry in level_entries({}, "gpaw")} == {"gpaw"}
    assert {entry.functional for entry in level_entries({}, "rpbe")} >= {"RPBE"}
    with pytest.raises(UserError, match="holds 'b3lyp'; the nearest of 11 names are"):
        level_entries({}, "b3lyp")
