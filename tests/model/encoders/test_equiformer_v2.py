"""EquiformerV2: its symmetries, and its agreement with the published implementation."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from support.encoder_suite import Encoder, EncoderSuite, adslab
from support.paths import REPOSITORY
from torch import Tensor

from model.data.graph import GraphBatch
from model.encoders.equiformer_v2 import EquiformerV2, EquiformerV2Config
from model.encoders.equiformer_v2.encoder import backbone_weights, load_backbone
from model.encoders.equiformer_v2.harmonics import (
    edge_rotations,
    order_first,
    sphere_grid,
    spherical_harmonics,
)
from model.errors import ModelError

DATA = REPOSITORY / "tests" / "data"
CPU = torch.device("cpu")
GATE = EquiformerV2Config(
    num_layers=2,
    sphere_channels=16,
    attn_hidden_channels=8,
    num_heads=2,
    attn_alpha_channels=8,
    attn_value_channels=4,
    ffn_hidden_channels=16,
    lmax=2,
    grid_resolution=None,
    edge_channels=8,
    num_distance_basis=32,
    max_radius=5.0,
    max_neighbors=16,
    use_gate_act=True,
    use_grid_mlp=False,
)
TRUNCATED = replace(GATE, lmax=3, mmax=1, norm_type="rms_norm_sh")
SPHERE = replace(GATE, use_gate_act=False, grid_resolution=18)
GRID = replace(SPHERE, lmax=4, use_grid_mlp=True)


def encoder(config: EquiformerV2Config, dtype: torch.dtype, tolerance: float) -> Encoder:
    torch.manual_seed(0)
    module = EquiformerV2(config).to(dtype).eval()
    return Encoder(module, config.max_radius, config.max_neighbors, dtype, tolerance)


class TestGate(EncoderSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return encoder(GATE, torch.float32, 1e-5)


class TestGateInDoublePrecision(EncoderSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return encoder(GATE, torch.float64, 1e-10)


class TestTruncatedOrders(EncoderSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return encoder(TRUNCATED, torch.float64, 1e-10)


class TestSeparableSphereActivation(EncoderSuite):
    """Points on a sphere cannot represent the activation exactly, so symmetry is approximate."""

    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return encoder(SPHERE, torch.float32, 1e-3)


class TestGridFeedForward(EncoderSuite):
    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        return encoder(GRID, torch.float32, 1e-3)


def fixture(name: str) -> tuple[EquiformerV2Config, dict[str, Tensor], GraphBatch, Tensor]:
    with safe_open(DATA / f"equiformer_v2_{name}.safetensors", framework="pt") as file:
        config = EquiformerV2Config(**json.loads(file.metadata()["config"]))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if "weights." in k}
    graph = {k.removeprefix("graph."): v for k, v in tensors.items() if "graph." in k}
    return config, weights, GraphBatch(**graph, n_systems=2), tensors["nodes_NKC"]


@pytest.mark.parametrize("name", ["gate", "grid"])
def test_outputs_are_those_of_the_published_code(name: str) -> None:
    config, weights, graph, expected = fixture(name)
    module = EquiformerV2(config).double().eval()
    load_backbone(module, weights)
    with torch.no_grad():
        assert torch.allclose(module(graph), expected, rtol=0, atol=1e-10)


def test_published_checkpoints_load_from_under_their_prefixes_heads_and_tables() -> None:
    config, weights, _, _ = fixture("gate")
    published = {f"module.module.backbone.{name}": value for name, value in weights.items()}
    published |= {
        "module.module.backbone.blocks.0.ga.proj.expand_index": torch.zeros(1),
        "module.module.backbone.SO3_rotation.0.mapping.to_m": torch.zeros(1),
        "module.module.output_heads.energy.energy_block.so3_linear_1.weight": torch.zeros(1),
        "module.force_block.alpha_dot": torch.zeros(1),
    }
    assert backbone_weights(published).keys() == weights.keys()
    load_backbone(EquiformerV2(config), published)


def test_weights_of_another_configuration_are_refused() -> None:
    config, weights, _, _ = fixture("gate")
    with pytest.raises(ModelError, match="differ, first blocks"):
        load_backbone(EquiformerV2(replace(config, num_layers=1)), weights)
    with pytest.raises(ModelError, match="differ, first"):
        load_backbone(EquiformerV2(replace(config, sphere_channels=7)), weights)


def test_the_published_configuration_has_the_published_size() -> None:
    with torch.device("meta"):
        module = EquiformerV2(EquiformerV2Config())
    assert sum(value.numel() for value in module.parameters()) == 27_780_992  # 31M with the heads


def test_an_unknown_element_is_refused() -> None:
    atoms = adslab(0)
    atoms.numbers[0] = 92
    known = encoder(GATE, torch.float32, 1e-5)
    with pytest.raises(ModelError, match="below 90, got 92"):
        known.invariants(atoms)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"mmax": 5}, "mmax <= lmax"),
        ({"norm_type": "batch"}, "norm_type must be one of"),
        ({"use_s2_act_attn": True}, "use_s2_act_attn must be false"),
        ({"grid_resolution": 7}, "must be even"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        replace(GATE, **change)


def test_drop_path_leaves_out_whole_systems_in_training_only() -> None:
    dropping = encoder(replace(GATE, drop_path_rate=0.5, alpha_drop=0.5), torch.float32, 1e-5)
    batch = dropping.batch(adslab(0), adslab(1))
    calm = dropping.module(batch)
    assert torch.allclose(dropping.module(batch), calm, atol=1e-5)
    dropping.module.train()
    assert not torch.allclose(dropping.module(batch), calm, atol=1e-2)


def test_edge_frames_put_the_edge_on_the_polar_axis() -> None:
    vectors = torch.randn(50, 3, dtype=torch.float64)
    vectors[:3] = torch.tensor([[0.0, 2.0, 0.0], [0.0, -1.5, 0.0], [1e-9, 1.0, 0.0]])
    rotations = edge_rotations(vectors, 4, 4)
    harmonics = spherical_harmonics(vectors / vectors.norm(dim=1, keepdim=True), 4)
    turned = torch.einsum("erk,ek->er", rotations, harmonics)
    pole = spherical_harmonics(torch.tensor([[0.0, 1.0, 0.0]]), 4)[:, order_first(4, 4)]
    assert torch.allclose(turned, pole.expand_as(turned), atol=1e-12)
    identity = torch.eye(25, dtype=torch.float64)
    assert torch.allclose(rotations @ rotations.mT, identity.expand(50, -1, -1), atol=1e-12)


def test_degree_one_harmonics_are_x_y_z() -> None:
    points = torch.nn.functional.normalize(torch.randn(9, 3, dtype=torch.float64), dim=1)
    harmonics = spherical_harmonics(points, 1)[:, 1:] * (4 * torch.pi / 3) ** 0.5
    assert torch.allclose(harmonics, points)


@pytest.mark.parametrize("resolution", [None, 18])
def test_there_and_back_from_the_grid_is_the_identity(resolution: int | None) -> None:
    to_grid, from_grid = sphere_grid(4, 4, resolution, torch.float64, CPU)
    assert torch.allclose(from_grid @ to_grid, torch.eye(25, dtype=torch.float64), atol=1e-12)
