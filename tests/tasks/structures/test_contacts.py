"""Bonds follow the covalent radii and nothing else."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import NeighborList, natural_cutoffs

from tasks.errors import UserError
from tasks.structures.contacts import bonds, coordination, cutoffs, neighbours


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
