"""Graph attention by convolutions that commute with turns about the edge.

Shapes  N nodes, E edges, K coefficients, R those with |m| <= mmax (order-first, harmonics.py),
        C sphere channels, H heads, V value channels of a head, A attention channels of a head.
        In *order parts* (a list over m) each tensor is (E, orders x degrees x channels).
Source  Liao et al. 2023, arXiv:2306.12059, section 4.1; SO(2) convolutions: Passaro & Zitnick
        2023, arXiv:2302.03655.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.equiformer_v2.config import EquiformerV2Config
from model.equiformer_v2.edges import EdgeFeatures, ElementPair
from model.equiformer_v2.harmonics import sphere_grid
from model.equiformer_v2.layers import RadialFunction, SO3Linear


class OrderConvolution(nn.Module):
    """A complex linear map of the coefficients +m and -m of all degrees."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, 2 * out_features, bias=False)

    def forward(self, x_EF: Tensor) -> Tensor:
        """Return (E, 2 out) of (E, 2 in), the +m half first.

        One product with the real form of the complex matrix costs as many operations as two
        products with its parts and spares the passes that would add them up.
        """
        real, imaginary = self.fc.weight.chunk(2)
        matrix = torch.cat(
            (torch.cat((real, -imaginary), dim=1), torch.cat((imaginary, real), dim=1))
        )
        return F.linear(x_EF, matrix)


class SO2Convolution(nn.Module):
    """Linear maps of each order by itself, with or without weights from a radial function."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: EquiformerV2Config,
        *,
        edge_channels: int = 0,
        extra_channels: int = 0,
    ) -> None:
        """Take ``extra_channels`` more invariants out; 0 ``edge_channels``: no radial function."""
        super().__init__()
        degrees = [config.lmax + 1 - m for m in range(config.mmax + 1)]
        self.widths = [in_channels * count for count in degrees]
        self.extra_channels = extra_channels
        self.fc_m0 = nn.Linear(self.widths[0], out_channels * degrees[0] + extra_channels)
        self.so2_m_conv = nn.ModuleList(
            OrderConvolution(width, out_channels * count)
            for width, count in zip(self.widths[1:], degrees[1:], strict=True)
        )
        self.rad_func = None
        if edge_channels:
            self.rad_func = RadialFunction(edge_channels, config.edge_channels, sum(self.widths))

    def split(self, x_ERC: Tensor) -> list[Tensor]:
        """Return the order parts of order-first coefficients, as views."""
        sizes = [self.widths[0], *(2 * width for width in self.widths[1:])]
        return list(x_ERC.flatten(1).split(sizes, dim=1))

    def weighted(self, parts: list[Tensor], weights_EF: Tensor) -> list[Tensor]:
        """Return the parts times the radial weights; +m and -m share theirs."""
        weights = weights_EF.split(self.widths, dim=1)
        first = parts[0] * weights[0]
        rest = [
            (part.unflatten(1, (2, width)) * weight[:, None]).flatten(1)
            for part, weight, width in zip(parts[1:], weights[1:], self.widths[1:], strict=True)
        ]
        return [first, *rest]

    def forward(self, parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return (E, extra) invariants and the order parts."""
        first = self.fc_m0(parts[0])
        extra, first = first[:, : self.extra_channels], first[:, self.extra_channels :]
        rest = [conv(part) for conv, part in zip(self.so2_m_conv, parts[1:], strict=True)]
        return extra, [first, *rest]


def gate_parts(gates_EF: Tensor, parts: list[Tensor], lmax: int, channels: int) -> list[Tensor]:
    """Return gated order parts: SiLU on scalars, a sigmoid gate for each higher degree."""
    gates_ELC = torch.sigmoid(gates_EF).unflatten(1, (lmax, channels))
    scalars = F.silu(parts[0][:, :channels])
    vectors = parts[0][:, channels:] * gates_ELC.flatten(1)
    gated = [torch.cat((scalars, vectors), dim=1)]
    for m, part in enumerate(parts[1:], start=1):
        degrees = lmax + 1 - m
        part_E2LC = part.unflatten(1, (2, degrees, channels))
        gated.append((part_E2LC * gates_ELC[:, None, m - 1 :]).flatten(1))
    return gated


class NeighbourSoftmax(nn.Module):
    """A softmax over the edges that end at the same node."""

    def forward(self, scores_EH: Tensor, target_E: Tensor, n_nodes: int) -> Tensor:
        """Return (E, H) weights that sum to 1 at each node with a neighbour."""
        index_EH = target_E[:, None].expand_as(scores_EH)
        floor_NH = scores_EH.new_full((n_nodes, scores_EH.shape[1]), -torch.inf)
        highest_NH = floor_NH.scatter_reduce(0, index_EH, scores_EH.detach(), "amax")
        weights_EH = torch.exp(scores_EH - highest_NH[target_E])
        total_NH = torch.zeros_like(floor_NH).index_add(0, target_E, weights_EH)
        return weights_EH / (total_NH[target_E] + 1e-16)


class GraphAttention(nn.Module):
    """Attention over neighbours whose values are non-linear messages of source and target."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        self.config = config
        hidden, heads = config.attn_hidden_channels, config.num_heads
        self.elements = ElementPair.of(config)
        self.source_embedding, self.target_embedding = self.elements.embeddings
        self.alpha_channels = heads * config.attn_alpha_channels
        gates = config.lmax * hidden if config.use_gate_act else hidden * config.use_sep_s2_act
        self.so2_conv_1 = SO2Convolution(
            2 * config.sphere_channels,
            hidden,
            config,
            edge_channels=self.elements.edge_channels,
            extra_channels=self.alpha_channels + gates,
        )
        self.alpha_norm = (
            nn.LayerNorm(config.attn_alpha_channels) if config.use_attn_renorm else nn.Identity()
        )
        bound = 1 / math.sqrt(config.attn_alpha_channels)
        self.alpha_dot = nn.Parameter(
            torch.empty(heads, config.attn_alpha_channels).uniform_(-bound, bound)
        )
        self.softmax = NeighbourSoftmax()
        self.alpha_dropout = nn.Dropout(config.alpha_drop)
        self.so2_conv_2 = SO2Convolution(hidden, heads * config.attn_value_channels, config)
        self.proj = SO3Linear(
            heads * config.attn_value_channels, config.sphere_channels, config.lmax
        )
