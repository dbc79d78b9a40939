import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule

from tasks.errors import UserError
from tasks.structures.distances import check_distances

ANG_IN_BOHR = 1.8897


def scaled(atoms: Atoms, factor: float) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions * factor, cell=atoms.cell * factor, pbc=atoms.pbc)


def covered_slab() -> Atoms:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    return slab


def refusal(atoms: Atoms) -> str:
    """Return why a structure is refused; nothing where it passes."""
    try:
        check_distances(atoms)
    except UserError as error:
        return str(error)
    return ""


CRYSTALS = [
    bulk("Cu"),
    bulk("W"),
    bulk("Cs"),
    bulk("C"),
    bulk("NaCl", "rocksalt", a=5.64),
    covered_slab(),
]


@pytest.mark.parametrize("atoms", CRYSTALS, ids=lambda atoms: str(atoms.symbols))
def test_lengths_in_ang_pass_and_others_are_named(atoms: Atoms) -> None:
    assert refusal(atoms) == ""
    with pytest.raises(UserError, match="in nm"):
        check_distances(scaled(atoms, 0.1))
    with pytest.raises(UserError, match="in Bohr"):
        check_distances(scaled(atoms, ANG_IN_BOHR))


@pytest.mark.parametrize("strain", [0.9, 1.1])
def test_strained_crystals_are_no_other_unit(strain: float) -> None:
    assert refusal(scaled(bulk("Pb"), strain)) == ""


def test_noble_gases_are_held_by_no_bonds() -> None:
    assert refusal(bulk("Ar")) == ""


def test_molecules_and_atoms_pass() -> None:
    assert refusal(molecule("H2")) == ""
    assert refusal(Atoms("O")) == ""


def test_two_atoms_at_one_place_are_named() -> None:
    with pytest.raises(UserError, match=r"Cu and O, 0\.1 Å"):
        check_distances(Atoms("CuCuO", [[0, 0, 0], [2.5, 0, 0], [2.6, 0, 0]]))


def test_a_flat_cell_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="no cell is as small"):
        check_distances(Atoms("Cu", cell=[1e-4, 5, 5], pbc=True))
