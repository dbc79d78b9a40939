from ase import Atoms
from ase.constraints import FixAtoms

from tasks.identity import slab_id
from tasks.structures import structure_from_text, structure_text


def test_a_structure_survives_being_text() -> None:
    atoms = Atoms("CuO", [[0.1, 0.2, -0.0], [1, 2, 3.1234567]], cell=[4, 5, 6], pbc=True)
    atoms.set_tags([1, 2])
    atoms.set_constraint(FixAtoms([0]))
    again = structure_from_text(structure_text(atoms))
    assert slab_id(again) == slab_id(atoms)
    assert structure_text(again) == structure_text(atoms)
    assert again.pbc.all()
