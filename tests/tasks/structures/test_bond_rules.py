"""Bonds of a slab scale with its own distances, and sites are the ones that were aimed at."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from tasks.structures.bond_rules import shell_bonds, slab_neighbours, touching


def counts(atoms: Atoms) -> NDArray[np.int64]:
    i_B, _ = shell_bonds(atoms.numbers, atoms.positions, atoms.cell.array)
    return np.bincount(i_B, minlength=len(atoms))


@pytest.mark.parametrize(
    ("metal", "expected"),
    [
        *(("Cu", 12), ("Au", 12), ("Pt", 12), ("Ru", 12), ("Zn", 12), ("Cd", 12)),
        *(("Fe", 14), ("W", 14), ("Mo", 14), ("K", 14)),
    ],
)
def test_metals_have_their_shells(metal: str, expected: int) -> None:
    atoms = bulk(metal).repeat((2, 2, 2))
    assert set(counts(atoms).tolist()) == {expected}


@pytest.mark.parametrize("strain", [0.9, 0.97, 1.03, 1.1])
@pytest.mark.parametrize("metal", ["Pt", "Zn", "Fe"])
def test_a_uniform_strain_changes_no_neighbour(metal: str, strain: float) -> None:
    atoms = bulk(metal).repeat((3, 3, 3))
    found = slab_neighbours(atoms, "scaled")
    atoms.set_cell(atoms.cell * strain, scale_atoms=True)
    for before, after in zip(found, slab_neighbours(atoms, "scaled"), strict=True):
        assert before.tolist() == after.tolist()


def test_platinum_at_4_angstrom_has_neighbours_by_the_scaled_rule_alone() -> None:
    atoms = bulk("Pt", a=4.0)
    assert len(slab_neighbours(atoms, "scaled")[0]) == 12
    assert len(slab_neighbours(atoms, "radii")[0]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_noise_leaves_all_neighbours_of_gold(seed: int) -> None:
    atoms = bulk("Au").repeat((3, 3, 3))
    atoms.positions += np.random.default_rng(seed).normal(0.0, 0.07, (len(atoms), 3))
    assert set(counts(atoms).tolist()) == {12}


def crystal(group: str, cell: Lattice, symbols: list[str], sites: list[list[float]]) -> Atoms:
    made = Structure.from_spacegroup(group, cell, symbols, sites)
    return Atoms(AseAtomsAdaptor.get_atoms(made))


COMPOUNDS = {
    "MgO": (crystal, "Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "IrO2": (
        *(crystal, "P4_2/mnm", Lattice.tetragonal(4.505, 3.159)),
        *(["Ir", "O"], [[0, 0, 0], [0.308, 0.308, 0]]),
    ),
    "SrTiO3": (
        *(crystal, "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"]),
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    ),
    "YPt3": (crystal, "Pm-3m", Lattice.cubic(4.07), ["Y", "Pt"], [[0, 0, 0], [0.5, 0.5, 0]]),
    "MgCu2": (
        *(crystal, "Fd-3m", Lattice.cubic(7.05), ["Mg", "Cu"]),
        [[0, 0, 0], [0.625, 0.625, 0.625]],
    ),
    "FeS2": (
        *(crystal, "Pa-3", Lattice.cubic(5.418), ["Fe", "S"]),
        [[0, 0, 0], [0.385, 0.385, 0.385]],
    ),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MgO", {"Mg": 6, "O": 6}),
        ("IrO2", {"Ir": 6, "O": 3}),  # no O-O at 2.45 Å
        ("SrTiO3", {"Sr": 12, "Ti": 6, "O": 6}),
        ("YPt3", {"Y": 12, "Pt": 12}),
        ("MgCu2", {"Mg": 16, "Cu": 12}),
        ("FeS2", {"Fe": 6, "S": 4}),  # with the other S of its pair
    ],
)
def test_compounds_and_alloys_have_the_coordination_of_textbooks(
    name: str, expected: dict[str, int]
) -> None:
    make, *rest = COMPOUNDS[name]
    atoms = make(*rest)
    found = counts(atoms)
    for symbol, count in expected.items():
        assert set(found[atoms.symbols == symbol].tolist()) == {count}


def test_oxygen_on_a_metal_takes_no_bond_from_it() -> None:
    atoms = bulk("Pd", cubic=True).repeat((2, 2, 2))
    bare = counts(atoms)
    atoms += Atoms("O", [[3.89 / 2, 3.89 / 2, 3.89 / 2]])  # in an octahedral hole
    assert (counts(atoms)[:-1] >= bare).all()
    assert counts(atoms)[-1] == 6


def test_over_a_hollow_of_four_the_corners_count_with_the_atom_below() -> None:
    distance_AM = np.array([[2.10, 2.10, 2.10, 2.10, 1.98, 3.4]])  # O on Fe(100)
    drop_AM = np.array([[0.55, 0.55, 0.55, 0.55, 1.98, 1.98]])
    radii_AM = np.full((1, 6), 1.98)
    found = touching(distance_AM, radii_AM, drop_AM, "scaled")
    assert found.tolist() == [[True, True, True, True, True, False]]
    assert touching(distance_AM, radii_AM, drop_AM, "radii").sum() == 1
    assert not touching(distance_AM + 0.5, radii_AM, drop_AM, "scaled").any()


def test_over_a_long_bridge_the_next_row_does_not_count() -> None:
    distance_AM = np.array([[2.08, 2.08, 2.53, 2.53]])  # C on Fe(110)
    drop_AM = np.full((1, 4), 1.506)
    found = touching(distance_AM, np.full((1, 4), 2.08), drop_AM, "scaled")
    assert found.tolist() == [[True, True, False, False]]


def test_the_last_bit_of_a_distance_decides_no_contact() -> None:
    sums_AM = np.full((1, 2), 2.0)
    limit = 2.0 + 0.1
    distance_AM = np.array([[limit - 1e-15, limit + 1e-15]])
    met_AM = touching(distance_AM, sums_AM, np.zeros((1, 2)), "radii")
    assert met_AM.tolist() == [[False, False]]
