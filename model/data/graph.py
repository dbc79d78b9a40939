"""Structures as periodic radius graphs, and graphs as batches.

Shapes  N atoms, E edges, M kept atoms, B systems.
Units   positions, cells, edge vectors and radii in Å.
Edges   run from a neighbour (source) to the atom it informs (target); the edge vector is
        r_source + shift - r_target, with the shift a lattice vector. They are sorted by target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres
from torch import Tensor

from model.contract import ADSORBATE_TAG, Configuration
from model.errors import ModelError

SHELL_ANG = 1e-3  # wider than the rounding of stored coordinates: such neighbours are one shell


@dataclass(frozen=True)
class Graph:
    """One structure: its atoms and the edges between them."""

    numbers_N: NDArray[np.int64]
    positions_N3: NDArray[np.float64]
    tags_N: NDArray[np.int64]
    edge_index_2E: NDArray[np.int64]
    edge_vectors_E3: NDArray[np.float64]


@dataclass(frozen=True)
class GraphBatch:
    """Several graphs as one: ``system_N`` says which structure each atom belongs to.

    ``edge_index_2E`` holds sources, then targets; ``edge_vectors_E3`` is
    r_source + shift - r_target and ``edge_distances_E`` its length.
    """

    numbers_N: Tensor
    positions_N3: Tensor
    edge_index_2E: Tensor
    edge_vectors_E3: Tensor
    edge_distances_E: Tensor
    system_N: Tensor
    tags_N: Tensor
    n_systems: int

    def to(self, device: torch.device | str) -> "GraphBatch":
        """Return the batch on another device."""
        return replace(
            self,
            numbers_N=self.numbers_N.to(device),
            positions_N3=self.positions_N3.to(device),
            edge_index_2E=self.edge_index_2E.to(device),
            edge_vectors_E3=self.edge_vectors_E3.to(device),
            edge_distances_E=self.edge_distances_E.to(device),
            system_N=self.system_N.to(device),
            tags_N=self.tags_N.to(device),
        )


def radius_graph(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: Sequence[bool],
    cutoff_ang: float,
    max_neighbors: int,
    *,
    tags: ArrayLike | None = None,
) -> Graph:
    """Return the graph of each atom's nearest neighbours.

    An atom keeps as many *whole* shells of equally distant neighbours as fit into
    ``max_neighbors``, and at least the first shell. Symmetry makes equal distances the rule in
    ideal slabs; a cut through a shell would have to choose by index or by rounding, and a rotated
    or renumbered slab would get another graph and another energy. An atom may have no neighbour at
    all.

    Args:
        numbers: (N,) atomic numbers.
        positions: (N, 3) in Å.
        cell: (3, 3) lattice vectors as rows, in Å.
        pbc: Whether the structure repeats along each lattice vector.
        cutoff_ang: The furthest neighbour, in Å.
        max_neighbors: How many neighbours an atom keeps.
        tags: (N,) 0 bulk, 1 surface, 2 adsorbate; None: all 0.

    Returns:
        The graph, edges sorted by target.

    Raises:
        ModelError: the cell, the atoms or the limits make no graph.
    """
    numbers_N = np.asarray(numbers, dtype=np.int64)
    positions_N3 = np.asarray(positions, dtype=np.float64)
    tags_N = np.zeros_like(numbers_N) if tags is None else np.asarray(tags, dtype=np.int64)
    cell_33 = _checked_cell(cell, pbc)
    _check_atoms(numbers_N, positions_N3, tags_N)
    if cutoff_ang <= 0 or max_neighbors < 1:
        raise ModelError(
            f"a graph needs a positive cutoff and at least 1 neighbour, got {cutoff_ang} Å and "
            f"{max_neighbors}"
        )
    target_E, source_E, image_E3, distance_E = find_points_in_spheres(
        np.ascontiguousarray(positions_N3),
        np.ascontiguousarray(positions_N3),
        r=float(cutoff_ang),
        pbc=np.array([bool(periodic) for periodic in pbc], dtype=np.int64),
        lattice=cell_33,
        tol=1e-8,
    )
    is_other_E = distance_E > 1e-8
    target_E, source_E = target_E[is_other_E], source_E[is_other_E]
    image_E3, distance_E = image_E3[is_other_E], distance_E[is_other_E]
    order_E = np.lexsort((*image_E3.T, source_E, distance_E, target_E))
    kept_E = order_E[_nearest(target_E[order_E], distance_E[order_E], max_neighbors)]
    source_E, target_E = source_E[kept_E], target_E[kept_E]
    vectors_E3 = positions_N3[source_E] + image_E3[kept_E] @ cell_33 - positions_N3[target_E]
    edge_index_2E = np.stack((source_E, target_E)).astype(np.int64)
    return Graph(numbers_N, positions_N3, tags_N, edge_index_2E, vectors_E3)


def empty_graph() -> Graph:
    """Return the graph of a configuration that has only a text: no atom, no edge."""
    none = np.zeros(0, dtype=np.int64)
    nowhere_03 = np.zeros((0, 3))
    return Graph(none, nowhere_03, none, none.reshape(2, 0), nowhere_03)


def _nearest(
    target_E: NDArray[np.int64],
    distance_E: NDArray[np.float64],
    max_neighbors: int,
) -> NDArray[np.bool_]:
    """Return which edges to keep, of edges sorted by target and then by distance."""
    n_edges = len(target_E)
    if n_edges == 0:
        return np.zeros(0, dtype=np.bool_)
    is_first_E = np.r_[True, target_E[1:] != target_E[:-1]]
    first_E = np.maximum.accumulate(np.where(is_first_E, np.arange(n_edges), 0))
    rank_E = np.arange(n_edges) - first_E
    # A shell ends where the distance jumps. It is kept if its last member is within the limit.
    is_jump_E = np.r_[True, np.diff(distance_E) > SHELL_ANG] | is_first_E
    shell_E = np.cumsum(is_jump_E) - 1
    last_rank_S = rank_E[np.r_[np.flatnonzero(is_jump_E)[1:] - 1, n_edges - 1]]
    is_nearest_shell_E = shell_E == shell_E[first_E]
    whole: NDArray[np.bool_] = (last_rank_S[shell_E] < max_neighbors) | is_nearest_shell_E
    return whole


def _checked_cell(cell: ArrayLike, pbc: Sequence[bool]) -> NDArray[np.float64]:
    """Return a cell with three independent rows; those of open directions may be made up."""
    cell_33 = np.array(cell, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(cell_33).all():
        raise ModelError("a cell must be finite, got NaN or infinity; repair the structure")
    missing = [axis for axis in range(3) if not cell_33[axis].any()]
    if any(pbc[axis] for axis in missing):
        raise ModelError("a periodic direction needs a lattice vector, got a zero one; set pbc")
    if missing:
        # The rows of V span what the lattice vectors leave out, smallest singular values last.
        _, _, spanned_33 = np.linalg.svd(cell_33)
        cell_33[missing] = spanned_33[3 - len(missing) :]
    if abs(np.linalg.det(cell_33)) < 1e-6:
        raise ModelError(
            "lattice vectors must be independent, got a flat cell; repair the structure"
        )
    return cell_33


def _check_atoms(
    numbers_N: NDArray[np.int64], positions_N3: NDArray[np.float64], tags_N: NDArray[np.int64]
) -> None:
    if len(numbers_N) == 0:
        raise ModelError("a graph needs at least 1 atom, got none; leave the structure out")
    if positions_N3.shape != (len(numbers_N), 3) or tags_N.shape != numbers_N.shape:
        raise ModelError(
            f"positions and tags must match {len(numbers_N)} atoms, got shapes "
            f"{positions_N3.shape} and {tags_N.shape}"
        )
    if not np.isfinite(positions_N3).all():
        raise ModelError("positions must be finite, got NaN or infinity; repair the structure")


def near_adsorbate(
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: Sequence[bool],
    tags: ArrayLike,
    radius_ang: float,
) -> NDArray[np.int64]:
    """Return the atoms within ``radius_ang`` of any adsorbate atom or of an image of one.

    Args:
        positions: (N, 3) positions in Å.
        cell: (3, 3) lattice vectors in Å, as rows.
        pbc: Along which vectors the structure repeats.
        tags: (N,) 2 for adsorbate atoms.
        radius_ang: Radius of the crop in Å.

    Returns:
        Indices of the atoms, adsorbate included, in ascending order.

    Raises:
        ModelError: no atom is tagged as adsorbate.
    """
    positions_N3 = np.ascontiguousarray(positions, dtype=np.float64)
    is_adsorbate_N = np.asarray(tags) == ADSORBATE_TAG
    if not is_adsorbate_N.any():
        raise ModelError(f"a crop needs adsorbate atoms (tag {ADSORBATE_TAG}), got none; tag them")
    _, near_E, _, _ = find_points_in_spheres(
        positions_N3,
        np.ascontiguousarray(positions_N3[is_adsorbate_N]),
        r=float(radius_ang),
        pbc=np.array([bool(periodic) for periodic in pbc], dtype=np.int64),
        lattice=_checked_cell(cell, pbc),
        tol=1e-8,
    )
    is_kept_N = is_adsorbate_N.copy()
    is_kept_N[near_E] = True
    return np.flatnonzero(is_kept_N)


def crop(graph: Graph, kept_M: NDArray[np.int64]) -> Graph:
    """Return the graph of the kept atoms, with those of its periodic edges that join them.

    Edges are taken over, not computed anew: a kept atom sees kept neighbours through every cell
    boundary, at the distances of the whole structure.
    """
    new_index_N = np.full(len(graph.numbers_N), -1, dtype=np.int64)
    new_index_N[kept_M] = np.arange(len(kept_M))
    edge_index_2E = new_index_N[graph.edge_index_2E]
    is_kept_E = (edge_index_2E >= 0).all(axis=0)
    return Graph(
        graph.numbers_N[kept_M],
        graph.positions_N3[kept_M],
        graph.tags_N[kept_M],
        edge_index_2E[:, is_kept_E],
        graph.edge_vectors_E3[is_kept_E],
    )


def configuration_graph(
    configuration: Configuration,
    *,
    cutoff_ang: float,
    max_neighbors: int,
    crop_ang: float | None = None,
) -> Graph:
    """Return the graph of a configuration, cropped around its adsorbate where a radius is given.

    Args:
        configuration: Text and atoms of one adslab (Å).
        cutoff_ang: Longest edge in Å.
        max_neighbors: As in :func:`radius_graph`.
        crop_ang: Atoms farther from the adsorbate than this are left out; None keeps all.

    Returns:
        The graph.

    Raises:
        ModelError: the structure has no valid cell or positions, or the crop no adsorbate.
    """
    atoms = configuration
    graph = radius_graph(
        atoms.numbers_N,
        atoms.positions_N3,
        atoms.cell_33,
        atoms.pbc,
        cutoff_ang,
        max_neighbors,
        tags=atoms.tags_N,
    )
    if crop_ang is None:
        return graph
    kept_M = near_adsorbate(atoms.positions_N3, atoms.cell_33, atoms.pbc, atoms.tags_N, crop_ang)
    return crop(graph, kept_M)


def collate(graphs: Sequence[Graph], dtype: torch.dtype = torch.float32) -> GraphBatch:
    """Return one batch of the graphs, in their order.

    Args:
        graphs: At least one graph; atoms of the first come first.
        dtype: Precision of positions, edge vectors and distances (Å).

    Returns:
        The batch; ``system_N`` says which graph each atom is of, edges count atoms of the batch.

    Raises:
        ModelError: there is no graph.
    """
    if not graphs:
        raise ModelError("a batch needs at least 1 graph, got none")
    sizes_B = np.array([len(graph.numbers_N) for graph in graphs])
    starts_B = np.cumsum(sizes_B) - sizes_B
    edge_index_2E = np.concatenate(
        [graph.edge_index_2E + start for graph, start in zip(graphs, starts_B, strict=True)], axis=1
    )
    vectors_E3 = np.concatenate([graph.edge_vectors_E3 for graph in graphs])
    distances_E = np.linalg.norm(vectors_E3, axis=1)
    return GraphBatch(
        numbers_N=torch.from_numpy(np.concatenate([graph.numbers_N for graph in graphs])),
        positions_N3=torch.from_numpy(np.concatenate([graph.positions_N3 for graph in graphs])).to(
            dtype
        ),
        edge_index_2E=torch.from_numpy(edge_index_2E),
        edge_vectors_E3=torch.from_numpy(vectors_E3).to(dtype),
        edge_distances_E=torch.from_numpy(distances_E).to(dtype),
        system_N=torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes_B)),
        tags_N=torch.from_numpy(np.concatenate([graph.tags_N for graph in graphs])),
        n_systems=len(graphs),
    )
