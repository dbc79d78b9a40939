import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.structures.formats import (
    cif_text,
    read_cif,
    structure_from_text,
    structure_text,
)
from tasks.structures.identity import slab_id


def test_a_structure_survives_being_text() -> None:
    atoms = Atoms("CuO", [[0.1, 0.2, -0.0], [1, 2, 3.1234567]], cell=[4, 5, 6], pbc=True)
    atoms.set_tags([1, 2])
    atoms.set_constraint(FixAtoms([0]))
    again = structure_from_text(structure_text(atoms))
    assert slab_id(again) == slab_id(atoms)
    assert structure_text(again) == structure_text(atoms)
    assert again.pbc.all()


def test_what_is_stored_keeps_its_id_wherever_its_atoms_are() -> None:
    points = np.random.default_rng(0).random((3000, 3)) * [4.0, 5.0, 20.0]
    atoms = Atoms("Cu3000", points, cell=[4, 5, 20], pbc=True)
    assert slab_id(structure_from_text(structure_text(atoms))) == slab_id(atoms)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"numbers": [29], "fixed": [], "colour": 1}'])
def test_a_damaged_structure_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="changed or damaged"):
        structure_from_text(text)


def test_a_cif_keeps_the_structure() -> None:
    start = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    back = read_cif(cif_text(start))
    distances = [np.sort(a.get_all_distances(mic=True).ravel()) for a in (start, back)]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-6)


def test_notes_are_the_first_lines_of_a_cif() -> None:
    assert cif_text(bulk("Cu"), ["made for a test"]).startswith("# made for a test\n")


def test_a_note_of_two_lines_would_break_the_cif() -> None:
    with pytest.raises(UserError, match="one line"):
        cif_text(bulk("Cu"), ["one\ntwo"])


def test_a_cif_of_two_structures_is_no_adslab() -> None:
    one = cif_text(bulk("Cu"))
    with pytest.raises(UserError, match="holds one structure, got 2"):
        read_cif(one + one.replace("data_Cu", "data_again"))
