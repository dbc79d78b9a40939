"""The feed-forward network of each node: gated, by points on a sphere, or by both.

Shapes  N nodes, K = (lmax+1)^2 coefficients, C sphere channels, H hidden channels, P grid points.
Source  Liao et al. 2023, arXiv:2306.12059, sections 4.3 and 4.4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoders.equiformer_v2.config import EquiformerV2Config
from model.encoders.equiformer_v2.harmonics import sphere_grid
from model.encoders.equiformer_v2.layers import SO3Linear, degree_index, plain_linear


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
