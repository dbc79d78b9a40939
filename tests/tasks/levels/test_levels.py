from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.levels import (
    Energy,
    LevelOfTheory,
    adsorption_energy,
    level,
    level_from_record,
    level_name,
    shipped_levels,
)
from tasks.levels.calculation import CheckLimits
from tasks.levels.references import ReferenceScheme

# As in databases that hold their labels: these hashes never change.
COMPUTED = {
    "emt": "9ea0de7b8054",
    "diep-r2scan": "a74baed507ef",
    "gpaw-pbe-fast": "c2b1e60477c5",
    "gpaw-rpbe": "04e8ec320ad0",
    "qe-beef": "af822967ee71",
    "qe-pbe": "09762b0ab772",
    "vasp-oc20": "d96b72710fa5",
}
PUBLISHED = {
    "beef-vdw-ch4": "b96f998f3404",
    "beef-vdw-co": "80616de405a5",
    "beef-vdw-gmae": "177b1aefc12f",
    "pbe-d2-molecule": "614756da4498",
}
OWN = """\
name: mine
based_on: gpaw-rpbe
calculation:
  kpoints: {length_ang: 12}
  relaxation: {fmax_ev_ang: 0.05}
"""


def written(folder: Path, text: str) -> LevelOfTheory:
    (folder / "mine.yaml").write_text(text)
    return level("mine.yaml", folder)


def test_the_shipped_levels_are_named_and_have_hashes_of_their_own() -> None:
    names = [item.name for item in shipped_levels()]
    assert names == [*COMPUTED, *PUBLISHED]
    assert len({level(name).level_hash for name in names}) == len(names)


@pytest.mark.parametrize(("name", "start"), COMPUTED.items())
def test_levels_keep_their_hash(name: str, start: str) -> None:
    assert level(name).level_hash.startswith(start)


@pytest.mark.parametrize(("name", "start"), PUBLISHED.items())
def test_published_levels_keep_their_hash_and_cannot_be_computed(name: str, start: str) -> None:
    assert level(name).level_hash.startswith(start)
    with pytest.raises(UserError, match=rf"{name} .* holds published labels"):
        level(name).require_calculation()


@pytest.mark.parametrize(
    "line",
    [
        "basis: {cutoff_ev: 401}",
        "basis: {grid_ang: 0.2}",
        "kpoints: {length_ang: 31}",
        "kpoints: {gamma: hexagonal}",
        "smearing: {width_ev: 0.05}",
        "spin: {moments: {Fe: 2.0}}",
        "spin: {policy: none}",
        "dipole: none",
        "dispersion: D3",
        "energy_key: free_energy",
        "engine_version: '>=26.7'",
        "mode: single_point\n  geometry: gpaw-pbe-fast",
        "scf: {energy_ev: 0.001}",
        "gas_vacuum_ang: 6",
        "potentials: {checksums: {H: abcdef0123456789}}",
        "relaxation: {fmax_ev_ang: 0.05}",
        "relaxation: {optimiser: FIRE}",
        "checks: {energy_ev: 9}",
        "keywords: {nbands: 40}",
    ],
)
def test_a_change_of_any_part_of_the_energy_is_another_level(tmp_path: Path, line: str) -> None:
    same = written(tmp_path, "name: mine\nbased_on: gpaw-rpbe\n")
    assert same.level_hash == level("gpaw-rpbe").level_hash
    other = written(tmp_path, f"name: mine\nbased_on: gpaw-rpbe\ncalculation:\n  {line}\n")
    assert other.level_hash != same.level_hash


def test_what_changes_no_energy_is_no_part_of_the_hash(tmp_path: Path) -> None:
    emt = level("emt")
    assert replace(emt, source="elsewhere", licence="none").level_hash == emt.level_hash
    limited = "name: mine\nbased_on: emt\ncalculation:\n  relaxation: {wall_limit_s: 60}\n"
    assert written(tmp_path, limited).level_hash == emt.level_hash


def test_another_reference_is_another_level() -> None:
    emt = level("emt")
    assert replace(emt, reference=ReferenceScheme("molecule")).level_hash != emt.level_hash


def test_the_default_of_a_check_is_part_of_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    gpaw = level("gpaw-rpbe")
    assert gpaw.settings["checks"]["desorbed_ratio"] == CheckLimits.desorbed_ratio
    looser = replace(gpaw.require_calculation().checks, desorbed_ratio=1.6)
    changed = replace(gpaw, calculation=replace(gpaw.require_calculation(), checks=looser))
    assert changed.level_hash != gpaw.level_hash


def test_a_file_says_what_differs_from_a_shipped_level(tmp_path: Path) -> None:
    mine, base = written(tmp_path, OWN), level("gpaw-rpbe")
    assert mine.name == "mine"
    assert mine.require_calculation().kpoints != base.require_calculation().kpoints
    assert (
        mine.require_calculation().relaxation.optimiser
        == base.require_calculation().relaxation.optimiser
    )
    assert mine.require_calculation().basis == base.require_calculation().basis
    assert mine.reference == base.reference


def test_a_name_and_a_file_are_both_levels_to_a_command(tmp_path: Path) -> None:
    written(tmp_path, OWN)
    assert level_name(str(tmp_path / "mine.yaml")) == "mine"
    assert level_name("emt") == "emt"


@pytest.mark.parametrize("name", [*COMPUTED, *PUBLISHED])
def test_a_level_is_the_same_when_it_comes_back_from_a_record(name: str) -> None:
    shipped = level(name)
    back = level_from_record(
        name,
        shipped.engine,
        shipped.functional,
        shipped.settings,
        shipped.reference.record,
    )
    assert back.reference == shipped.reference
    assert back.level_hash == shipped.level_hash


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (OWN.replace("kpoints", "kpoint"), "unknown key calculation.kpoint"),
        (OWN.replace("12", "-1"), r"kpoints.length_ang: value should be greater than 0, got -1"),
        (OWN.replace("0.05", "0"), "needs fmax above 0"),
        (OWN.replace("mine", "emt"), "emt ships; rename it"),
        (
            OWN.replace("gpaw-rpbe", "gpaw"),
            "based_on is a shipped level, got 'gpaw'; the nearest of 11 names are gpaw-rpbe",
        ),
        (OWN.replace("name: mine\n", ""), "name: value should be a valid string, got None"),
        ("name: mine\n", "engine is required and missing"),
        (OWN + "  spin: {moments: {NI: 1}}\n", r"keys of spin.moments are elements .* got 'NI'"),
        (OWN + "  potentials: {checksums: {Cux: 0123456789abcdef}}\n", "got 'Cux'; correct"),
        (OWN + "  potentials: {files: {cu: cu.upf}}\n", "keys of potentials.files .* got 'cu'"),
        (OWN + "  potentials: {kinds: {X: _pv}}\n", "keys of potentials.kinds .* got 'X'"),
        (
            OWN.replace("gpaw-rpbe", "vasp-oc20") + "  spin: {policy: magnetic-elements}\n",
            "names none",
        ),
        (OWN + "source: !!int abc\n", "line 6: 'abc' cannot be read as int"),
        (OWN + "source: !!float abc\n", "'abc' cannot be read as float"),
        (OWN + "source: !!bool abc\n", "'abc' cannot be read as bool"),
        (OWN + "name: other\n", "line 6: each key may stand once, 'name' stands twice"),
        (OWN + "  kpoints: {length_ang: 9}\n", "line 6: .* 'kpoints' stands twice"),
        (OWN + "? [a]\n: b\n", "line 6: not valid YAML"),
        (OWN + "source: &a [*a]\n", "line 6: not valid YAML: a part of itself"),
        (OWN + "1: 2\n", "mine.yaml: .*1"),
        ("- emt\n", "is a mapping of keys to values, got list"),
        ("name: [\n", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule) as caught:
        written(tmp_path, text)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_is_a_molecule_and_false_is_a_setting(tmp_path: Path) -> None:
    text = OWN + "  keywords: {random: true}\n"
    text += "reference: {kind: reactions, molecules: [NO, H2O, H2]}\n"
    found = written(tmp_path, text)
    assert found.reference.molecules == ("NO", "H2O", "H2")
    assert found.require_calculation().keywords == {"random": True}


def test_an_unknown_level_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"'beef-vdw-c0'; the nearest of 11 names are beef-vdw-co, "
    ):
        level("beef-vdw-c0")
    with pytest.raises(UserError, match=r"absent.yaml cannot be read"):
        level("absent.yaml", tmp_path)


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


@pytest.mark.parametrize(
    ("name", "adsorbate", "formula", "weights"),
    [
        ("beef-vdw-gmae", "S", "S", {"H2S": 1, "H2": -1}),
        ("beef-vdw-gmae", "SH", "HS", {"H2S": 1, "H2": Fraction(-1, 2)}),
        ("gpaw-rpbe", "S", "S", {"H2S": 1, "H2": -1}),
        ("qe-pbe", "H2S", "H2S", {"H2S": 1}),
        ("vasp-oc20", "Cl", "Cl", {"HCl": 1, "H2": Fraction(-1, 2)}),
        ("gpaw-pbe-fast", "F", "F", {"HF": 1, "H2": Fraction(-1, 2)}),
    ],
)
def test_sulphur_and_halogens_are_counted_from_their_hydrides(
    name: str, adsorbate: str, formula: str, weights: dict[str, Fraction]
) -> None:
    assert level(name).reference.weights(adsorbate, formula) == weights


def test_added_molecules_change_no_other_potential() -> None:
    plain = ReferenceScheme("reactions", ("CO", "H2O", "H2", "N2"))
    added = level("gpaw-rpbe").reference
    assert {symbol: added.potentials[symbol] for symbol in "CHNO"} == plain.potentials
    with pytest.raises(UserError, match=r"2 molecules .* 3 elements"):
        ReferenceScheme("reactions", ("CO", "H2"), ("H2O",))


def test_other_added_molecules_are_another_level() -> None:
    rpbe = level("gpaw-rpbe")
    other = ReferenceScheme("reactions", rpbe.reference.molecules, ("SO2", "HF", "HCl"))
    assert replace(rpbe, reference=other).level_hash != rpbe.level_hash


def test_a_file_that_states_molecules_states_all_of_them(tmp_path: Path) -> None:
    found = written(
        tmp_path, OWN + "reference: {kind: reactions, molecules: [CO, H2O, H2, N2, H2S]}\n"
    )
    assert found.reference.gases == ("CO", "H2O", "H2", "N2", "H2S")


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
