"""Numbers for gradient boosting from a slab itself: the elements of its layers, its lattice.

The top layer are the atoms of tag 1; the second layer as many of the highest others.

Shapes  F features.
Units   Å.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.contract import ADSORBATE_TAG, SURFACE_TAG, Configuration
from model.text.text_features import DESCRIBED, describe, description_names, properties_of_elements

_ELEMENTS = 2  # the commonest elements of the slab, each described by itself


def slab_feature_names() -> list[str]:
    """Return the names of the columns that :func:`slab_features` fills."""
    layers = ("top", "second", "slab")
    by_element = [
        f"element{rank}_{name}"
        for rank in range(_ELEMENTS)
        for name in (*DESCRIBED, "in_top", "in_second", "above_top_ang")
    ]
    return [
        *(f"{layer}_{name}" for layer in layers for name in description_names()),
        *("spacing_ang", "rumpling_ang", "area_per_top_atom_ang2"),
        *by_element,
    ]


def slab_features(configurations: Sequence[Configuration]) -> NDArray[np.float64]:
    """Return (rows, F) features of slabs, adsorbates left out; NaN where there is no structure."""
    width = len(slab_feature_names())
    rows = [_features(c) if len(c.numbers_N) else [np.nan] * width for c in configurations]
    return np.array(rows, dtype=np.float64).reshape(len(configurations), width)


def _features(configuration: Configuration) -> list[float]:
    numbers_N, z_N = configuration.numbers_N, configuration.positions_N3[:, 2]
    slab = np.flatnonzero(configuration.tags_N != ADSORBATE_TAG)
    top, second = _layers(configuration.tags_N, z_N)
    a_3, b_3 = configuration.cell_33[:2]
    area = float(np.linalg.norm(np.cross(a_3, b_3)))
    lattice = [np.nan] * 3
    if len(top):
        spacing = z_N[top].mean() - z_N[second].mean() if len(second) else np.nan
        lattice = [float(spacing), float(np.ptp(z_N[top])), area / len(top)]
    return [
        *describe(numbers_N[top].tolist()),
        *describe(numbers_N[second].tolist()),
        *describe(numbers_N[slab].tolist()),
        *lattice,
        *_by_element(numbers_N, z_N, slab, top, second),
    ]


def _layers(
    tags_N: NDArray[np.int64], z_N: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the atoms of the top layer and of the one under it."""
    top, below = np.flatnonzero(tags_N == SURFACE_TAG), np.flatnonzero(tags_N < SURFACE_TAG)
    falling = below[np.argsort(-z_N[below], kind="stable")]
    return top, falling[: len(top)]


def _by_element(
    numbers_N: NDArray[np.int64],
    z_N: NDArray[np.float64],
    slab: NDArray[np.int64],
    top: NDArray[np.int64],
    second: NDArray[np.int64],
) -> list[float]:
    """Return properties of the commonest elements, their share of the layers and their height."""
    count_Z = np.bincount(numbers_N[slab])
    ranked = sorted(np.flatnonzero(count_Z).tolist(), key=lambda z: (-int(count_Z[z]), z))
    values: list[float] = []
    for number in ranked[:_ELEMENTS]:
        mine = top[numbers_N[top] == number]
        values += properties_of_elements()[number].tolist()
        values += [_share(numbers_N[layer], number) for layer in (top, second)]
        values.append(float(z_N[mine].mean() - z_N[top].mean()) if len(mine) else np.nan)
    missing = _ELEMENTS - min(_ELEMENTS, len(ranked))
    return values + [np.nan] * (missing * (len(DESCRIBED) + 3))


def _share(numbers_L: NDArray[np.int64], number: int) -> float:
    return float((numbers_L == number).mean()) if len(numbers_L) else np.nan
