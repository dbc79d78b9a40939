"""EquiformerV2 as an encoder: a batch of graphs in, equivariant node features out.

Shapes  N nodes, K = (lmax+1)^2 coefficients, C sphere channels.
Units   edge vectors and distances in Å; outputs are learned features.
Source  Liao et al. 2023, arXiv:2306.12059. Parameters carry the published names.

The network is equivariant under rotations and translations, not under mirror images.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.data.graph import GraphBatch
from model.encoders.equiformer_v2.attention import GraphAttention
from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.edges import (
    EdgeDegreeEmbedding,
    EdgeFeatures,
    ElementTables,
    edge_features,
    element_embedding,
)
from model.encoders.equiformer_v2.layers import ChannelDropout, DropPath, FeedForward, normalisation
from model.errors import ModelError
from model.weights import load_exactly


class TransformerBlock(nn.Module):
    """Attention over neighbours, then a feed-forward network, each on a residual branch."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        lmax, channels = config.lmax, config.sphere_channels
        self.norm_1 = normalisation(config.norm_type, lmax, channels)
        self.ga = GraphAttention(config)
        self.norm_2 = normalisation(config.norm_type, lmax, channels)
        self.ffn = FeedForward(config)
        self.drop_path = DropPath(config.drop_path_rate)
        self.proj_drop = ChannelDropout(config.proj_drop)

    def forward(
        self,
        x_NKC: Tensor,
        edges: EdgeFeatures,
        tables: ElementTables,
        graph: GraphBatch,
        *,
        scalars_only: bool = False,
    ) -> Tensor:
        """Return (N, K, C), or the (N, 1, C) scalars."""
        branch_NKC = self.ga(self.norm_1(x_NKC), edges, tables, scalars_only=scalars_only)
        x_NKC = x_NKC[:, : branch_NKC.shape[1]] + self._dropped(branch_NKC, graph)
        return x_NKC + self._dropped(self.ffn(self.norm_2(x_NKC)), graph)

    def _dropped(self, branch_NKC: Tensor, graph: GraphBatch) -> Tensor:
        kept_NKC = self.drop_path(branch_NKC, graph.system_N, graph.n_systems)
        dropped_NKC: Tensor = self.proj_drop(kept_NKC)
        return dropped_NKC


class EquiformerV2(nn.Module):
    """The published backbone, without its energy and force heads."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        self.config = config
        self.channels = config.sphere_channels
        self.sphere_embedding = nn.Embedding(config.max_num_elements, config.sphere_channels)
        self.source_embedding: nn.Embedding | None = None
        self.target_embedding: nn.Embedding | None = None
        if config.share_atom_edge_embedding:
            self.source_embedding = element_embedding(config)
            self.target_embedding = element_embedding(config)
        self.edge_degree_embedding = EdgeDegreeEmbedding(config)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.norm = normalisation(config.norm_type, config.lmax, config.sphere_channels)

    @property
    def elements(self) -> nn.Embedding:
        """The embedding of each atomic number."""
        return self.sphere_embedding

    def forward(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return (N, K, C) node features after the last norm; ``[:, 0]`` are the invariants.

        ``condition_NC`` is added to the scalars before the first layer.
        """
        return self._encode(graph, condition_NC, scalars_only=False)

    def invariants(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return the (N, C) invariants: ``forward(...)[:, 0]``, sooner.

        Where scalars are normalised and activated by themselves, the last layer computes nothing
        else; its weights for higher degrees then get no gradient (with ``forward``: zero).
        """
        only = self.config.has_separate_scalars
        return self._encode(graph, condition_NC, scalars_only=only)[:, 0]

    def _encode(
        self, graph: GraphBatch, condition_NC: Tensor | None, *, scalars_only: bool
    ) -> Tensor:
        self._check_elements(graph.numbers_N)
        edges = edge_features(graph, self.config)
        tables: ElementTables = None
        if self.source_embedding is not None and self.target_embedding is not None:
            tables = self.source_embedding.weight, self.target_embedding.weight
        scalars_NC = self.sphere_embedding(graph.numbers_N)
        if condition_NC is not None:
            scalars_NC = scalars_NC + condition_NC
        x_NKC = self.edge_degree_embedding(edges, tables, len(scalars_NC))
        x_NKC = torch.cat((x_NKC[:, :1] + scalars_NC[:, None], x_NKC[:, 1:]), dim=1)
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            wants_scalars = scalars_only and layer == last
            x_NKC = block(x_NKC, edges, tables, graph, scalars_only=wants_scalars)
        out_NKC: Tensor = self.norm(x_NKC)
        return out_NKC

    def _check_elements(self, numbers_N: Tensor) -> None:
        limit = self.config.max_num_elements
        if numbers_N.numel() and int(numbers_N.max()) >= limit:
            raise ModelError(
                f"atomic numbers must be below {limit}, got {int(numbers_N.max())}; leave the "
                "structure out or raise max_num_elements and train again"
            )


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
