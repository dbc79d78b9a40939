"""The values of each edge that are computed once and read by every layer.

Shapes  E edges, G Gaussians, K coefficients, R those with |m| <= mmax (order-first), Z elements,
        X edge channels.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.data.graph import GraphBatch
from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.harmonics import edge_rotations, order_first, truncation_scale
from model.encoders.equiformer_v2.layers import gaussian_basis

ElementTables = tuple[Tensor, Tensor] | None  # (Z, X) for the source and for the target


@dataclass(frozen=True)
class EdgeFeatures:
    """Invariants and frames of the edges of one batch."""

    source_E: Tensor
    target_E: Tensor
    source_number_E: Tensor
    target_number_E: Tensor
    basis_EG: Tensor
    to_frame_ERK: Tensor
    from_frame_EKR: Tensor


def edge_features(graph: GraphBatch, config: EquiformerV2Config) -> EdgeFeatures:
    """Return these values; frames carry no gradient, as in the published model."""
    source_E, target_E = graph.edge_index_2E
    to_frame_ERK = edge_rotations(graph.edge_vectors_E3, config.lmax, config.mmax)
    from_frame_EKR = to_frame_ERK.transpose(1, 2)
    if config.mmax < config.lmax:
        scale_K = truncation_scale(config.lmax, config.mmax)
        scale_R = scale_K[order_first(config.lmax, config.mmax)]
        from_frame_EKR = from_frame_EKR * scale_R.to(to_frame_ERK)
    return EdgeFeatures(
        source_E=source_E,
        target_E=target_E,
        source_number_E=graph.numbers_N[source_E],
        target_number_E=graph.numbers_N[target_E],
        basis_EG=gaussian_basis(
            graph.edge_distances_E, config.max_radius, config.num_distance_basis
        ),
        to_frame_ERK=to_frame_ERK,
        from_frame_EKR=from_frame_EKR,
    )


def element_embedding(config: EquiformerV2Config) -> nn.Embedding:
    """Return an embedding of the elements for edge features, close to zero at the start."""
    embedding = nn.Embedding(config.max_num_elements, config.edge_channels)
    nn.init.uniform_(embedding.weight, -0.001, 0.001)
    return embedding


class RadialFunction(nn.Module):
    """A perceptron with two hidden layers: distance and elements of an edge to its weights."""

    def __init__(self, config: EquiformerV2Config, out_channels: int) -> None:
        super().__init__()
        hidden = config.edge_channels
        self.n_basis = config.num_distance_basis
        n_inputs = self.n_basis + 2 * hidden * config.use_atom_edge_embedding
        self.net = nn.Sequential(
            nn.Linear(n_inputs, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, out_channels),
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -(layer.in_features**-0.5), layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, edges: EdgeFeatures, tables: ElementTables, n_out: int) -> Tensor:
        """Return (E, n_out): the first ``n_out`` weights.

        The first layer's share of each element is worked out once for each element and looked up,
        rather than once for each edge.
        """
        first = cast(nn.Linear, self.net[0])
        weight = first.weight
        hidden_EX = functional.linear(edges.basis_EG, weight[:, : self.n_basis], first.bias)
        if tables is not None:
            source_XX, target_XX = weight[:, self.n_basis :].chunk(2, dim=1)
            source_EX = functional.embedding(edges.source_number_E, tables[0] @ source_XX.T)
            target_EX = functional.embedding(edges.target_number_E, tables[1] @ target_XX.T)
            hidden_EX = hidden_EX + source_EX + target_EX
        last = cast(nn.Linear, self.net[-1])
        hidden_EX = self.net[1:-1](hidden_EX)
        return functional.linear(hidden_EX, last.weight[:n_out], last.bias[:n_out])


class EdgeDegreeEmbedding(nn.Module):
    """The first node coefficients: a sum over neighbours of features along each edge."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        self.degrees, self.rescale_factor = config.lmax + 1, config.avg_degree
        self.source_embedding: nn.Embedding | None = None
        self.target_embedding: nn.Embedding | None = None
        if config.use_atom_edge_embedding and not config.share_atom_edge_embedding:
            self.source_embedding = element_embedding(config)
            self.target_embedding = element_embedding(config)
        self.n_weights = self.degrees * config.sphere_channels
        self.rad_func = RadialFunction(config, self.n_weights)

    def forward(self, edges: EdgeFeatures, tables: ElementTables, n_nodes: int) -> Tensor:
        """Return (N, K, C); ``tables`` serve where the embeddings are shared by all layers."""
        if self.source_embedding is not None and self.target_embedding is not None:
            tables = self.source_embedding.weight, self.target_embedding.weight
        axial_ELC = torch.unflatten(
            self.rad_func(edges, tables, self.n_weights), 1, (self.degrees, -1)
        )
        # Only m = 0 is filled: a function of the distance is symmetric about the edge.
        message_EKC = torch.bmm(edges.from_frame_EKR[:, :, : self.degrees], axial_ELC)
        total_NKC = message_EKC.new_zeros(n_nodes, *message_EKC.shape[1:])
        return total_NKC.index_add(0, edges.target_E, message_EKC) / self.rescale_factor
