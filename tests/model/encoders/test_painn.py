"""PaiNN: its symmetries, its cutoff, and its hand-written backward pass."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.interpolate import BSpline
from support.encoder_suite import Encoder, EncoderSuite, adslab
from torch import Tensor

from model.data.graph import collate
from model.encoders.painn import Painn, PainnConfig
from model.encoders.painn.edges import Edges, NeighbourSum, cosine_envelope, cubic_splines, edges_of
from model.errors import ModelError

SMALL = PainnConfig(channels=16, layers=2, radial_functions=12, max_radius=5.0, max_neighbors=16)


def painn(config: PainnConfig, dtype: torch.dtype, tolerance: float) -> Encoder:
    torch.manual_seed(0)
    module = Painn(config).to(dtype).eval()
    return Encoder(module, config.max_radius, config.max_neighbors, dtype, tolerance)


class MirrorSuite(EncoderSuite):
    """Left and right are alike, too."""

    def test_a_mirror_image_has_the_same_invariants(self, encoder: Encoder, atoms: Atoms) -> None:
        matrix = np.diag([1.0, 1.0, -1.0])
        mirrored = atoms.copy()
        mirrored.set_cell(atoms.cell[:] @ matrix)
        mirrored.positions = atoms.positions @ matrix
        assert encoder.same(encoder.invariants(mirrored), encoder.invariants(atoms))


class TestPainn(MirrorSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return painn(SMALL, torch.float32, 2e-5)


class TestPainnInDoublePrecision(MirrorSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return painn(SMALL, torch.float64, 1e-10)


class TestOneLayer(MirrorSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return painn(replace(SMALL, layers=1), torch.float64, 1e-10)


def pair(distance_ang: float) -> Atoms:
    """Return CO stretched to a distance, alone."""
    return Atoms("CO", [(0, 0, 0), (0, 0, distance_ang)], cell=[40, 40, 40], pbc=True)


def test_features_fade_out_before_the_cutoff() -> None:
    encoder = painn(SMALL, torch.float64, 1e-10)
    apart = encoder.invariants(pair(SMALL.max_radius + 0.1))
    gaps = [
        float((encoder.invariants(pair(SMALL.max_radius - inside)) - apart).abs().max())
        for inside in (1e-2, 1e-3, 1e-4)
    ]
    assert gaps[0] < 1e-2
    # No jump and no kink: a tenth of the way in, a hundredth of the gap.
    assert all(near < 0.02 * far for far, near in pairwise(gaps))


def sharpest_bend(encoder: Encoder, step_ang: float) -> float:
    """Return the largest second difference quotient along CO's bond and past the cutoff."""
    distances = np.arange(0.9, SMALL.max_radius + 0.2, step_ang)
    curve = encoder.invariants(*(pair(distance) for distance in distances))[::2]
    return float(curve.diff(dim=0).diff(dim=0).abs().max()) / step_ang**2


def test_features_bend_smoothly_with_distance() -> None:
    """At a kink the quotient would double with half the step."""
    encoder = painn(SMALL, torch.float64, 1e-10)
    assert sharpest_bend(encoder, 0.005) < 1.2 * sharpest_bend(encoder, 0.01)


def test_splines_are_those_of_scipy() -> None:
    distance_E = torch.linspace(0, 5, 101, dtype=torch.float64)
    count = 12
    interval_E, spline_EF = cubic_splines(distance_E, 5.0, count)
    dense_ER = torch.zeros(101, count, dtype=torch.float64)
    dense_ER.scatter_(1, interval_E[:, None] + torch.arange(4), spline_EF)
    width = 5.0 / (count - 3)
    knots = width * np.arange(-3, count + 1)
    expected = BSpline.design_matrix(np.minimum(distance_E, 5 - 1e-12), knots, 3).toarray()
    assert np.allclose(dense_ER, expected, atol=1e-9)


def test_the_envelope_is_one_at_no_distance_and_zero_from_the_radius_on() -> None:
    envelope = cosine_envelope(torch.tensor([0.0, 2.5, 5.0, 7.0]), 5.0)
    assert torch.allclose(envelope, torch.tensor([1.0, 0.5, 0.0, 0.0]), atol=1e-7)


def literal_sums(
    message_PNC: Tensor, tables_PRC: Tensor, vectors_DNC: Tensor, edges: Edges
) -> tuple[Tensor, Tensor]:
    """Return equations 7 and 8 as they are written."""
    n_nodes = message_PNC.shape[1]
    filters_PEC = torch.einsum("ef,pefc->pec", edges.spline_EF, tables_PRC[:, edges.rows_EF])
    edge_PEC = message_PNC[:, edges.source_E] * filters_PEC
    scalar_NC = torch.zeros(n_nodes, message_PNC.shape[2], dtype=message_PNC.dtype)
    vector_EDC = edge_PEC[1][:, None] * edges.direction_DE.T[..., None]
    vector_EDC = vector_EDC + edge_PEC[2][:, None] * vectors_DNC[:, edges.source_E].transpose(0, 1)
    vector_NDC = torch.zeros(n_nodes, 3, message_PNC.shape[2], dtype=message_PNC.dtype)
    return (
        scalar_NC.index_add(0, edges.target_E, edge_PEC[0]),
        vector_NDC.index_add(0, edges.target_E, vector_EDC).transpose(0, 1),
    )


def test_sums_over_neighbours_and_their_gradients_are_those_of_the_equations() -> None:
    encoder = painn(SMALL, torch.float64, 1e-10)
    batch = encoder.batch(adslab(0), adslab(1))
    edges = edges_of(batch, SMALL)
    generator = torch.Generator().manual_seed(1)
    shapes = ((3, len(batch.numbers_N), 16), (3, 12, 16), (3, len(batch.numbers_N), 16))
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in shapes
    ]
    ours, theirs = NeighbourSum.apply(*inputs, edges), literal_sums(*inputs, edges)
    weights = [torch.randn(o.shape, dtype=o.dtype, generator=generator) for o in ours]
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, atol=1e-12)
    gradients = [
        torch.autograd.grad(
            sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)), inputs
        )
        for outputs in (ours, theirs)
    ]
    for our, their in zip(*gradients, strict=True):
        assert torch.allclose(our, their, atol=1e-10)


def test_a_condition_enters_where_an_element_does() -> None:
    """Carbon, told that it is nitrogen, is nitrogen."""
    encoder = painn(SMALL, torch.float64, 1e-10)
    carbon, nitrogen = adslab(0), adslab(0)
    nitrogen.numbers[nitrogen.numbers == 6] = 7
    batch = encoder.batch(carbon)
    weight = encoder.module.elements.weight.detach()
    shift_NC = torch.where((batch.numbers_N == 6)[:, None], weight[7] - weight[6], 0.0)
    assert encoder.same(encoder.encode(batch, shift_NC), encoder.invariants(nitrogen))
    assert not encoder.same(encoder.invariants(carbon), encoder.invariants(nitrogen))


def test_bulk_surface_and_adsorbate_atoms_are_told_apart() -> None:
    encoder = painn(SMALL, torch.float64, 1e-10)
    batch = encoder.batch(adslab(0))
    answers = [
        encoder.encode(replace(batch, tags_N=torch.full_like(batch.tags_N, tag)))
        for tag in (0, 1, 2)
    ]
    assert not encoder.same(answers[0], answers[1])
    assert not encoder.same(answers[1], answers[2])


def test_inference_prepares_nothing_for_a_backward_pass() -> None:
    batch = painn(SMALL, torch.float32, 1e-5).batch(adslab(0))
    assert edges_of(batch, SMALL).backwards is not None
    with torch.no_grad():
        assert edges_of(batch, SMALL).backwards is None


def test_an_unknown_element_is_refused() -> None:
    atoms = adslab(0)
    atoms.numbers[0] = 95
    with pytest.raises(ModelError, match="below 95, got 95"):
        painn(SMALL, torch.float32, 1e-5).invariants(atoms)


def test_a_tag_that_says_nothing_is_refused() -> None:
    atoms = adslab(0)
    atoms.set_tags(3)
    with pytest.raises(ModelError, match=r"tags must be 0 .* got 3 to 3"):
        painn(SMALL, torch.float32, 1e-5).invariants(atoms)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"channels": 0}, "channels must be at least 1"),
        ({"radial_functions": 3}, "radial_functions must be at least 4"),
        ({"max_radius": 0.0}, "max_radius must be positive"),
        ({"avg_degree": -1.0}, "avg_degree must be positive"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        replace(SMALL, **change)


def test_many_structures_train_together_as_one_by_one() -> None:
    encoder = painn(SMALL, torch.float64, 1e-10)
    graphs = [encoder.graph(adslab(0)), encoder.graph(adslab(1))]

    def gradients(*batches: list[int]) -> list[Tensor]:
        encoder.module.zero_grad()
        for members in batches:
            batch = collate([graphs[i] for i in members], torch.float64)
            encoder.module.invariants(batch).pow(3).sum().backward()
        return [p.grad.clone() for p in encoder.module.parameters() if p.grad is not None]

    for together, apart in zip(gradients([0, 1]), gradients([0], [1]), strict=True):
        assert torch.allclose(together, apart, rtol=1e-9, atol=1e-9)
