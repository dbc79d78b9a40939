"""Bonds follow the covalent radii, and they single out the adsorbate."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, fcc211
from ase.neighborlist import NeighborList, natural_cutoffs

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.structures.contacts import bonds, coordination, cutoffs, find_adsorbate, neighbours


def test_cutoffs_are_the_natural_ones_and_a_margin() -> None:
    atoms = Atoms("CuPtOCH")
    expected = np.array(natural_cutoffs(atoms)) + 0.05
    assert cutoffs(atoms.numbers) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_bonds_are_those_of_ases_neighbour_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = fcc111("Pt", (3, 3, 3), vacuum=6.0, periodic=True) + Atoms("CO")
    atoms.positions += rng.normal(0.0, 0.2, (len(atoms), 3))
    atoms.positions[-2:] += atoms.positions[26] + [[0, 0, 1.9], [0, 0, 3.0]]
    atoms.pbc = True
    reference = NeighborList(
        natural_cutoffs(atoms), skin=0.05, self_interaction=False, bothways=True
    )
    reference.update(atoms)
    found = neighbours(atoms)
    for index in range(len(atoms)):
        expected = sorted(reference.get_neighbors(index)[0].tolist())
        assert found[index].tolist() == expected


def test_metals_have_their_coordination() -> None:
    for atoms, expected in [(bulk("Cu"), 12), (bulk("Fe", cubic=True), 8), (bulk("Ru"), 12)]:
        counts = coordination(
            atoms.numbers, atoms.positions, atoms.cell.array, cutoffs(atoms.numbers)
        )
        assert set(counts.tolist()) == {expected}


def test_bonds_come_from_both_ends_in_index_order() -> None:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0, periodic=True)
    i, j = bonds(atoms.numbers, atoms.positions, atoms.cell.array)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == list(
        zip(i.tolist(), j.tolist(), strict=True)
    )
    assert sorted(zip(j.tolist(), i.tolist(), strict=True)) == sorted(
        zip(i.tolist(), j.tolist(), strict=True)
    )


def test_a_slab_without_a_third_vector_is_refused() -> None:
    with pytest.raises(UserError, match="three vectors"):
        neighbours(fcc111("Cu", (2, 2, 2)))


def test_atoms_without_neighbours_have_none() -> None:
    atoms = Atoms("CuCu", [[0, 0, 0], [5, 5, 5]], cell=[10, 10, 10], pbc=True)
    assert [n.tolist() for n in neighbours(atoms)] == [[], []]


def adslab(name: str = "CH3OH", slab: Atoms | None = None, height: float = 2.0) -> Atoms:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0) if slab is None else slab.copy()
    atoms.pbc = True
    species = adsorbate(name)
    add_adsorbate(atoms, species.atoms.copy(), height, (0.0, 0.0), mol_index=species.binding[0])
    return atoms


def oxide() -> Atoms:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.numbers[4:8] = 8
    return slab


@pytest.mark.parametrize("name", ["H", "CO", "H2", "CH3OH", "CH3CHO", "HCOOH"])
def test_the_atoms_that_were_added_are_found(name: str) -> None:
    atoms = adslab(name)
    added = tuple(range(27, len(atoms)))
    assert find_adsorbate(atoms, adsorbate(name).formula) == added


def test_a_formula_may_be_written_as_a_name() -> None:
    assert len(find_adsorbate(adslab("CH3OH"), "CH3OH")) == 6


def test_order_wrapping_and_another_origin_change_nothing() -> None:
    atoms = adslab("CH3CHO")
    atoms.positions += [1.0, -3.0, 9.0]
    atoms.wrap()
    order = np.random.default_rng(0).permutation(len(atoms))
    found = find_adsorbate(atoms[order], "CH3CHO")
    assert sorted(order[list(found)].tolist()) == list(range(27, 34))


def test_an_atom_below_the_edge_of_a_step_is_found() -> None:
    stepped = fcc211("Rh", (3, 3, 3), vacuum=8.0)
    atoms = adslab("O", stepped, height=-0.4)
    assert find_adsorbate(atoms, "O") == (27,)


def test_co_on_a_slab_that_holds_oxygen_is_the_group_above_it() -> None:
    atoms = adslab("CO", oxide(), height=1.9)
    assert find_adsorbate(atoms, "CO") == (12, 13)
    assert find_adsorbate(adslab("O", oxide(), height=1.3), "O") == (12,)


def dissociated() -> Atoms:
    atoms = adslab("CO")
    atoms.positions[-1] += [2.5, 0.0, -1.0]
    return atoms


def doubled() -> Atoms:
    atoms = adslab("CO")
    add_adsorbate(atoms, adsorbate("CO").atoms.copy(), 2.0, (5.0, 3.0))
    return atoms


@pytest.mark.parametrize(
    ("atoms", "formula", "says"),
    [
        (dissociated(), "CO", "one group of bonded atoms; the atoms of its elements make 2: C, O"),
        (doubled(), "CO", "2 of 2 groups of these elements do"),
        (adslab("CO"), "CH3OH", "holds at least 4 H; this one is"),
        (adsorbate("CO").atoms, "CO", "this one is CO alone"),
        (oxide(), "O", "none of 4 groups"),
        (adslab("CO"), "C O", "element symbols and counts, such as .*; got 'C O'"),
    ],
    ids=["dissociated", "doubled", "absent", "alone", "in the slab", "no formula"],
)
def test_what_is_not_certain_is_refused(atoms: Atoms, formula: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        find_adsorbate(atoms, formula)


def test_a_molecule_without_a_cell_has_no_adslab() -> None:
    atoms = Atoms("CuCO", positions=[[0, 0, 0], [0, 0, 2], [0, 0, 3.15]])
    with pytest.raises(UserError, match="cell of three vectors"):
        find_adsorbate(atoms, "CO")
