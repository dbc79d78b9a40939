"""PaiNN as an encoder: a batch of graphs in, invariant node features out.

Shapes  N nodes, E edges, C channels, D = 3 directions, X parts times channels.
Units   edge vectors and distances in Å; outputs are learned features.
Source  Schütt, Unke and Gastegger 2021, arXiv:2102.03150, equations 7 to 9 and figure 2.

The network is invariant under rotations, translations and mirror images.
"""

import torch
from torch import Tensor, nn

from model.contract import ADSORBATE_TAG
from model.data.graph import GraphBatch
from model.encoders.painn.config import PainnConfig
from model.encoders.painn.edges import Edges, NeighbourSum, edges_of
from model.errors import ModelError


class MessageBlock(nn.Module):
    """Messages from neighbours to an atom (equations 7 and 8)."""

    def __init__(self, config: PainnConfig, *, is_first: bool) -> None:
        super().__init__()
        channels, parts = config.channels, 2 if is_first else 3
        self.norm = nn.LayerNorm(channels)
        self.net = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, parts * channels)
        )
        # The splines of each filter of the distance.
        self.tables = nn.Parameter(torch.empty(parts, config.radial_functions, channels))
        nn.init.normal_(self.tables)
        self.scale = config.avg_degree**-0.5

    def forward(
        self, scalars_NC: Tensor, vectors_DNC: Tensor | None, edges: Edges
    ) -> tuple[Tensor, Tensor]:
        """Return the (N, C) and (D, N, C) sums over neighbours; no vectors are zero vectors."""
        message_NX = self.net(self.norm(scalars_NC)) * self.scale
        message_PNC = torch.stack(message_NX.to(edges.spline_EF.dtype).chunk(len(self.tables), 1))
        sums: tuple[Tensor, Tensor] = NeighbourSum.apply(  # type: ignore[no-untyped-call]
            message_PNC, self.tables, vectors_DNC, edges
        )
        return sums


class UpdateBlock(nn.Module):
    """Changes of an atom by its own scalars and vectors (equation 9)."""

    def __init__(self, config: PainnConfig, *, is_last: bool) -> None:
        super().__init__()
        channels = config.channels
        self.is_last = is_last
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.net = nn.Sequential(
            nn.Linear(2 * channels, channels),
            nn.SiLU(),
            nn.Linear(channels, (2 if is_last else 3) * channels),
        )

    def forward(self, scalars_NC: Tensor, vectors_DNC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the changes of scalars and, but for the last layer, of vectors."""
        left_DNC, right_DNC = self.mix(vectors_DNC).chunk(2, dim=-1)
        length_NC = (right_DNC.square().sum(dim=0) + 1e-8).sqrt()
        gates_NX = self.net(torch.cat((self.norm(scalars_NC), length_NC), dim=1))
        gates = gates_NX.chunk(2 if self.is_last else 3, dim=1)
        change_NC = gates[0] + gates[1] * (left_DNC * right_DNC).sum(dim=0)
        return change_NC, None if self.is_last else gates[2] * left_DNC


class Painn(nn.Module):
    """Scalars and vectors on atoms, exchanged along edges."""

    def __init__(self, config: PainnConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = config.channels
        self.elements = nn.Embedding(config.max_num_elements, config.channels)
        self.tags = nn.Embedding(ADSORBATE_TAG + 1, config.channels)
        self.messages = nn.ModuleList(
            MessageBlock(config, is_first=layer == 0) for layer in range(config.layers)
        )
        last = config.layers - 1
        self.updates = nn.ModuleList(
            UpdateBlock(config, is_last=layer == last) for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.channels)

    def invariants(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return the (N, C) scalars after the last layer; the condition is added to the first."""
        self._check(graph)
        edges = edges_of(graph, self.config)
        scalars_NC = self.elements(graph.numbers_N) + self.tags(graph.tags_N)
        if condition_NC is not None:
            scalars_NC = scalars_NC + condition_NC
        vectors_DNC: Tensor | None = None
        for message, update in zip(self.messages, self.updates, strict=True):
            message_NC, message_DNC = message(scalars_NC, vectors_DNC, edges)
            scalars_NC = scalars_NC + message_NC
            vectors_DNC = message_DNC if vectors_DNC is None else vectors_DNC + message_DNC
            change_NC, change_DNC = update(scalars_NC, vectors_DNC)
            scalars_NC = scalars_NC + change_NC
            if change_DNC is not None:
                vectors_DNC = vectors_DNC + change_DNC
        out_NC: Tensor = self.norm(scalars_NC)
        return out_NC

    def forward(self, graph: GraphBatch, condition_NC: Tensor | None = None) -> Tensor:
        """Return the (N, C) invariants, the only output of PaiNN that is used."""
        return self.invariants(graph, condition_NC)

    def _check(self, graph: GraphBatch) -> None:
        if not graph.numbers_N.numel():
            return
        limit, highest = self.config.max_num_elements, int(graph.numbers_N.max())
        if highest >= limit:
            raise ModelError(
                f"atomic numbers must be below {limit}, got {highest}; leave the structure out "
                "or raise max_num_elements and train again"
            )
        low, high = int(graph.tags_N.min()), int(graph.tags_N.max())
        if low < 0 or high > ADSORBATE_TAG:
            raise ModelError(
                f"tags must be 0 (bulk), 1 (surface) or {ADSORBATE_TAG} (adsorbate), got {low} to "
                f"{high}; tag the atoms"
            )
