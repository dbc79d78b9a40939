import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.structures.identity import slab_id
from tasks.structures.json_text import structure_from_text, structure_text


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
