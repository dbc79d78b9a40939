"""A configuration is made of tagged atoms, or of a text alone."""

import numpy as np
from ase.build import add_adsorbate, fcc111

from model.contract import Configuration

TEXT = "H</s>Cu (1 1 1)</s>[]"


def test_a_text_alone_has_no_atoms() -> None:
    configuration = Configuration.from_text(TEXT, candidate_id="a", level="emt")
    assert len(configuration.numbers_N) == len(configuration.positions_N3) == 0


def test_a_configuration_does_not_move_with_the_atoms_it_was_made_of() -> None:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    add_adsorbate(atoms, "H", 1.0, "fcc")
    configuration = Configuration.from_atoms(atoms, candidate_id="a", level="emt", text=TEXT)
    before_N3 = configuration.positions_N3.copy()
    atoms.positions += 1.0
    np.testing.assert_array_equal(configuration.positions_N3, before_N3)


def test_tags_come_from_the_atoms() -> None:
    atoms = fcc111("Cu", (1, 1, 3), vacuum=8.0)
    atoms.set_tags([0, 0, 1])
    configuration = Configuration.from_atoms(atoms, candidate_id="a", level="emt", text=TEXT)
    assert configuration.tags_N.tolist() == [0, 0, 1]
