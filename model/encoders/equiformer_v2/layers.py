"""Layers that act on each node or each edge alone.

Node layers also take (N, 1, C), the scalars by themselves, where scalars depend on nothing else.

Shapes  N nodes or edges, K = (lmax+1)^2 coefficients, C channels, E edges, G Gaussians.
Source  Liao et al. 2023, arXiv:2306.12059; separable layer normalisation in section 4.2.
"""

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.harmonics import coefficient_degrees, sphere_grid


@cache
def degree_index(lmax: int, device: torch.device) -> Tensor:
    """Return the degree of each coefficient: spreads a value for each degree over its orders."""
    with torch.inference_mode(False):  # a cached inference tensor could not be trained with
        return torch.tensor(coefficient_degrees(lmax), device=device)


@cache
def _gaussian_centres(
    count: int, radius: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):
        return torch.linspace(0.0, radius, count, dtype=torch.float64).to(device, dtype)


def gaussian_basis(distances_E: Tensor, radius: float, count: int) -> Tensor:
    """Return (E, G): Gaussians spread evenly up to ``radius``, twice as wide as they are apart."""
    centres_G = _gaussian_centres(count, radius, distances_E.dtype, distances_E.device)
    scale = math.sqrt(0.5) * (count - 1) / (2.0 * radius)
    return ((distances_E[:, None] - centres_G) * scale).square_().neg_().exp_()


def plain_linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer that starts from a normal distribution and no bias."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(in_features))
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class SO3Linear(nn.Module):
    """A linear map between channels, one for each degree; only degree 0 has a bias."""

    def __init__(self, in_features: int, out_features: int, lmax: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.lmax = in_features, out_features, lmax
        self.weight = nn.Parameter(torch.empty(lmax + 1, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_features))

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return (N, K, out)."""
        scalars = functional.linear(x_NKC[:, :1], self.weight[0], self.bias)
        others = [
            functional.linear(x_NKC[:, degree**2 : (degree + 1) ** 2], self.weight[degree])
            for degree in range(1, math.isqrt(x_NKC.shape[1]))
        ]
        return torch.cat([scalars, *others], dim=1)


class EquivariantLayerNorm(nn.Module):
    """``layer_norm``: each degree is scaled to unit mean square; scalars are centred first."""

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.lmax, self.eps = lmax, eps
        self.affine_weight = nn.Parameter(torch.ones(lmax + 1, channels))
        self.affine_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return the normalised coefficients."""
        parts = []
        for degree in range(math.isqrt(x_NKC.shape[1])):
            part = x_NKC[:, degree**2 : (degree + 1) ** 2]
            if degree == 0:
                part = part - part.mean(2, keepdim=True)
            scale = (part.square().mean((1, 2), keepdim=True) + self.eps).rsqrt()
            part = part * (scale * self.affine_weight[degree])
            parts.append(part + self.affine_bias if degree == 0 else part)
        return torch.cat(parts, dim=1)


class SeparableLayerNorm(nn.Module):
    """``layer_norm_sh``: scalars by an ordinary layer norm, all higher degrees by one scale."""

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.lmax, self.eps = lmax, eps
        self.norm_l0 = nn.LayerNorm(channels, eps=eps)
        self.affine_weight = nn.Parameter(torch.ones(lmax, channels))

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return the normalised coefficients."""
        if x_NKC.shape[1] == 1:
            scalars_N1C: Tensor = self.norm_l0(x_NKC)
            return scalars_N1C
        rest_NKC = x_NKC[:, 1:]
        degree_K = degree_index(self.lmax, x_NKC.device)[1:]
        # Every degree counts the same, however many orders it has.
        balance_K = 1.0 / ((2 * degree_K.to(x_NKC.dtype) + 1) * self.lmax)
        square_N = rest_NKC.square().mean(2) @ balance_K
        scale_N11 = (square_N + self.eps).rsqrt()[:, None, None]
        rest_NKC = rest_NKC * (scale_N11 * self.affine_weight[degree_K - 1])
        return torch.cat((self.norm_l0(x_NKC[:, :1]), rest_NKC), dim=1)


class EquivariantRMSNorm(nn.Module):
    """``rms_norm_sh``: all degrees share one scale; scalars are centred first."""

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.lmax, self.eps = lmax, eps
        self.affine_weight = nn.Parameter(torch.ones(lmax + 1, channels))
        self.affine_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return the normalised coefficients."""
        degree_K = degree_index(self.lmax, x_NKC.device)
        balance_K = 1.0 / ((2 * degree_K.to(x_NKC.dtype) + 1) * (self.lmax + 1))
        scalars_N1C = x_NKC[:, :1]
        x_NKC = torch.cat((scalars_N1C - scalars_N1C.mean(2, keepdim=True), x_NKC[:, 1:]), dim=1)
        square_N = x_NKC.square().mean(2) @ balance_K
        scale_N11 = (square_N + self.eps).rsqrt()[:, None, None]
        x_NKC = x_NKC * (scale_N11 * self.affine_weight[degree_K])
        return torch.cat((x_NKC[:, :1] + self.affine_bias, x_NKC[:, 1:]), dim=1)


def normalisation(norm_type: str, lmax: int, channels: int) -> nn.Module:
    """Return the normalisation layer that the published name stands for."""
    layers: dict[str, type[nn.Module]] = {
        "layer_norm": EquivariantLayerNorm,
        "layer_norm_sh": SeparableLayerNorm,
        "rms_norm_sh": EquivariantRMSNorm,
    }
    return layers[norm_type](lmax, channels)


class DropPath(nn.Module):
    """Leave out a branch for whole systems, in training only."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_NKC: Tensor, system_N: Tensor, n_systems: int) -> Tensor:
        """Return the branch, zeroed for a random share of the systems and scaled for the rest."""
        if not self.training or self.rate == 0.0:
            return x_NKC
        kept_B = torch.rand(n_systems, device=x_NKC.device) >= self.rate
        return x_NKC * (kept_B.to(x_NKC.dtype) / (1 - self.rate))[system_N][:, None, None]


class ChannelDropout(nn.Module):
    """Drop all coefficients of a channel of a node together, which keeps equivariance."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return the coefficients with a random share of the channels zeroed in training."""
        if not self.training or self.rate == 0.0:
            return x_NKC
        return x_NKC * functional.dropout(torch.ones_like(x_NKC[:, :1]), self.rate)


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity that keeps equivariance between them."""

    def __init__(self, config: EquiformerV2Config) -> None:
        super().__init__()
        self.config = config
        channels, hidden, lmax = config.sphere_channels, config.ffn_hidden_channels, config.lmax
        self.so3_linear_1 = SO3Linear(channels, hidden, lmax)
        self.so3_linear_2 = SO3Linear(hidden, channels, lmax)
        if config.use_grid_mlp:
            if config.use_sep_s2_act:
                self.scalar_mlp = nn.Sequential(plain_linear(channels, hidden), nn.SiLU())
            self.grid_mlp = nn.Sequential(
                plain_linear(hidden, hidden, bias=False),
                nn.SiLU(),
                plain_linear(hidden, hidden, bias=False),
                nn.SiLU(),
                plain_linear(hidden, hidden, bias=False),
            )
        elif config.use_gate_act:
            self.gating_linear = plain_linear(channels, lmax * hidden)
        elif config.use_sep_s2_act:
            self.gating_linear = plain_linear(channels, hidden)

    def forward(self, x_NKC: Tensor) -> Tensor:
        """Return (N, K, C); the scalars of (N, 1, C)."""
        if self.config.use_gate_act and not self.config.use_grid_mlp:
            hidden_NKH = self._gated(x_NKC)
        elif self.config.use_sep_s2_act:
            hidden_NKH = self._separable(x_NKC)
        else:
            hidden_NKH = self._on_grid(x_NKC)
        out_NKC: Tensor = self.so3_linear_2(hidden_NKH)
        return out_NKC

    def _gated(self, x_NKC: Tensor) -> Tensor:
        lmax = self.config.lmax
        hidden_NKH = self.so3_linear_1(x_NKC)
        scalars_N1H = functional.silu(hidden_NKH[:, :1])
        if x_NKC.shape[1] == 1:
            return scalars_N1H
        gates_NF = torch.sigmoid(self.gating_linear(x_NKC[:, 0]))
        gates_NLH = torch.unflatten(gates_NF, 1, (lmax, -1))
        gates_NKH = gates_NLH[:, degree_index(lmax, x_NKC.device)[1:] - 1]
        return torch.cat((scalars_N1H, hidden_NKH[:, 1:] * gates_NKH), dim=1)

    def _separable(self, x_NKC: Tensor) -> Tensor:
        scalars_N1C = x_NKC[:, :1]
        if self.config.use_grid_mlp:
            scalars_N1H: Tensor = self.scalar_mlp(scalars_N1C)
        else:
            scalars_N1H = functional.silu(self.gating_linear(scalars_N1C))
        if x_NKC.shape[1] == 1:
            return scalars_N1H
        return torch.cat((scalars_N1H, self._on_grid(x_NKC)[:, 1:]), dim=1)

    def _on_grid(self, x_NKC: Tensor) -> Tensor:
        config = self.config
        to_PK, from_KP = sphere_grid(
            config.lmax, config.lmax, config.grid_resolution, x_NKC.dtype, x_NKC.device
        )
        points_NPH = to_PK @ self.so3_linear_1(x_NKC)
        return from_KP @ (
            self.grid_mlp(points_NPH) if config.use_grid_mlp else functional.silu(points_NPH)
        )
