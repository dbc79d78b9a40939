"""Every adsorbate is the molecule its name says, with sane bonds, standing on its binding atoms."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from ase.io import write
from pymatgen.core.composition import Composition

from tasks.enumeration import (
    Adsorbate,
    adsorbate,
    adsorbate_from_file,
    adsorbate_from_smiles,
    adsorbate_names,
)
from tasks.enumeration.adsorbates import ALIASES, adsorbate_from_atoms
from tasks.errors import UserError
from tasks.structures.orientation import axis_fold, is_connected, molecule_bonds

# Bond lengths in Å from the longest triple or double bond to the longest single bond met in gas
# phase molecules and force fields.
BOND_ANG = {
    frozenset("H"): (0.70, 0.80),
    frozenset("CH"): (1.04, 1.15),
    frozenset("NH"): (0.98, 1.08),
    frozenset("OH"): (0.93, 1.02),
    frozenset("C"): (1.15, 1.58),
    frozenset("CO"): (1.10, 1.48),
    frozenset("CN"): (1.10, 1.52),
    frozenset("N"): (1.08, 1.50),
    frozenset("NO"): (1.13, 1.50),
    frozenset("O"): (1.19, 1.50),
    frozenset("HS"): (1.32, 1.36),
    frozenset("HF"): (0.91, 0.94),
    frozenset(("H", "Cl")): (1.26, 1.30),
}

OXYGENATES = [
    "H2",
    "CH2O",
    "CO",
    "O",
    "OH",
    "CH",
    "CHO",
    "C",
    "CH3CHO",
    "CHCHOH",
    "COH",
    "CCHOH",
    "CCHO",
    "CH2CO",
    "CH3CH2OH",
    "CHCH2OH",
    "CHCHO",
    "H",
    "CH2",
    "CH2CHO",
    "CH2OH",
    "CH3",
    "CH3O",
    "CH4",
    "H2O",
    "CCO",
    "CCOH",
    "CH2CH2O",
    "CHCO",
    "CH3CO",
    "CH3COH",
    "CH3OH",
    "CCH2O",
    "CCH2OH",
    "CHCH2O",
    "CHOH",
    "CH2CH2OH",
    "CH3CH2O",
    "CH3CHOH",
    "CH2COH",
    "CH2CHOH",
    "CHCOH",
]
NITROGENS = ["N", "NH", "NH2", "NH3", "N2", "NNH", "NO", "HNO", "NOH", "NO2", "NH2OH"]
SULPHUR_AND_HALOGENS = ["S", "SH", "H2S", "F", "Cl", "HF", "HCl"]
OTHERS = [
    "OOH",
    "O2",
    "COOH",
    "HCOO",
    "HCOOH",
    "CO2",
    "C2",
    "CCH",
    "CHCH",
    "CH2CH2",
    "CCH3",
    "CHCH3",
    "CH2CH3",
]

every_adsorbate = pytest.mark.parametrize("name", adsorbate_names())


def test_the_species_of_the_public_sets_are_all_here() -> None:
    assert {*OXYGENATES, *NITROGENS, *SULPHUR_AND_HALOGENS, *OTHERS} <= set(adsorbate_names())
    assert len(adsorbate_names()) >= 90


@every_adsorbate
def test_the_atoms_are_those_of_the_name(name: str) -> None:
    found = adsorbate(name)
    assert Composition(found.formula) == Composition(name)
    assert found.name == name


@every_adsorbate
def test_bonds_are_sane_and_hold_the_molecule_together(name: str) -> None:
    atoms = adsorbate(name).atoms
    assert is_connected(atoms)
    bonded = {tuple(pair) for pair in molecule_bonds(atoms).tolist()}
    for i in range(len(atoms)):
        for j in range(i + 1, len(atoms)):
            distance = atoms.get_distance(i, j)
            pair = frozenset((atoms.symbols[i], atoms.symbols[j]))
            if (i, j) in bonded:
                shortest, longest = BOND_ANG[pair]
                assert shortest <= distance <= longest, (name, sorted(pair), distance)
            else:
                apart = covalent_radii[atoms.numbers[[i, j]]].sum()
                assert distance > 1.3 * apart, (name, sorted(pair), distance)


@every_adsorbate
def test_valences_are_not_exceeded(name: str) -> None:
    atoms = adsorbate(name).atoms
    most = {"H": 1, "C": 4, "N": 3, "O": 2, "S": 2, "F": 1, "Cl": 1}
    counts = np.bincount(molecule_bonds(atoms).ravel(), minlength=len(atoms))
    assert all(count <= most[atoms.symbols[i]] for i, count in enumerate(counts.tolist()))


@every_adsorbate
def test_the_binding_atoms_are_at_the_origin_and_the_rest_above(name: str) -> None:
    found = adsorbate(name)
    binding = found.atoms.positions[list(found.binding)]
    assert binding.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-3)
    assert found.atoms.positions[:, 2].min() > -0.15


def test_carbon_binds_where_carbon_is_written_first() -> None:
    for name in ["CO", "CHO", "COH", "COOH", "CH3CO", "CCO", "CHOH", "CH2OH"]:
        found = adsorbate(name)
        assert [found.atoms.symbols[i] for i in found.binding] == ["C"]
    assert [adsorbate("HCOO").atoms.symbols[i] for i in adsorbate("HCOO").binding] == ["O", "O"]
    assert [adsorbate("CH3O").atoms.symbols[i] for i in adsorbate("CH3O").binding] == ["O"]


def test_hydroxyl_is_tilted_because_upright_is_a_saddle() -> None:
    oxygen, hydrogen = adsorbate("OH").atoms.positions
    assert 45.0 < np.degrees(np.arctan2(hydrogen[0] - oxygen[0], hydrogen[2] - oxygen[2])) < 90.0


@pytest.mark.parametrize(
    ("name", "fold"),
    [("H", 0), ("CO", 0), ("NH3", 3), ("CH3", 3), ("CH2", 2), ("HCOO", 2), ("OH", 1)],
)
def test_the_axis_counts_equal_rotations(name: str, fold: int) -> None:
    assert axis_fold(adsorbate(name).atoms) == fold


@pytest.mark.parametrize("other", sorted(ALIASES))
def test_other_spellings_mean_the_same_species(other: str) -> None:
    assert adsorbate(other) is adsorbate(ALIASES[other])
    assert Composition(other) == Composition(adsorbate(other).formula)


def test_an_unknown_name_is_answered_by_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'CHOHH'.*CHOH"):
        adsorbate("CHOHH")
    with pytest.raises(
        UserError, match=r"the nearest of \d+ names are .*sabatier adsorbates lists all"
    ):
        adsorbate("unobtainium")


def test_an_adsorbate_from_a_file_stands_on_its_binding_atom(tmp_path: Path) -> None:
    write(tmp_path / "methanethiol.xyz", molecule("CH3SH"))
    sulphur = list(molecule("CH3SH").symbols).index("S")
    found = adsorbate_from_file(tmp_path / "methanethiol.xyz", (sulphur,))
    assert found.name == "methanethiol"
    assert found.atoms.positions[sulphur] == pytest.approx([0, 0, 0])
    assert np.delete(found.atoms.positions[:, 2], sulphur).mean() > 0.3


def test_turning_keeps_every_distance_and_the_handedness() -> None:
    chiral = molecule("CH3CH2OH")
    found = adsorbate_from_atoms(chiral, (2,), "ethanol")
    assert found.atoms.get_all_distances() == pytest.approx(chiral.get_all_distances())
    volume = [np.linalg.det(a.positions[[3, 4, 5]] - a.positions[0]) for a in (chiral, found.atoms)]
    assert volume[0] == pytest.approx(volume[1])


@pytest.mark.parametrize(
    ("atoms", "binding", "name", "reason"),
    [
        (Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), (2,), "CO", "numbered 0 to 1"),
        (Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), (), "CO", "numbered 0 to 1"),
        (Atoms("CO", [[0, 0, 0], [0, 0, 4.0]]), (0,), "CO", "hang together"),
        (Atoms("CO", [[0, 0, 0], [0, 0, np.nan]]), (0,), "CO", "finite"),
        (Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), (0,), "C O", "one word"),
    ],
)
def test_bad_molecules_are_refused(
    atoms: Atoms, binding: tuple[int, ...], name: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        adsorbate_from_atoms(atoms, binding, name)


@pytest.mark.parametrize(
    ("atoms", "name"),
    [
        (molecule("OH"), "CO"),
        (adsorbate("COH").atoms, "CHO"),
        (adsorbate("COH").atoms, "HCO"),
        (molecule("CH3SH"), "CH3OH2"),
    ],
    ids=["composition", "isomer", "other spelling", "formula"],
)
def test_a_name_that_says_another_species_is_refused(atoms: Atoms, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is another species"):
        adsorbate_from_atoms(atoms, (0,), name)


def test_your_own_geometry_of_a_named_species_keeps_its_name() -> None:
    stretched = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]])
    assert adsorbate_from_atoms(stretched, (0,), "CO").name == "CO"


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.xyz").write_text("nonsense")
    with pytest.raises(UserError, match=r"bad\.xyz cannot be read"):
        adsorbate_from_file(tmp_path / "bad.xyz", (0,))
    with pytest.raises(UserError, match="cannot be read"):
        adsorbate_from_file(tmp_path / "missing.xyz", (0,))


def test_smiles_give_the_same_molecule_each_time() -> None:
    pytest.importorskip("rdkit")
    first, again = (adsorbate_from_smiles("CS", (1,), "CH3SH") for _ in range(2))
    assert isinstance(first, Adsorbate)
    assert Composition(first.formula) == Composition("CH4S")
    assert first.atoms.symbols[1] == "S"
    assert first.atoms.positions == pytest.approx(again.atoms.positions)
    with pytest.raises(UserError, match="SMILES"):
        adsorbate_from_smiles("not a molecule", (0,))


def test_smiles_without_rdkit_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    with pytest.raises(UserError, match=r"sabatier\[rdkit\]"):
        adsorbate_from_smiles("CO", (1,))


def test_deuterium_is_hydrogen_and_other_units_are_named(tmp_path: Path) -> None:
    water = "3\n\nO 0 0 {0}\nD 0 {1} -{2}\nD 0 -{1} -{2}\n"
    file = tmp_path / "d2o.xyz"
    file.write_text(water.format(0.1192, 0.7632, 0.477))
    assert adsorbate_from_file(file, (0,), "H2O").formula == "H2O"
    file.write_text(water.format(0.01192, 0.07632, 0.0477))
    with pytest.raises(UserError, match="in nm"):
        adsorbate_from_file(file, (0,), "H2O")
    file.write_text(water.format(0.2253, 1.4422, 0.9014))
    with pytest.raises(UserError, match="in Bohr"):
        adsorbate_from_file(file, (0,), "H2O")
