"""The contract of encoders: built from a configuration, written as JSON and read again."""

import json
from typing import Any

import pytest
import torch

from model.encoders.equiformer_v2 import EquiformerV2, EquiformerV2Config
from model.encoders.painn import Painn, PainnConfig
from model.encoders.registry import build_encoder, encoder_from_json, encoder_to_json
from model.errors import ModelError

EQUIFORMER = EquiformerV2Config(
    num_layers=1, sphere_channels=8, lmax=1, mmax=1, grid_resolution=None, max_radius=5.0
)
PAINN = PainnConfig(channels=8, layers=1)


@pytest.mark.parametrize(
    ("config", "kind"), [(EQUIFORMER, "equiformer_v2"), (PAINN, "painn")], ids=str
)
def test_a_configuration_survives_json(config: Any, kind: str) -> None:
    values = json.loads(json.dumps(encoder_to_json(config)))
    assert values["kind"] == kind
    assert encoder_from_json(values) == config


def test_values_without_a_kind_are_an_equiformer_v2() -> None:
    values = encoder_to_json(EQUIFORMER)
    del values["kind"]
    assert encoder_from_json(values) == EQUIFORMER


def test_settings_that_are_left_out_are_the_defaults() -> None:
    assert encoder_from_json({"kind": "painn", "layers": 2}) == PainnConfig(layers=2)


def test_whole_numbers_are_numbers() -> None:
    assert encoder_from_json({"kind": "painn", "max_radius": 5}).max_radius == 5


def test_reading_leaves_the_values_as_they_are() -> None:
    values = {"kind": "painn"}
    encoder_from_json(values)
    assert values == {"kind": "painn"}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"kind": "schnet"}, "must be one of equiformer_v2, painn, fairchem, got 'schnet'"),
        ({"kind": ["painn"]}, "must be one of equiformer_v2, painn"),
        ({"kind": "painn", "lmax": 2}, "painn has no setting lmax; choose among channels, layers"),
        ({"channels": 64}, "equiformer_v2 has no setting channels; choose among num_layers"),
        (
            {"kind": "painn", "channels": "many"},
            "channels of encoder painn must be int, got 'many'",
        ),
        ({"kind": "painn", "layers": 2.5}, "layers of encoder painn must be int, got 2.5"),
        ({"kind": "painn", "layers": True}, "layers of encoder painn must be int, got True"),
        ({"max_radius": "6"}, "max_radius of encoder equiformer_v2 must be float, got '6'"),
        ({"grid_resolution": "18"}, r"grid_resolution .* must be int \| None, got '18'"),
        ({"kind": "painn", "channels": 0}, "channels must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ModelError, match=rule):
        encoder_from_json(values)


@pytest.mark.parametrize(("config", "kind"), [(EQUIFORMER, EquiformerV2), (PAINN, Painn)], ids=str)
def test_the_configuration_chooses_the_encoder(config: Any, kind: type) -> None:
    encoder = build_encoder(config)
    assert isinstance(encoder, kind)
    assert encoder.channels == 8
    assert encoder.elements.weight.shape == (config.max_num_elements, 8)


def test_weights_of_equiformer_v2_keep_their_published_names() -> None:
    names = build_encoder(EQUIFORMER).state_dict().keys()
    assert "sphere_embedding.weight" in names
    assert not [name for name in names if name.startswith("elements")]


def test_weights_survive_a_round_trip() -> None:
    first, second = build_encoder(PAINN), build_encoder(PAINN)
    second.load_state_dict(first.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
