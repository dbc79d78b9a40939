"""What is computed once for each edge and read by every layer.

Shapes  E edges, R radial functions.
Units   distances in Å.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.graph import GraphBatch
from model.painn.config import PainnConfig


@dataclass(frozen=True)
class EdgeFeatures:
    """Ends, directions and lengths of the edges of one batch."""

    source_E: Tensor
    target_E: Tensor
    direction_E31: Tensor
    basis_ER: Tensor
    envelope_E1: Tensor


def edge_features(graph: GraphBatch, config: PainnConfig) -> EdgeFeatures:
    """Return what the layers read of a graph."""
    source_E, target_E = graph.edge_index_2E
    distance_E1 = graph.edge_distances_E[:, None]
    return EdgeFeatures(
        source_E=source_E,
        target_E=target_E,
        direction_E31=(graph.edge_vectors_E3 / distance_E1)[:, :, None],
        basis_ER=sine_basis(distance_E1, config.max_radius, config.radial_functions),
        envelope_E1=cosine_envelope(distance_E1, config.max_radius),
    )


def sine_basis(distance_E1: Tensor, radius: float, count: int) -> Tensor:
    """Return (E, R): sin(n pi d / radius) / d, table 3 of the paper."""
    order_R = torch.arange(1, count + 1, dtype=distance_E1.dtype, device=distance_E1.device)
    return torch.sin(distance_E1 * (order_R * (math.pi / radius))) / distance_E1


def cosine_envelope(distance_E1: Tensor, radius: float) -> Tensor:
    """Return (E, 1): 1 at no distance, 0 with no slope from ``radius`` on."""
    inside_E1 = distance_E1.clamp(max=radius)
    return 0.5 * (torch.cos(inside_E1 * (math.pi / radius)) + 1)
