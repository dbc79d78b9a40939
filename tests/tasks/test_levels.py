from dataclasses import replace
from fractions import Fraction

import pytest

from tasks.errors import UserError
from tasks.levels import Energy, adsorption_energy, level, shipped_levels
from tasks.references import ReferenceScheme, element_counts


def test_the_shipped_levels_are_named_and_have_hashes_of_their_own() -> None:
    names = [item.name for item in shipped_levels()]
    assert names == ["emt", "beef-vdw-ch4", "beef-vdw-co", "pbe-d2-molecule"]
    assert len({level(name).level_hash for name in names}) == len(names)


def test_a_changed_setting_or_reference_is_another_level_and_a_changed_source_is_not() -> None:
    emt = level("emt")
    assert replace(emt, settings=(("fmax_ev_ang", 0.03),)).level_hash != emt.level_hash
    assert replace(emt, reference=ReferenceScheme("molecule")).level_hash != emt.level_hash
    assert replace(emt, source="elsewhere").level_hash == emt.level_hash


def test_an_unknown_level_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"one of emt, .*did you mean beef-vdw-co\?"):
        level("beef-vdw-c0")


def test_potentials_follow_from_co_water_and_hydrogen_exactly() -> None:
    weights = ReferenceScheme("reactions", ("CO", "H2O", "H2", "N2")).potentials
    assert weights["H"] == {"H2": Fraction(1, 2)}
    assert weights["O"] == {"H2O": 1, "H2": -1}
    assert weights["C"] == {"CO": 1, "H2O": -1, "H2": 1}
    assert weights["N"] == {"N2": Fraction(1, 2)}


def test_carbon_comes_from_methane_where_methane_is_the_reference() -> None:
    assert level("beef-vdw-ch4").reference.potentials["C"] == {"CH4": 1, "H2": -2}


def test_a_reference_molecule_is_worth_its_own_energy() -> None:
    gas = {"CO": -14.8, "H2O": -14.2, "H2": -6.8, "N2": -16.6}
    scheme = level("emt").reference
    for name, energy in gas.items():
        assert scheme.reference_ev(name, name, gas) == pytest.approx(energy)


def test_an_element_without_a_reference_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="SH holds S, which has no gas reference among CO"):
        level("emt").reference.weights("SH", "SH")


def test_molecules_that_do_not_fix_every_potential_are_refused() -> None:
    with pytest.raises(UserError, match=r"2 molecules .* 3 elements"):
        ReferenceScheme("reactions", ("CO", "H2"))
    with pytest.raises(UserError, match="do not fix one potential"):
        ReferenceScheme("reactions", ("CO2", "C2O4"))


def test_the_molecule_scheme_subtracts_the_adsorbate_itself() -> None:
    assert level("pbe-d2-molecule").reference.weights("CH3OH", "CH4O") == {"CH3OH": 1}


def test_an_adsorption_energy_is_adslab_less_slab_less_reference() -> None:
    emt = level("emt")
    energy = adsorption_energy(Energy(-7.5, emt), Energy(-5.0, emt), Energy(-2.0, emt))
    assert energy.energy_ev == pytest.approx(-0.5)


def test_energies_of_two_levels_never_meet() -> None:
    one, other = Energy(1.0, level("beef-vdw-ch4")), Energy(1.0, level("beef-vdw-co"))
    with pytest.raises(UserError, match=r"one level .*beef-vdw-ch4 .*beef-vdw-co"):
        adsorption_energy(one, other, one)
    with pytest.raises(UserError, match="one level"):
        one + other


def test_a_level_without_settings_says_so() -> None:
    with pytest.raises(UserError, match="beef-vdw-co states no fmax_ev_ang"):
        level("beef-vdw-co").setting("fmax_ev_ang")


@pytest.mark.parametrize("formula", ["", "co", "C-O", "CO "])
def test_a_formula_that_cannot_be_read_is_refused(formula: str) -> None:
    with pytest.raises(UserError, match="a formula is element symbols and counts"):
        element_counts(formula)
