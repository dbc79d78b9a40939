"""The feed-forward network of each node: gated, by points on a sphere, or by both.

Shapes  N nodes, K = (lmax+1)^2 coefficients, C sphere channels, H hidden channels, P grid points.
Source  Liao et al. 2023, arXiv:2306.12059, sections 4.3 and 4.4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.equiformer_v2.config import EquiformerV2Config
from model.equiformer_v2.harmonics import sphere_grid
from model.equiformer_v2.layers import SO3Linear, degree_index, plain_linear


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
        """Return (N, K, C)."""
        hidden_NKH = self.so3_linear_1(x_NKC)
        if self.config.use_gate_act and not self.config.use_grid_mlp:
            hidden_NKH = self._gated(x_NKC[:, 0], hidden_NKH)
        else:
            hidden_NKH = self._on_grid(x_NKC[:, :1], hidden_NKH)
        out_NKC: Tensor = self.so3_linear_2(hidden_NKH)
        return out_NKC

    def _gated(self, scalars_NC: Tensor, x_NKH: Tensor) -> Tensor:
        lmax = self.config.lmax
        gates_NLH = torch.unflatten(torch.sigmoid(self.gating_linear(scalars_NC)), 1, (lmax, -1))
        gates_NKH = gates_NLH[:, degree_index(lmax, x_NKH.device)[1:] - 1]
        return torch.cat((functional.silu(x_NKH[:, :1]), x_NKH[:, 1:] * gates_NKH), dim=1)

    def _on_grid(self, scalars_N1C: Tensor, x_NKH: Tensor) -> Tensor:
        config = self.config
        to_PK, from_KP = sphere_grid(
            config.lmax, config.lmax, config.grid_resolution, x_NKH.dtype, x_NKH.device
        )
        points_NPH = to_PK @ x_NKH
        points_NPH = (
            self.grid_mlp(points_NPH) if config.use_grid_mlp else functional.silu(points_NPH)
        )
        x_NKH = from_KP @ points_NPH
        if not config.use_sep_s2_act:
            return x_NKH
        if config.use_grid_mlp:
            scalars_N1H = self.scalar_mlp(scalars_N1C)
        else:
            scalars_N1H = functional.silu(self.gating_linear(scalars_N1C))
        return torch.cat((scalars_N1H, x_NKH[:, 1:]), dim=1)
