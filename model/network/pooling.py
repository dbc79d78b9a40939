"""From atoms to one vector for each structure.

Shapes  N atoms, B systems, C encoder channels, D width.
"""

import torch
from torch import Tensor, nn

from model.data.graph import ADSORBATE_TAG, GraphBatch

SURFACE_TAG = 1


class GraphPooling(nn.Module):
    """Invariant node features to one vector: adsorbate sum, focus mean, attention and maximum.

    The focus of an adslab is its adsorbate, that of a clean slab its surface atoms.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.node = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.gaze = nn.Linear(width, 1)
        self.mix = nn.Sequential(nn.Linear(4 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.atom = nn.Linear(width, 1)

    def forward(self, invariant_NC: Tensor, graph: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, D) nodes, (B, D) pooled vectors and (B,) the adsorbate's atom energies.

        A bound molecule's energy grows with its atoms; a sum says so without having to learn it.
        """
        node_ND = self.node(invariant_NC)
        empty_BD = node_ND.new_zeros(graph.n_systems, node_ND.shape[1])
        system_ND = graph.system_N[:, None].expand_as(node_ND)
        adsorbate_N1, focus_N1 = _focus(graph, node_ND.dtype)
        total_BD = empty_BD.index_add(0, graph.system_N, node_ND * adsorbate_N1)
        focus_BD = _mean(node_ND, focus_N1, graph)
        highest_BD = empty_BD.scatter_reduce(0, system_ND, node_ND, "amax", include_self=False)
        # exp of a bounded score: a softmax over each system's atoms that cannot overflow.
        weight_N1 = torch.exp(4.0 * torch.tanh(self.gaze(node_ND) / 4.0))
        attended_BD = _mean(node_ND, weight_N1, graph)
        # A sum over ten atoms and a sum over one should enter the mixer at comparable size.
        pooled = [0.2 * total_BD, focus_BD, highest_BD, attended_BD]
        atoms_B = self.atom(0.2 * total_BD)[:, 0]
        return node_ND, self.mix(torch.cat(pooled, dim=-1)), atoms_B


def _focus(graph: GraphBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (N, 1) masks: adsorbate atoms, and those or a clean slab's surface atoms."""
    is_adsorbate_N = graph.tags_N == ADSORBATE_TAG
    has_adsorbate_B = torch.zeros(graph.n_systems, dtype=torch.bool, device=graph.tags_N.device)
    has_adsorbate_B[graph.system_N[is_adsorbate_N]] = True
    is_bare_N = ~has_adsorbate_B[graph.system_N]
    is_focus_N = is_adsorbate_N | (is_bare_N & (graph.tags_N == SURFACE_TAG))
    return is_adsorbate_N.to(dtype)[:, None], is_focus_N.to(dtype)[:, None]


def _mean(node_ND: Tensor, weight_N1: Tensor, graph: GraphBatch) -> Tensor:
    empty_BD = node_ND.new_zeros(graph.n_systems, node_ND.shape[1])
    total_BD = empty_BD.index_add(0, graph.system_N, node_ND * weight_N1)
    weight_B1 = empty_BD[:, :1].index_add(0, graph.system_N, weight_N1)
    return total_BD / weight_B1.clamp(min=1e-6)
