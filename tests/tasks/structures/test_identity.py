"""Ids name content, not the way it is written down."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms

from tasks.structures.identity import (
    bulk_id,
    candidate_ids,
    content_id,
    fixed_mask,
    pair_id,
    seed_from,
    slab_id,
)


@pytest.fixture
def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0, periodic=True)
    atoms.set_tags(atoms.get_tags() == 1)
    atoms.set_constraint(FixAtoms(indices=range(4)))
    return atoms


def test_parts_keep_their_borders_and_types() -> None:
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("1") != content_id(1)
    assert len(content_id("x")) == 64


def test_wrapping_does_not_change_an_id(slab: Atoms) -> None:
    moved = slab.copy()
    moved.positions += 3 * slab.cell[0] - slab.cell[1]
    assert slab_id(moved) == slab_id(slab)
    moved.wrap()
    assert slab_id(moved) == slab_id(slab)


def test_each_atom_may_sit_in_another_cell(slab: Atoms) -> None:
    moved = slab.copy()
    steps = np.random.default_rng(0).integers(-2, 3, (len(slab), 3))
    moved.positions += steps @ slab.cell.array
    assert slab_id(moved) == slab_id(slab)


def test_the_last_bit_of_a_float_does_not_change_an_id(slab: Atoms) -> None:
    noisy = slab.copy()
    noisy.positions += np.random.default_rng(1).normal(0.0, 1e-12, (len(slab), 3))
    assert slab_id(noisy) == slab_id(slab)


def test_order_and_frame_do_not_change_an_id(slab: Atoms) -> None:
    order = np.random.default_rng(2).permutation(len(slab))
    shuffled = slab[order]  # FixAtoms follows its atoms
    assert slab_id(shuffled) == slab_id(slab)
    turned = slab.copy()
    turned.rotate(33.0, "z", rotate_cell=True)
    assert slab_id(turned) == slab_id(slab)


def test_species_place_tag_and_constraint_each_change_it(slab: Atoms) -> None:
    changed = [slab.copy() for _ in range(5)]
    changed[0].numbers[0] = 28
    changed[1].positions[0, 2] += 0.05
    changed[2].arrays["tags"][0] += 1
    changed[3].set_constraint()
    changed[4].set_cell(slab.cell.array * [[1.0], [1.0], [1.1]])
    assert len({slab_id(atoms) for atoms in [slab, *changed]}) == 6


def test_a_bulk_and_a_slab_of_the_same_atoms_differ(slab: Atoms) -> None:
    assert bulk_id(slab) != slab_id(slab)


def test_pairs_and_seeds_depend_on_their_parts() -> None:
    assert pair_id("s", "CO") == pair_id("s", "CO") != pair_id("s", "OH")
    assert seed_from("s", 0) == seed_from("s", 0) != seed_from("s", 1)
    assert 0 <= seed_from("s", 0) < 2**63


def test_candidates_are_named_by_where_the_adsorbate_is() -> None:
    numbers = np.array([6, 8])
    scaled = np.array([[[0.1, 0.2, 0.5], [0.1, 0.2, 0.6]], [[0.1, 0.2, 0.5], [0.2, 0.2, 0.6]]])
    one, other = candidate_ids("slab", "CO", numbers, scaled)
    assert one != other
    assert candidate_ids("slab", "CO", numbers, scaled + np.array([1, -2, 3])) == [one, other]
    assert candidate_ids("slab", "OC", numbers, scaled)[0] != one
    assert candidate_ids("other", "CO", numbers, scaled)[0] != one


def test_fixed_atoms_are_those_of_the_constraint(slab: Atoms) -> None:
    assert np.flatnonzero(fixed_mask(slab)).tolist() == [0, 1, 2, 3]
