"""Graph attention by convolutions that commute with turns about the edge.

Shapes  N nodes, E edges, K coefficients, R those with |m| <= mmax (order-first, harmonics.py),
        C sphere channels, H heads, V value channels of a head, A attention channels of a head.
        In *order parts* (a list over m) each tensor is (E, orders x degrees x channels).
Source  Liao et al. 2023, arXiv:2306.12059, section 4.1; SO(2) convolutions: Passaro & Zitnick
        2023, arXiv:2302.03655.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.edges import (
    EdgeFeatures,
    ElementTables,
    RadialFunction,
    element_embedding,
)
from model.encoders.equiformer_v2.harmonics import sphere_grid
from model.encoders.equiformer_v2.layers import SO3Linear, plain_linear


class OrderConvolution(nn.Module):
    """A complex linear map of the coefficients +m and -m of all degrees."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.fc = plain_linear(in_features, 2 * out_features, bias=False)

    def forward(self, x_EF: Tensor) -> Tensor:
        """Return (E, 2 out) of (E, 2 in), the +m half first.

        One product with the real form of the complex matrix costs as many operations as two
        products with its parts and spares the passes that would add them up.
        """
        real, imaginary = self.fc.weight.chunk(2)
        matrix = torch.cat(
            (torch.cat((real, -imaginary), dim=1), torch.cat((imaginary, real), dim=1))
        )
        return functional.linear(x_EF, matrix)


class SO2Convolution(nn.Module):
    """Linear maps of each order by itself, with or without weights from a radial function."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: EquiformerV2Config,
        *,
        has_radial: bool = False,
        extra_channels: int = 0,
    ) -> None:
        super().__init__()
        degrees = [config.lmax + 1 - m for m in range(config.mmax + 1)]
        self.widths = [in_channels * count for count in degrees]
        self.extra_channels = extra_channels
        self.fc_m0 = plain_linear(self.widths[0], out_channels * degrees[0] + extra_channels)
        self.so2_m_conv = nn.ModuleList(
            OrderConvolution(width, out_channels * count)
            for width, count in zip(self.widths[1:], degrees[1:], strict=True)
        )
        self.rad_func = None
        if has_radial:
            self.rad_func = RadialFunction(config, sum(self.widths))

    def split(self, x_ERC: Tensor) -> list[Tensor]:
        """Return the order parts of order-first coefficients, as views; R may hold m = 0 alone."""
        sizes = [self.widths[0], *(2 * width for width in self.widths[1:])]
        x_EF = x_ERC.flatten(1)
        sizes = sizes[:1] if x_EF.shape[1] == self.widths[0] else sizes
        return list(torch.split(x_EF, sizes, dim=1))

    def weighted(self, parts: list[Tensor], weights_EF: Tensor) -> list[Tensor]:
        """Return the parts times the radial weights; +m and -m share theirs."""
        widths = self.widths[: len(parts)]
        weights = torch.split(weights_EF, widths, dim=1)
        first = parts[0] * weights[0]
        rest = [
            (torch.unflatten(part, 1, (2, width)) * weight[:, None]).flatten(1)
            for part, weight, width in zip(parts[1:], weights[1:], widths[1:], strict=True)
        ]
        return [first, *rest]

    def forward(self, parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return (E, extra) invariants and the order parts, of as many orders as came in."""
        first = self.fc_m0(parts[0])
        extra, first = first[:, : self.extra_channels], first[:, self.extra_channels :]
        convolutions = self.so2_m_conv[: len(parts) - 1]
        rest = [conv(part) for conv, part in zip(convolutions, parts[1:], strict=True)]
        return extra, [first, *rest]

    def scalars(self, part_EF: Tensor, channels: int) -> Tensor:
        """Return the (E, channels) scalars alone, which only the m = 0 part feeds."""
        weight, bias = self.fc_m0.weight[:channels], self.fc_m0.bias[:channels]
        return functional.linear(part_EF, weight, bias)


def gate_parts(gates_EF: Tensor, parts: list[Tensor], lmax: int, channels: int) -> list[Tensor]:
    """Return gated order parts: SiLU on scalars, a sigmoid gate for each higher degree."""
    gates_ELC = torch.unflatten(torch.sigmoid(gates_EF), 1, (lmax, channels))
    scalars = functional.silu(parts[0][:, :channels])
    vectors = parts[0][:, channels:] * gates_ELC.flatten(1)
    gated = [torch.cat((scalars, vectors), dim=1)]
    for m, part in enumerate(parts[1:], start=1):
        degrees = lmax + 1 - m
        part_E2LC = torch.unflatten(part, 1, (2, degrees, channels))
        gated.append((part_E2LC * gates_ELC[:, None, m - 1 :]).flatten(1))
    return gated


def neighbour_softmax(scores_EH: Tensor, target_E: Tensor, n_nodes: int) -> Tensor:
    """Return (E, H) weights that sum to 1 over the edges that end at the same node."""
    index_EH = target_E[:, None].expand_as(scores_EH)
    floor_NH = scores_EH.new_full((n_nodes, scores_EH.shape[1]), -torch.inf)
    highest_NH = floor_NH.scatter_reduce(0, index_EH, scores_EH.detach(), "amax")
    weights_EH = torch.exp(scores_EH - highest_NH[target_E])
    total_NH = torch.zeros_like(floor_NH).index_add(0, target_E, weights_EH)
    return weights_EH / (total_NH[target_E] + 1e-16)


def smooth_leaky_relu(x: Tensor) -> Tensor:
    """Return a leaky ReLU, of slope 0.2, rounded off at zero."""
    return x * (0.2 + (1 - 0.2) * torch.sigmoid(x))


class GraphAttention(nn.Module):
    """Attention over neighbours whose values are non-linear messages of source and target."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        self.config = config
        hidden, heads = config.attn_hidden_channels, config.num_heads
        values, alphas = heads * config.attn_value_channels, config.attn_alpha_channels
        self.source_embedding: nn.Embedding | None = None
        self.target_embedding: nn.Embedding | None = None
        if config.use_atom_edge_embedding and not config.share_atom_edge_embedding:
            self.source_embedding = element_embedding(config)
            self.target_embedding = element_embedding(config)
        self.n_gates = config.lmax * hidden if config.use_gate_act else hidden
        if not config.use_gate_act and not config.use_sep_s2_act:
            self.n_gates = 0
        self.so2_conv_1 = SO2Convolution(
            2 * config.sphere_channels,
            hidden,
            config,
            has_radial=True,
            extra_channels=heads * alphas + self.n_gates,
        )
        self.alpha_norm = nn.LayerNorm(alphas) if config.use_attn_renorm else nn.Identity()
        bound = 1 / math.sqrt(alphas)
        self.alpha_dot = nn.Parameter(torch.empty(heads, alphas).uniform_(-bound, bound))
        self.alpha_dropout = nn.Dropout(config.alpha_drop)
        self.so2_conv_2 = SO2Convolution(hidden, values, config)
        self.proj = SO3Linear(values, config.sphere_channels, config.lmax)

    def forward(
        self,
        x_NKC: Tensor,
        edges: EdgeFeatures,
        tables: ElementTables,
        *,
        scalars_only: bool = False,
    ) -> Tensor:
        """Return (N, K, C); a node without neighbours gets the bias of the projection alone.

        ``scalars_only`` returns the (N, 1, C) scalars. Gates never mix orders, so a gated layer
        then leaves out all orders but m = 0.

        Args:
            x_NKC: Coefficients K of each node, C channels.
            edges: Invariants and frames of the E edges.
            tables: Weights that embed the elements of sources and targets.
            scalars_only: Whether the degree 0 alone is computed.

        Returns:
            (N, K, C), or (N, 1, C) scalars.
        """
        if self.source_embedding is not None and self.target_embedding is not None:
            tables = self.source_embedding.weight, self.target_embedding.weight
        axial_only = scalars_only and self.config.use_gate_act
        extra_EF, parts = self._convolve(x_NKC, edges, tables, axial_only=axial_only)
        n_scores = extra_EF.shape[1] - self.n_gates
        attention_EH = self._attention(extra_EF[:, :n_scores], edges.target_E, len(x_NKC))
        parts = self._activate(extra_EF[:, n_scores:], parts)
        if scalars_only:
            x_E1F = self.so2_conv_2.scalars(parts[0], self.proj.in_features)[:, None]
            message_EKF = self._attended(x_E1F, attention_EH)
        else:
            _, parts = self.so2_conv_2(parts)
            x_ERF = torch.unflatten(torch.cat(parts, dim=1), 1, (-1, self.proj.in_features))
            message_EKF = torch.bmm(edges.from_frame_EKR, self._attended(x_ERF, attention_EH))
        total_NKF = message_EKF.new_zeros(len(x_NKC), *message_EKF.shape[1:])
        out_NKC: Tensor = self.proj(total_NKF.index_add(0, edges.target_E, message_EKF))
        return out_NKC

    def _convolve(
        self, x_NKC: Tensor, edges: EdgeFeatures, tables: ElementTables, *, axial_only: bool
    ) -> tuple[Tensor, list[Tensor]]:
        convolution = self.so2_conv_1
        n_weights = convolution.widths[0] if axial_only else sum(convolution.widths)
        n_rows = self.config.lmax + 1 if axial_only else edges.to_frame_ERK.shape[1]
        weights_EF = cast(RadialFunction, convolution.rad_func)(edges, tables, n_weights)
        pairs_EKC = torch.cat(
            (x_NKC.index_select(0, edges.source_E), x_NKC.index_select(0, edges.target_E)), dim=2
        )
        parts = convolution.split(torch.bmm(edges.to_frame_ERK[:, :n_rows], pairs_EKC))
        out: tuple[Tensor, list[Tensor]] = convolution(convolution.weighted(parts, weights_EF))
        return out

    def _attention(self, scores_EF: Tensor, target_E: Tensor, n_nodes: int) -> Tensor:
        scores_EHA = torch.unflatten(scores_EF, 1, self.alpha_dot.shape)
        scores_EHA = smooth_leaky_relu(self.alpha_norm(scores_EHA))
        scores_EH = (scores_EHA * self.alpha_dot).sum(2)
        weights_EH: Tensor = self.alpha_dropout(neighbour_softmax(scores_EH, target_E, n_nodes))
        return weights_EH

    def _activate(self, gates_EF: Tensor, parts: list[Tensor]) -> list[Tensor]:
        config, hidden = self.config, self.config.attn_hidden_channels
        if config.use_gate_act:
            return gate_parts(gates_EF, parts, config.lmax, hidden)
        to_PR, from_RP = sphere_grid(
            config.lmax,
            config.mmax,
            config.grid_resolution,
            gates_EF.dtype,
            gates_EF.device,
            by_order=True,
        )
        x_ERC = torch.unflatten(torch.cat(parts, dim=1), 1, (-1, hidden))
        x_ERC = from_RP @ functional.silu(to_PR @ x_ERC)
        if config.use_sep_s2_act:
            x_ERC = torch.cat((functional.silu(gates_EF)[:, None], x_ERC[:, 1:]), dim=1)
        return self.so2_conv_2.split(x_ERC)

    def _attended(self, x_ERF: Tensor, attention_EH: Tensor) -> Tensor:
        heads, values = self.config.num_heads, self.config.attn_value_channels
        x_ERHV = torch.unflatten(x_ERF, 2, (heads, values))
        return (x_ERHV * attention_EH[:, None, :, None]).flatten(2)
