"""Encoders under one contract: a batch of graphs in, invariant node features out.

Shapes  N atoms, C channels.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from torch import Tensor, nn

from model.data.graph import GraphBatch
from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.encoder import EquiformerV2, load_backbone
from model.encoders.fairchem import FairchemConfig, FairchemEncoder
from model.encoders.painn.config import PainnConfig
from model.encoders.painn.encoder import Painn
from model.errors import ModelError
from model.weights import load_exactly, read_weights

EncoderConfig = EquiformerV2Config | PainnConfig | FairchemConfig
ENCODER_KINDS: dict[str, type[EquiformerV2Config] | type[PainnConfig] | type[FairchemConfig]] = {
    "equiformer_v2": EquiformerV2Config,
    "painn": PainnConfig,
    "fairchem": FairchemConfig,
}
OLDEST_KIND = "equiformer_v2"  # checkpoints written before there was a choice name none


class Encoder(Protocol):
    """The interface that the model requires of every graph encoder.

    A graph may hold systems without atoms, and no atom or no edge at all.
    """

    channels: int

    @property
    def elements(self) -> nn.Embedding:
        """The embedding of each atomic number."""

    def invariants(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return (N, C) invariants; the condition is added to the scalars before any layer."""


def build_encoder(config: EncoderConfig) -> EquiformerV2 | Painn | FairchemEncoder:
    """Return an untrained encoder, or the one that fairchem's checkpoint holds."""
    if isinstance(config, FairchemConfig):
        return FairchemEncoder(config)
    return Painn(config) if isinstance(config, PainnConfig) else EquiformerV2(config)


def load_encoder(config: EncoderConfig, weights: Path) -> EquiformerV2 | Painn:
    """Return an encoder with the weights of a file: a published EquiformerV2, or one of ours.

    Raises:
        ModelError: the file cannot be read or is of another configuration.
    """
    if isinstance(config, FairchemConfig):
        raise ModelError(
            f"an encoder of fairchem has its weights from encoder.checkpoint, got {weights} too; "
            "leave encoder_weights out"
        )
    if isinstance(config, PainnConfig):
        painn = Painn(config)
        load_exactly(painn, read_weights(weights), str(weights))
        return painn
    equiformer = EquiformerV2(config)
    load_backbone(equiformer, read_weights(weights))
    return equiformer


def encoder_to_json(config: EncoderConfig) -> dict[str, Any]:
    """Return plain values, as :func:`encoder_from_json` reads them."""
    kind = next(name for name, each in ENCODER_KINDS.items() if isinstance(config, each))
    return {"kind": kind, **asdict(config)}


def encoder_from_json(values: Mapping[str, Any]) -> EncoderConfig:
    """Rebuild the configuration that :func:`encoder_to_json` wrote; no kind is an EquiformerV2.

    Raises:
        ModelError: the kind or a setting is unknown, or a value has a wrong type or cannot be.
    """
    settings = dict(values)
    kind = settings.pop("kind", OLDEST_KIND)
    if not isinstance(kind, str) or kind not in ENCODER_KINDS:
        raise ModelError(
            f"an encoder's kind must be one of {', '.join(ENCODER_KINDS)}, got {kind!r}"
        )
    types = get_type_hints(ENCODER_KINDS[kind])
    if unknown := sorted(map(str, settings.keys() - types.keys())):
        raise ModelError(
            f"encoder {kind} has no setting {', '.join(unknown)}; choose among {', '.join(types)}"
        )
    for name, value in settings.items():
        if not _fits(value, types[name]):
            expected = getattr(types[name], "__name__", types[name])
            raise ModelError(f"{name} of encoder {kind} must be {expected}, got {value!r}")
    return ENCODER_KINDS[kind](**settings)


def _fits(value: object, expected: Any) -> bool:
    """Return whether a value is of the type; an int is a float, True is no int."""
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, int | float if expected is float else expected)
