"""Periodic radius graphs: which neighbours, where they are, and what is refused."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list
from support.encoder_suite import adslab

from model.contract import Configuration
from model.data.graph import (
    Graph,
    collate,
    configuration_graph,
    crop,
    near_adsorbate,
    radius_graph,
)
from model.errors import ModelError


def graph_of(atoms: Atoms, cutoff: float, limit: int = 500) -> Graph:
    return radius_graph(
        atoms.numbers,
        atoms.positions,
        atoms.cell[:],
        atoms.pbc,
        cutoff,
        limit,
        tags=atoms.get_tags(),
    )


def test_edges_are_those_of_ase() -> None:
    atoms = adslab(1)
    graph = graph_of(atoms, 5.0)
    target, source, vector = neighbor_list("ijD", atoms, 5.0)  # ASE's D points to the source
    ours = np.column_stack((*graph.edge_index_2E, graph.edge_vectors_E3))
    theirs = np.column_stack((source, target, vector))
    assert ours.shape == theirs.shape
    ordered = [rows[np.lexsort(rows.round(6).T)] for rows in (ours, theirs)]
    assert np.allclose(ordered[0], ordered[1], atol=1e-9)


def test_edges_are_sorted_by_target_and_then_by_distance() -> None:
    graph = graph_of(adslab(1), 6.0, 20)
    assert (np.diff(graph.edge_index_2E[1]) >= 0).all()


@pytest.mark.parametrize(("limit", "neighbours"), [(11, 12), (12, 12), (17, 12), (18, 18)])
def test_shells_of_equal_distance_are_kept_whole(limit: int, neighbours: int) -> None:
    graph = graph_of(bulk("Cu", cubic=True), 6.0, limit)
    assert (np.bincount(graph.edge_index_2E[1]) == neighbours).all()


def test_an_open_direction_has_no_images_and_needs_no_lattice_vector() -> None:
    slab = fcc111("Cu", (1, 1, 2), a=3.6)
    slab.pbc = (True, True, False)
    slab.cell[2] = 0
    vectors = graph_of(slab, 5.0).edge_vectors_E3
    assert np.abs(vectors[:, 2]).max() < 2.2
    molecule = Atoms("CO", [(0, 0, 0), (0, 0, 1.1)])
    assert graph_of(molecule, 5.0).edge_index_2E.shape == (2, 2)


def test_cropping_keeps_the_periodic_edges_between_the_kept_atoms() -> None:
    atoms = adslab(1)
    whole = graph_of(atoms, 6.0, 20)
    kept = near_adsorbate(atoms.positions, atoms.cell[:], atoms.pbc, atoms.get_tags(), 3.5)
    cropped = crop(whole, kept)
    assert 4 < len(kept) < len(atoms)
    assert set(np.flatnonzero(atoms.get_tags() == 2)) <= set(kept)
    inside = np.isin(whole.edge_index_2E, kept).all(axis=0)
    assert np.array_equal(cropped.edge_vectors_E3, whole.edge_vectors_E3[inside])
    assert np.array_equal(kept[cropped.edge_index_2E], whole.edge_index_2E[:, inside])


def test_a_crop_sees_the_adsorbate_through_the_cell_boundary() -> None:
    slab = Atoms("CuCuO", [(1, 5, 5), (9.5, 5, 5), (0.2, 5, 5)], cell=[10, 10, 10], pbc=True)
    near = near_adsorbate(slab.positions, slab.cell[:], slab.pbc, [0, 0, 2], 1.0)
    assert near.tolist() == [0, 1, 2]


def test_a_configuration_becomes_its_cropped_graph() -> None:
    atoms = adslab(0)
    configuration = Configuration(
        "id", "emt", "", atoms.numbers, atoms.positions, atoms.cell[:], atoms.get_tags()
    )
    graph = configuration_graph(configuration, cutoff_ang=6.0, max_neighbors=20, crop_ang=3.0)
    assert len(graph.numbers_N) < len(atoms)
    assert sorted(graph.numbers_N[graph.tags_N == 2]) == [6, 8]


def test_a_batch_holds_each_graph_apart() -> None:
    batch = collate([graph_of(adslab(0), 4.0), graph_of(adslab(1), 4.0)], torch.float64)
    source, target = batch.edge_index_2E
    assert torch.equal(batch.system_N[source], batch.system_N[target])
    assert torch.allclose(batch.edge_vectors_E3.norm(dim=1), batch.edge_distances_E)
    assert batch.n_systems == 2
    assert batch.to("cpu").n_systems == 2


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"positions": [(0.0, 0.0, np.nan)]}, "positions must be finite"),
        ({"numbers": [], "positions": np.zeros((0, 3))}, "at least 1 atom"),
        ({"positions": [(0.0, 0.0, 0.0)] * 2}, "must match 1 atoms"),
        ({"cell": np.zeros((3, 3))}, "periodic direction needs a lattice vector"),
        ({"cell": [[1, 0, 0], [2, 0, 0], [0, 0, 3]]}, "independent"),
        ({"cutoff_ang": 0.0}, "positive cutoff"),
    ],
)
def test_structures_without_a_graph_are_refused(change: dict[str, object], rule: str) -> None:
    arguments: dict[str, object] = {
        "numbers": [29],
        "positions": [(0.0, 0.0, 0.0)],
        "cell": np.eye(3) * 4,
        "pbc": (True, True, True),
        "cutoff_ang": 5.0,
        "max_neighbors": 12,
    }
    with pytest.raises(ModelError, match=rule):
        radius_graph(**{**arguments, **change})


def test_a_crop_without_an_adsorbate_is_refused() -> None:
    with pytest.raises(ModelError, match="tag 2"):
        near_adsorbate([(0, 0, 0)], np.eye(3) * 4, (True, True, True), [0], 3.0)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ModelError, match="at least 1 graph"):
        collate([])
