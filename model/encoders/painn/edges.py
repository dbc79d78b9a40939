"""Edge features that every layer reads, and sums over neighbours with their own backward pass.

Filters are splines, because a spline looks up four rows of a small table where a basis of sines
or Gaussians is a matrix product.

Left to autograd, every product on edges is kept for the backward pass; on a CPU this traffic costs
more than all the arithmetic of the network. Here nothing on edges is kept, and filters are
looked up again.

Shapes  N nodes, E edges, C channels, R radial functions, S = R - 3 spline intervals,
        D = 3 directions, F = 4 splines that are not zero at a distance, P = 2 or 3 parts.
Units   distances in Å.
Source  Schütt, Unke and Gastegger 2021, arXiv:2102.03150, equations 7 and 8.
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from model.data.graph import GraphBatch
from model.encoders.painn.config import ORDER, PainnConfig


@dataclass(frozen=True)
class Backwards:
    """The orders in which a backward pass gathers edges, and the reverse of each sum."""

    source_order_E: Tensor
    source_starts_N1: Tensor
    interval_order_E: Tensor
    interval_starts_S1: Tensor
    spline_FE: Tensor  # in the order of the intervals
    target_rows_ED: Tensor  # of a flattened (D, N, C)
    direction_ED: Tensor

    def to_sources(self, x_EC: Tensor) -> Tensor:
        """Return (N, C), the sum over the edges of each source."""
        return bag_sums(x_EC, self.source_order_E, self.source_starts_N1)

    def to_table(self, x_EC: Tensor) -> Tensor:
        """Return (R, C), the sum over the edges that read each row of a filter table."""
        intervals = len(self.interval_starts_S1) - 1
        table_RC = x_EC.new_zeros(intervals + ORDER, x_EC.shape[1])
        for row, weight_E in enumerate(self.spline_FE):
            table_RC[row : row + intervals] += bag_sums(
                x_EC, self.interval_order_E, self.interval_starts_S1, weight_E
            )
        return table_RC

    def along_edges(self, x_DNC: Tensor) -> Tensor:
        """Return (E, C), the component along each edge of the vectors of its target."""
        return functional.embedding_bag(
            self.target_rows_ED,
            x_DNC.flatten(0, 1),
            mode="sum",
            per_sample_weights=self.direction_ED,
        )


@dataclass(frozen=True)
class Edges:
    """The edges of one batch, sorted by target."""

    source_E: Tensor
    target_E: Tensor
    order_E: Tensor  # 0, 1, 2, ...
    starts_N1: Tensor  # of each target's edges
    rows_EF: Tensor  # of a filter table
    spline_EF: Tensor  # times the cutoff envelope
    direction_DE: Tensor
    # Fresh memory costs a page fault for each 4 kB, more than what is computed there: share it.
    scratch_2EC: Tensor
    backwards: Backwards | None  # None where gradients are off

    def filters(self, table_RC: Tensor) -> Tensor:
        """Return (E, C), a table's splines at the length of each edge."""
        return functional.embedding_bag(
            self.rows_EF, table_RC, mode="sum", per_sample_weights=self.spline_EF
        )

    def gathered(self, x_NC: Tensor, index_E: Tensor, slot: int) -> Tensor:
        """Return (E, C) rows of ``x_NC``, which last until the slot (0 or 1) is used again."""
        return torch.index_select(x_NC, 0, index_E, out=self.scratch_2EC[slot])

    def sums(self, x_NC: Tensor, filter_EC: Tensor) -> Tensor:
        """Return (N, C), the sum over neighbours of their features times the filter."""
        x_EC = self.gathered(x_NC, self.source_E, 0).mul_(filter_EC)
        return bag_sums(x_EC, self.order_E, self.starts_N1)

    def directed_sums(self, x_NC: Tensor, filter_EC: Tensor) -> Tensor:
        """Return (D, N, C), the same times the directions."""
        x_EC = self.gathered(x_NC, self.source_E, 0).mul_(filter_EC)
        return torch.stack(
            [bag_sums(x_EC, self.order_E, self.starts_N1, w_E) for w_E in self.direction_DE]
        )


def bag_sums(
    x_EC: Tensor, order_E: Tensor, starts: Tensor, weight_E: Tensor | None = None
) -> Tensor:
    """Return the (weighted) sums of consecutive groups of rows, taken in an order.

    ``embedding_bag`` gathers, weighs and adds in one pass and makes no (E, C) array.
    """
    return functional.embedding_bag(
        order_E, x_EC, starts, mode="sum", per_sample_weights=weight_E, include_last_offset=True
    )


def edges_of(graph: GraphBatch, config: PainnConfig) -> Edges:
    """Return the edges as the layers read them; distances and directions carry no gradient.

    Args:
        graph: Batch of graphs whose edges (Å) are sorted by target.
        config: Cutoff radius, radial functions and width.

    Returns:
        Splines, directions and order of the edges; the tables of the backward pass are made only
        where gradients are on.
    """
    source_E, target_E = graph.edge_index_2E
    n_nodes, distance_E = len(graph.numbers_N), graph.edge_distances_E
    interval_E, spline_EF = cubic_splines(distance_E, config.max_radius, config.radial_functions)
    spline_EF = spline_EF * cosine_envelope(distance_E, config.max_radius)[:, None]
    direction_ED = graph.edge_vectors_E3 / distance_E[:, None]
    return Edges(
        source_E=source_E,
        target_E=target_E,
        order_E=torch.arange(len(target_E), device=target_E.device),
        starts_N1=_starts(target_E, n_nodes),
        rows_EF=interval_E[:, None] + torch.arange(ORDER + 1, device=interval_E.device),
        spline_EF=spline_EF,
        direction_DE=direction_ED.T.contiguous(),
        scratch_2EC=spline_EF.new_empty(2, len(source_E), config.channels),
        backwards=(
            _backwards(graph, interval_E, spline_EF, direction_ED, config)
            if torch.is_grad_enabled()
            else None
        ),
    )


def _backwards(
    graph: GraphBatch,
    interval_E: Tensor,
    spline_EF: Tensor,
    direction_ED: Tensor,
    config: PainnConfig,
) -> Backwards:
    source_E, target_E = graph.edge_index_2E
    n_nodes = len(graph.numbers_N)
    by_source_E = torch.argsort(source_E, stable=True)
    by_interval_E = torch.argsort(interval_E, stable=True)
    starts_D = torch.arange(3, device=target_E.device) * n_nodes
    return Backwards(
        source_order_E=by_source_E,
        source_starts_N1=_starts(source_E[by_source_E], n_nodes),
        interval_order_E=by_interval_E,
        interval_starts_S1=_starts(interval_E[by_interval_E], config.radial_functions - ORDER),
        spline_FE=spline_EF[by_interval_E].T.contiguous(),
        target_rows_ED=target_E[:, None] + starts_D,
        direction_ED=direction_ED,
    )


def _starts(sorted_E: Tensor, count: int) -> Tensor:
    return torch.searchsorted(
        sorted_E.contiguous(), torch.arange(count + 1, device=sorted_E.device)
    )


def cubic_splines(distance_E: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    """Return each distance's interval and the (E, F) values of the B-splines not zero there.

    ``count`` uniform cubic B-splines cover 0 to ``radius``; splines i to i + 3 overlap in
    interval i. They add up to 1 everywhere and bend smoothly to the second derivative.
    """
    intervals = count - ORDER
    position_E = distance_E * (intervals / radius)
    interval_E = position_E.long().clamp(0, intervals - 1)
    u_E = (position_E - interval_E).clamp(0, 1)
    rest_E = 1 - u_E
    spline_EF = torch.stack(
        (
            rest_E**3,
            (3 * u_E - 6) * u_E**2 + 4,
            (3 * rest_E - 6) * rest_E**2 + 4,
            u_E**3,
        ),
        dim=1,
    )
    return interval_E, spline_EF / 6


def cosine_envelope(distance_E: Tensor, radius: float) -> Tensor:
    """Return (E,): 1 at no distance, 0 with no slope from ``radius`` on."""
    return 0.5 * (torch.cos(distance_E.clamp(max=radius) * (math.pi / radius)) + 1)


class NeighbourSum(torch.autograd.Function):
    """Messages of each atom, times filters of the distance, summed over their receivers."""

    @staticmethod
    def forward(
        ctx: Any, message_PNC: Tensor, tables_PRC: Tensor, vectors_DNC: Tensor | None, edges: Edges
    ) -> tuple[Tensor, Tensor]:
        """Return (N, C) scalars and (D, N, C) vectors.

        The first part of a message goes to the scalars and the second along the edges. The third
        is a factor for the sender's vectors, where it has any.
        """
        ctx.save_for_backward(message_PNC, tables_PRC, vectors_DNC)
        ctx.edges = edges
        scalar_NC = edges.sums(message_PNC[0], edges.filters(tables_PRC[0]))
        vector_DNC = edges.directed_sums(message_PNC[1], edges.filters(tables_PRC[1]))
        if vectors_DNC is not None:
            filter_EC = edges.filters(tables_PRC[2])
            for total_NC, passed_NC in zip(vector_DNC, vectors_DNC * message_PNC[2], strict=True):
                total_NC += edges.sums(passed_NC, filter_EC)
        return scalar_NC, vector_DNC

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_NC: Tensor, grad_DNC: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Return the gradients of all but the edges.

        Args:
            ctx: Edges and tensors that ``forward`` saved.
            grad_NC: Gradient of the scalar sums.
            grad_DNC: Gradient of the vector sums.

        Returns:
            Gradients of the messages (P, N, C), the tables (P, R, C), the vectors (D, N, C; None
            without vectors), and None for the edges.
        """
        edges: Edges = ctx.edges
        backwards = cast(Backwards, edges.backwards)
        message_PNC, tables_PRC, vectors_DNC = ctx.saved_tensors
        grad_message_PNC, grad_tables_PRC = (
            torch.empty_like(message_PNC),
            torch.empty_like(tables_PRC),
        )
        grad_DNC = grad_DNC.contiguous()
        scalar_EC = edges.gathered(grad_NC.contiguous(), edges.target_E, 1)
        grad_message_PNC[0], grad_tables_PRC[0] = _back(
            scalar_EC, message_PNC[0], tables_PRC[0], edges
        )
        along_EC = backwards.along_edges(grad_DNC)
        grad_message_PNC[1], grad_tables_PRC[1] = _back(
            along_EC, message_PNC[1], tables_PRC[1], edges
        )
        if vectors_DNC is None:
            return grad_message_PNC, grad_tables_PRC, None, None
        passed_DNC = vectors_DNC * message_PNC[2]
        grad_passed_DNC, grad_tables_PRC[2] = _back_3(grad_DNC, passed_DNC, tables_PRC[2], edges)
        grad_message_PNC[2] = (grad_passed_DNC * vectors_DNC).sum(dim=0)
        return grad_message_PNC, grad_tables_PRC, grad_passed_DNC.mul_(message_PNC[2]), None


def _back(grad_EC: Tensor, x_NC: Tensor, table_RC: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
    """Return the gradients of features and table from that of their products, overwritten."""
    backwards = cast(Backwards, edges.backwards)
    grad_filter_EC = edges.gathered(x_NC, edges.source_E, 0).mul_(grad_EC)
    grad_table_RC = backwards.to_table(grad_filter_EC)
    return backwards.to_sources(grad_EC.mul_(edges.filters(table_RC))), grad_table_RC


def _back_3(
    grad_DNC: Tensor, x_DNC: Tensor, table_RC: Tensor, edges: Edges
) -> tuple[Tensor, Tensor]:
    """Return the same where three directions share a filter, from the gradients of the sums."""
    backwards = cast(Backwards, edges.backwards)
    filter_EC = edges.filters(table_RC)
    grad_filter_EC, grad_x_DNC = torch.zeros_like(filter_EC), torch.empty_like(x_DNC)
    for axis, (grad_NC, x_NC) in enumerate(zip(grad_DNC, x_DNC, strict=True)):
        grad_EC = edges.gathered(grad_NC, edges.target_E, 1)
        grad_filter_EC.addcmul_(grad_EC, edges.gathered(x_NC, edges.source_E, 0))
        grad_x_DNC[axis] = backwards.to_sources(grad_EC.mul_(filter_EC))
    return grad_x_DNC, backwards.to_table(grad_filter_EC)
