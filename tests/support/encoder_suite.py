"""What every graph encoder must hold to; a test class inherits it and names its encoder.

Never a mirror image: encoders may tell left from right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bcc110, fcc111, molecule
from scipy.spatial.transform import Rotation
from torch import Tensor

from model.data.graph import Graph, GraphBatch, collate, radius_graph

NOTHING = Graph(
    numbers_N=np.zeros(0, dtype=np.int64),
    positions_N3=np.zeros((0, 3)),
    tags_N=np.zeros(0, dtype=np.int64),
    edge_index_2E=np.zeros((2, 0), dtype=np.int64),
    edge_vectors_E3=np.zeros((0, 3)),
)


def adslab(seed: int) -> Atoms:
    """Return CO on Pt(111), ideal, or NH3 on rattled Mo(110)."""
    slab: Atoms
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

    module: Any  # a model.encoders.Encoder; ``invariants`` are its forward's, or their [:, 0]
    cutoff_ang: float
    max_neighbors: int
    dtype: torch.dtype
    tolerance: float

    def graph(self, atoms: Atoms) -> Graph:
        return radius_graph(
            atoms.numbers,
            atoms.positions,
            atoms.cell[:],
            atoms.pbc,
            self.cutoff_ang,
            self.max_neighbors,
            tags=atoms.get_tags(),
        )

    def batch(self, *structures: Atoms) -> GraphBatch:
        return collate([self.graph(atoms) for atoms in structures], self.dtype)

    def condition(self, batch: GraphBatch) -> Tensor:
        """Return noise of the size of the encoder's own features, for each atom."""
        generator = torch.Generator().manual_seed(0)
        shape = len(batch.numbers_N), self.module.channels
        return torch.randn(shape, dtype=self.dtype, generator=generator)

    def encode(self, batch: GraphBatch, condition: Tensor | None = None) -> Tensor:
        with torch.inference_mode():
            invariants_NC: Tensor = self.module.invariants(batch, condition)
        return invariants_NC

    def invariants(self, *structures: Atoms) -> Tensor:
        return self.encode(self.batch(*structures))

    def same(self, left: Tensor, right: Tensor) -> bool:
        scale = max(1.0, float(right.abs().max()))
        return float((left - right).abs().max()) <= self.tolerance * scale


def moved(atoms: Atoms, change: Callable[[Atoms], None]) -> Atoms:
    copy: Atoms = atoms.copy()
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

    def test_same_input_gives_the_same_output(self, encoder: Encoder, atoms: Atoms) -> None:
        assert encoder.same(encoder.invariants(atoms), encoder.invariants(atoms))

    def test_invariants_alone_are_those_of_the_full_output(
        self, encoder: Encoder, atoms: Atoms
    ) -> None:
        with torch.inference_mode():
            full = encoder.module(encoder.batch(atoms))
        assert encoder.same(encoder.invariants(atoms), full if full.ndim == 2 else full[:, 0])

    def test_a_moved_adsorbate_is_noticed(self, encoder: Encoder, atoms: Atoms) -> None:
        higher = atoms.copy()
        higher.positions[atoms.get_tags() == 2, 2] += 0.2
        gap = (encoder.invariants(higher) - encoder.invariants(atoms)).abs().max()
        assert gap > 100 * encoder.tolerance

    def test_an_atom_without_neighbours_is_finite(self, encoder: Encoder) -> None:
        lone = Atoms("H", [(0, 0, 0)], cell=[50, 50, 50], pbc=True)
        assert encoder.invariants(lone).isfinite().all()
        assert encoder.invariants(lone, adslab(0)).isfinite().all()

    def test_systems_without_atoms_change_nothing(self, encoder: Encoder) -> None:
        first, second = encoder.graph(adslab(0)), encoder.graph(adslab(1))
        padded = collate([NOTHING, first, NOTHING, second, NOTHING], encoder.dtype)
        assert encoder.same(encoder.encode(padded), encoder.invariants(adslab(0), adslab(1)))

    @pytest.mark.parametrize("systems", [1, 3])
    def test_no_atom_at_all_is_no_row(self, encoder: Encoder, systems: int) -> None:
        batch = collate([NOTHING] * systems, encoder.dtype)
        condition = encoder.condition(batch).requires_grad_()
        invariants = encoder.module.invariants(batch, condition)
        assert invariants.shape == (0, encoder.module.channels)
        invariants.sum().backward()

    def test_no_edge_at_all_still_trains(self, encoder: Encoder) -> None:
        lone = Atoms("H", [(0, 0, 0)], cell=[50, 50, 50], pbc=True)
        batch = encoder.batch(lone, lone)
        assert batch.edge_index_2E.shape == (2, 0)
        encoder.module.zero_grad()
        encoder.module.invariants(batch).square().sum().backward()
        gradient = encoder.module.elements.weight.grad
        assert gradient is not None
        assert gradient.isfinite().all()

    def test_a_condition_changes_its_own_systems_alone(self, encoder: Encoder) -> None:
        batch = encoder.batch(adslab(0), adslab(1))
        is_first = (batch.system_N == 0)[:, None]
        plain = encoder.encode(batch)
        edited = encoder.encode(batch, encoder.condition(batch) * is_first)
        changed = (edited - plain).abs().amax(dim=1)
        assert float(changed[is_first[:, 0]].min()) > 100 * encoder.tolerance
        assert encoder.same(edited[~is_first[:, 0]], plain[~is_first[:, 0]])

    def test_no_condition_is_a_condition_of_zero(self, encoder: Encoder, atoms: Atoms) -> None:
        batch = encoder.batch(atoms)
        zero = torch.zeros_like(encoder.condition(batch))
        assert encoder.same(encoder.encode(batch, zero), encoder.encode(batch))

    def test_gradients_reach_the_condition(self, encoder: Encoder, atoms: Atoms) -> None:
        batch = encoder.batch(atoms)
        condition = encoder.condition(batch).requires_grad_()
        encoder.module.invariants(batch, condition).square().sum().backward()
        assert condition.grad is not None
        assert (condition.grad != 0).any(dim=1).all()

    def test_elements_are_what_an_atom_starts_from(self, encoder: Encoder) -> None:
        atoms = adslab(0)
        elements = encoder.module.elements
        assert elements.weight.shape[1] == encoder.module.channels
        before = elements.weight.detach().clone()
        plain = encoder.invariants(atoms)
        try:
            with torch.no_grad():
                elements.weight[78] += torch.linspace(-1, 1, encoder.module.channels)
            changed = encoder.invariants(atoms)
        finally:
            with torch.no_grad():
                elements.weight.copy_(before)
        assert not encoder.same(changed, plain)

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
        output = encoder.module(replace(batch))
        output.sum().backward()
        assert output.requires_grad
