"""Sums over neighbours with a backward pass of their own.

Left to autograd, every product on edges is kept for the backward pass; on a CPU this traffic costs
more than all the arithmetic of the network. Here nothing on edges is kept, and filters are
looked up again.

Shapes  N nodes, E edges, C channels, R radial functions, P = 2 or 3 parts, D = 3 directions.
Source  Schütt, Unke and Gastegger 2021, arXiv:2102.03150, equations 7 and 8.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.encoders.painn.edges import Backwards, Edges


class NeighbourSum(torch.autograd.Function):
    """What each atom says, times filters of the distance, summed over those who hear it."""

    @staticmethod
    def forward(
        ctx: Any, told_PNC: Tensor, tables_PRC: Tensor, vectors_DNC: Tensor | None, edges: Edges
    ) -> tuple[Tensor, Tensor]:
        """Return (N, C) scalars and (D, N, C) vectors.

        The first part of what is told goes to the scalars and the second along the edges. The
        third is a factor for the teller's vectors, where it has any.
        """
        ctx.save_for_backward(told_PNC, tables_PRC, vectors_DNC)
        ctx.edges = edges
        scalar_NC = edges.sums(told_PNC[0], edges.filters(tables_PRC[0]))
        vector_DNC = edges.directed_sums(told_PNC[1], edges.filters(tables_PRC[1]))
        if vectors_DNC is not None:
            filter_EC = edges.filters(tables_PRC[2])
            for total_NC, passed_NC in zip(vector_DNC, vectors_DNC * told_PNC[2], strict=True):
                total_NC += edges.sums(passed_NC, filter_EC)
        return scalar_NC, vector_DNC

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_NC: Tensor, grad_DNC: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Return the gradients of all but the edges."""
        edges: Edges = ctx.edges
        backwards = cast(Backwards, edges.backwards)
        told_PNC, tables_PRC, vectors_DNC = ctx.saved_tensors
        grad_told_PNC, grad_tables_PRC = torch.empty_like(told_PNC), torch.empty_like(tables_PRC)
        grad_DNC = grad_DNC.contiguous()
        scalar_EC = edges.gathered(grad_NC.contiguous(), edges.target_E, 1)
        grad_told_PNC[0], grad_tables_PRC[0] = _back(scalar_EC, told_PNC[0], tables_PRC[0], edges)
        along_EC = backwards.along_edges(grad_DNC)
        grad_told_PNC[1], grad_tables_PRC[1] = _back(along_EC, told_PNC[1], tables_PRC[1], edges)
        if vectors_DNC is None:
            return grad_told_PNC, grad_tables_PRC, None, None
        passed_DNC = vectors_DNC * told_PNC[2]
        grad_passed_DNC, grad_tables_PRC[2] = _back_3(grad_DNC, passed_DNC, tables_PRC[2], edges)
        grad_told_PNC[2] = (grad_passed_DNC * vectors_DNC).sum(dim=0)
        return grad_told_PNC, grad_tables_PRC, grad_passed_DNC.mul_(told_PNC[2]), None


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
