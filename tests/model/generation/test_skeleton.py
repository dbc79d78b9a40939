import numpy as np
import pytest
from ase.build import molecule

from model.errors import ModelError
from model.generation.skeleton import Skeleton, bond_graph

ETHANOL = Skeleton.from_text("C3 C2 O1 0-1 1-2")
ETHER = Skeleton.from_text("C3 O0 C3 0-1 1-2")


def skeleton(name: str) -> Skeleton:
    species = molecule(name)
    return bond_graph(species.numbers, species.positions).skeleton


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CO", "O0 C0 0-1"),
        ("CH3OH", "C3 O1 0-1"),
        ("H2", "H1"),
        ("CH4", "C4"),
        ("C6H6", "C1 C1 C1 C1 C1 C1 0-1 1-2 2-3 3-4 4-5 0-5"),
    ],
)
def test_a_molecule_is_its_heavy_atoms_with_their_hydrogens(name: str, text: str) -> None:
    assert skeleton(name).is_same(Skeleton.from_text(text))


def test_isomers_differ_and_renumbered_molecules_do_not() -> None:
    assert ETHANOL.formula == ETHER.formula == {"C": 2, "H": 6, "O": 1}
    assert not ETHANOL.is_same(ETHER)
    assert ETHANOL.is_same(Skeleton.from_text("O1 C2 C3 0-1 1-2"))
    assert skeleton("CH3CH2OH").is_same(ETHANOL)
    assert skeleton("CH3OCH3").is_same(ETHER)


def test_rings_of_three_and_chains_of_three_differ_though_their_atoms_do_not() -> None:
    two_triangles = Skeleton.from_text("C2 C2 C2 C2 C2 C2 0-1 1-2 0-2 3-4 4-5 3-5")
    hexagon = Skeleton.from_text("C2 C2 C2 C2 C2 C2 0-1 1-2 2-3 3-4 4-5 0-5")
    assert not hexagon.is_same(two_triangles)


def test_text_keeps_the_graph() -> None:
    for graph in (ETHANOL, ETHER, skeleton("C4H4S")):
        assert Skeleton.from_text(graph.to_text()) == graph


def test_bonds_cross_cell_borders() -> None:
    species = molecule("CH3OH")
    cell = np.diag([6.0, 6.0, 20.0])
    wrapped = (species.positions + np.array([0.3, 0.2, 9.0])) % [6.0, 6.0, 20.0]
    found = bond_graph(species.numbers, wrapped, cell)
    assert found.skeleton.is_same(skeleton("CH3OH"))
    apart = np.linalg.norm(found.positions_A3[:, None] - found.positions_A3[None], axis=-1)
    np.testing.assert_allclose(apart, species.get_all_distances(), atol=1e-9)


def test_a_walk_starts_at_its_root_and_follows_bonds() -> None:
    order = skeleton("CH3CHO").walk(0)
    assert order[0] == (0, -1)
    assert sorted(atom for atom, _ in order) == [0, 1, 2]
    assert all(source in skeleton("CH3CHO").neighbours[atom] for atom, source in order[1:])


def test_what_does_not_hang_together_is_refused() -> None:
    numbers = np.array([8, 6])
    with pytest.raises(ModelError, match="1 of its 2 atoms do not hang together"):
        bond_graph(numbers, np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]))
    with pytest.raises(ModelError, match="at least one atom"):
        bond_graph(numbers[:0], np.zeros((0, 3)))
