"""Weights of published EquiformerV2 checkpoints, as this encoder takes them.

The published files hold the backbone, the energy and force heads, and many constant tables
(Wigner mappings, grids, index maps) that this encoder derives from its configuration.
"""

from collections.abc import Mapping

from torch import Tensor

from model.encoders.equiformer_v2.encoder import EquiformerV2
from model.weights import load_exactly

PREFIXES = ("module.", "backbone.")
HEADS = ("energy_block.", "force_block.", "output_heads.", "energy_lin_ref")
# Endings of the published constant tables, in the layers and at the top level.
CONSTANTS = ("expand_index", "balance_degree_weight")
CONSTANT_MODULES = ("SO3_rotation", "SO3_grid", "mappingReduced", "distance_expansion")


def backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone's parameters under their bare names, without heads and constants."""
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        bare = _bare(name)
        parts = bare.split(".")
        is_constant = parts[-1] in CONSTANTS or any(part in CONSTANT_MODULES for part in parts)
        if not is_constant and not bare.startswith(HEADS):
            weights[bare] = tensor
    return weights


def _bare(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name


def load_backbone(encoder: EquiformerV2, state: Mapping[str, Tensor]) -> None:
    """Load the backbone of a published state dict; every name and shape must agree."""
    load_exactly(encoder, backbone_weights(state), "an EquiformerV2 checkpoint")
