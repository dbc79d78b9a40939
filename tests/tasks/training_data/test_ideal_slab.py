"""The crystal goes on above what is held, also where too little is held for a translation."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms

from tasks.errors import UserError
from tasks.training_data.ideal_slab import ideal_slab


def shaken(slab: Atoms, held: int) -> Atoms:
    """Return the slab with its first atoms held and the others moved a little."""
    moved = slab.copy()
    step_N3 = np.random.default_rng(1).normal(0.0, 0.05, (len(slab), 3))
    moved.positions[held:] += step_N3[held:]
    moved.set_constraint(FixAtoms(indices=range(held)))
    return moved


def sandwich() -> Atoms:
    """Return one repeat of layers Cu Ag Au Ag Cu: only a mirror carries its lower half up."""
    heights = (0.0, 1.6, 4.6, 7.6, 9.2)
    layers = [
        Atoms(
            f"{symbol}4",
            positions=[
                (3.0 * i + offset, 3.0 * j + offset, z + 5.0) for i in (0, 1) for j in (0, 1)
            ],
        )
        for symbol, z, offset in zip(
            ("Cu", "Ag", "Au", "Ag", "Cu"), heights, (0.0, 1.5, 0.0, 1.5, 0.0), strict=True
        )
    ]
    slab = layers[0] + layers[1] + layers[2] + layers[3] + layers[4]
    slab.set_cell((6.0, 6.0, 25.0))
    slab.pbc = True
    return slab


def test_one_held_layer_is_continued_by_the_step_to_free_atoms() -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.pbc = True
    found = ideal_slab(shaken(slab, 4))
    layers = found.positions[:, 2].reshape(3, 4)
    np.testing.assert_allclose(layers, layers.mean(axis=1, keepdims=True) + np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(found.positions, slab.positions, atol=0.15)


def test_a_slab_of_one_repeat_is_continued_by_its_mirror() -> None:
    slab = sandwich()
    found = ideal_slab(shaken(slab, 12))
    np.testing.assert_allclose(found.positions, slab.positions, atol=0.02)


def test_elements_have_to_fit() -> None:
    slab = sandwich()
    slab.symbols[-8:-4] = "Pt"  # the mirror wants silver there
    with pytest.raises(UserError, match="no bulk lattice continues the held layers"):
        ideal_slab(shaken(slab, 12))
