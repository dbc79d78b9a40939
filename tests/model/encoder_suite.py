"""What every graph encoder must hold to; a test class inherits it and names its encoder.

Never a mirror image: encoders may tell left from right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bcc110, fcc111, molecule
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from model.graph import GraphBatch, collate, radius_graph


def adslab(seed: int) -> Atoms:
    """Return CO on Pt(111), ideal, or NH3 on rattled Mo(110)."""
    if seed == 0:
        slab, name = fcc111("Pt", (2, 2, 3), vacuum=6), "CO"
    else:
        slab, name = bcc110("Mo", (2, 2, 3), vacuum=6), "NH3"
    bare = len(slab)
    add_adsorbate(slab, molecule(name), 1.9, "ontop")
    if seed:
        slab.rattle(0.05, seed=seed)
    slab.set_tags([0] * bare + [2] * (len(slab) - bare))
    slab.pbc = True
    return slab


@dataclass(frozen=True)
class Encoder:
    """An encoder, the graphs it wants, and how exactly it keeps its symmetries."""

    module: nn.Module  # with ``invariants``: forward(graph)[:, 0] by itself
    cutoff_ang: float
    max_neighbors: int
    dtype: torch.dtype
    tolerance: float

    def batch(self, *structures: Atoms) -> GraphBatch:
        graphs = [
            radius_graph(
                atoms.numbers,
                atoms.positions,
                atoms.cell[:],
                atoms.pbc,
                self.cutoff_ang,
                self.max_neighbors,
                tags=atoms.get_tags(),
            )
            for atoms in structures
        ]
        return collate(graphs, self.dtype)

    def invariants(self, *structures: Atoms) -> Tensor:
        with torch.inference_mode():
            nodes_NKC: Tensor = self.module(self.batch(*structures))
        return nodes_NKC[:, 0]

    def same(self, left: Tensor, right: Tensor) -> bool:
        scale = max(1.0, float(right.abs().max()))
        return float((left - right).abs().max()) <= self.tolerance * scale


def moved(atoms: Atoms, change: Callable[[Atoms], None]) -> Atoms:
    copy = atoms.copy()
    change(copy)
    return copy


class EncoderSuite:
    """Inherit, and provide a fixture ``encoder`` that returns an ``Encoder``."""

    @pytest.fixture(params=[0, 1], ids=["ideal", "rattled"])
    def atoms(self, request: pytest.FixtureRequest) -> Atoms:
        return adslab(request.param)

    @pytest.mark.parametrize("seed", range(3))
    def test_rotation_leaves_the_invariants(
        self, encoder: Encoder, atoms: Atoms, seed: int
    ) -> None:
        matrix = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        turned = atoms.copy()
        turned.set_cell(atoms.cell[:] @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        assert encoder.same(encoder.invariants(turned), encoder.invariants(atoms))

    def test_translation_leaves_the_invariants(self, encoder: Encoder, atoms: Atoms) -> None:
        shifted = moved(atoms, lambda copy: copy.translate((0.7, -1.3, 2.9)))
        assert encoder.same(encoder.invariants(shifted), encoder.invariants(atoms))

    def test_numbering_of_atoms_only_renumbers_the_nodes(
        self, encoder: Encoder, atoms: Atoms
    ) -> None:
        order = np.random.default_rng(0).permutation(len(atoms))
        assert encoder.same(encoder.invariants(atoms[order]), encoder.invariants(atoms)[order])

    def test_whole_lattice_vectors_do_not_matter(self, encoder: Encoder, atoms: Atoms) -> None:
        shifts = np.random.default_rng(1).integers(-2, 3, (len(atoms), 3))
        elsewhere = atoms.copy()
        elsewhere.positions = atoms.positions + shifts @ atoms.cell[:]
        assert encoder.same(encoder.invariants(elsewhere), encoder.invariants(atoms))

    def test_choice_of_cell_does_not_matter(self, encoder: Encoder, atoms: Atoms) -> None:
        sheared = atoms.copy()
        sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ atoms.cell[:])
        assert encoder.same(encoder.invariants(sheared), encoder.invariants(atoms))

    def test_batch_equals_single(self, encoder: Encoder) -> None:
        first, second = adslab(0), adslab(1)
        together = encoder.invariants(first, second, first)
        apart = [encoder.invariants(atoms) for atoms in (first, second, first)]
        assert encoder.same(together, torch.cat(apart))

    def test_same_input_gives_the_same_bits(self, encoder: Encoder, atoms: Atoms) -> None:
        assert torch.equal(encoder.invariants(atoms), encoder.invariants(atoms))

    def test_invariants_alone_are_those_of_the_full_output(
        self, encoder: Encoder, atoms: Atoms
    ) -> None:
        batch = encoder.batch(atoms)
        with torch.inference_mode():
            alone = encoder.module.invariants(batch)
        assert encoder.same(alone, encoder.invariants(atoms))

    def test_a_moved_adsorbate_is_noticed(self, encoder: Encoder, atoms: Atoms) -> None:
        higher = atoms.copy()
        higher.positions[atoms.get_tags() == 2, 2] += 0.2
        gap = (encoder.invariants(higher) - encoder.invariants(atoms)).abs().max()
        assert gap > 100 * encoder.tolerance

    def test_an_atom_without_neighbours_is_finite(self, encoder: Encoder) -> None:
        lone = Atoms("H", [(0, 0, 0)], cell=[50, 50, 50], pbc=True)
        assert encoder.invariants(lone).isfinite().all()
        assert encoder.invariants(lone, adslab(0)).isfinite().all()

    def test_gradients_are_finite_and_reach_every_weight(
        self, encoder: Encoder, atoms: Atoms
    ) -> None:
        encoder.module.zero_grad()
        encoder.module(encoder.batch(atoms)).square().sum().backward()
        gradients = {name: value.grad for name, value in encoder.module.named_parameters()}
        assert [name for name, grad in gradients.items() if grad is None] == []
        assert all(grad is not None and grad.isfinite().all() for grad in gradients.values())

    def test_training_after_inference_works(self, encoder: Encoder, atoms: Atoms) -> None:
        batch = encoder.batch(atoms)
        with torch.inference_mode():
            encoder.module(batch)
        encoder.module(replace(batch)).sum().backward()
