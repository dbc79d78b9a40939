"""Molecules are compared and held together by their bonds."""

from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tasks.enumeration import adsorbate, adsorbate_names
from tasks.structures.orientation import is_connected, is_same_species, mirror_line, molecule_bonds


@pytest.mark.parametrize("name", ["CH3CH2OH", "NNO", "HCOO", "H"])
def test_a_species_is_the_same_however_its_atoms_are_numbered(name: str) -> None:
    atoms = adsorbate(name).atoms
    shuffled = atoms[np.random.default_rng(0).permutation(len(atoms))]
    assert is_same_species(atoms, shuffled)


def neighbours_by_element(atoms: Atoms) -> list[tuple[str, list[str]]]:
    """Return each atom's element with those of its neighbours."""
    symbols = atoms.get_chemical_symbols()
    pairs = molecule_bonds(atoms).tolist()
    return sorted(
        (symbol, sorted(symbols[j if i == atom else i] for i, j in pairs if atom in (i, j)))
        for atom, symbol in enumerate(symbols)
    )


def test_stored_species_of_equal_bonds_have_atoms_with_equal_neighbours() -> None:
    stored = [adsorbate(name).atoms for name in adsorbate_names()]
    for one, other in combinations(stored, 2):
        if is_same_species(one, other):
            assert neighbours_by_element(one) == neighbours_by_element(other)


def test_isomers_are_not_the_same_species() -> None:
    assert not is_same_species(molecule("CH3CH2OH"), molecule("CH3OCH3"))


@pytest.mark.parametrize(
    ("atoms", "connected"),
    [
        (molecule("CH3CH2OH"), True),
        (Atoms("H"), True),
        (Atoms("H2", [(0, 0, 0), (0, 0, 3)]), False),
        (Atoms(), False),
    ],
    ids=["ethanol", "atom", "two atoms apart", "nothing"],
)
def test_a_molecule_is_connected_where_bonds_join_all_its_atoms(
    atoms: Atoms, connected: bool
) -> None:
    assert is_connected(atoms) is connected


@pytest.mark.parametrize(
    ("name", "turned_deg", "line"),
    [("OH", 0.0, 0.0), ("OH", 50.0, 50.0), ("CH3", 20.0, 20.0), ("OOH", 0.0, None)],
)
def test_a_mirror_plane_turns_with_the_molecule(
    name: str, turned_deg: float, line: float | None
) -> None:
    atoms = adsorbate(name).atoms.copy()
    atoms.rotate(turned_deg, "z")
    found = mirror_line(atoms)
    if line is None or found is None:
        assert found is line
    else:  # threefold: another plane each 60 degrees
        step = 60.0 if name == "CH3" else 180.0
        assert abs((found - line + step / 2) % step - step / 2) < 0.1
