"""Vectors between periodic images in the plane, against ASE's minimum images."""

import numpy as np
import pytest
from ase.geometry import find_mic

from tasks.structures.standard_frame import folded_in_plane, in_plane_vectors

HEXAGONAL = np.array([[5.1, 0.0], [2.55, 4.42]])
OBLIQUE = np.array([[4.0, 0.0], [1.9, 3.0]])
PLANES = pytest.mark.parametrize("plane_22", [HEXAGONAL, OBLIQUE], ids=["hexagonal", "oblique"])


def cell_of(plane_22: np.ndarray) -> np.ndarray:
    cell_33 = np.diag([0.0, 0.0, 30.0])
    cell_33[:2, :2] = plane_22
    return cell_33


@PLANES
def test_a_short_folded_vector_is_the_shortest_image(plane_22: np.ndarray) -> None:
    scaled_X2 = np.random.default_rng(0).uniform(-3.0, 3.0, (500, 2))
    vectors_X3 = np.column_stack([scaled_X2 @ plane_22, np.zeros(500)])
    _, shortest_X = find_mic(vectors_X3, cell_of(plane_22), pbc=(True, True, False))
    lengths_X = np.linalg.norm(folded_in_plane(scaled_X2, plane_22), axis=1)
    half_height_ang = abs(np.linalg.det(plane_22)) / np.linalg.norm(plane_22, axis=1).max() / 2
    is_short_X = shortest_X < half_height_ang
    assert is_short_X.sum() > 100
    np.testing.assert_allclose(lengths_X[is_short_X], shortest_X[is_short_X])


@PLANES
def test_vectors_in_the_plane_are_minimum_images(plane_22: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    first_F3, second_S3 = rng.uniform(-9.0, 9.0, (20, 3)), rng.uniform(-9.0, 9.0, (30, 3))
    apart_X3 = (second_S3[None] - first_F3[:, None]).reshape(-1, 3)
    _, shortest_X = find_mic(apart_X3, cell_of(plane_22), pbc=(True, True, False))
    _, lengths_FS = in_plane_vectors(first_F3, second_S3, cell_of(plane_22))
    np.testing.assert_allclose(lengths_FS.ravel(), shortest_X)
