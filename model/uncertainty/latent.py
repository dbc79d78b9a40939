"""How far a configuration lies from the training set, in the space where the network sees it.

Training features are whitened along their principal axes, a seeded sample of them is kept, and the
distance is the mean to the three nearest: neighbours ordered held-out errors where a Mahalanobis
distance did not, since a training set is a few dense islands and not one cloud.

Shapes  R rows, D features (invariant, pooled; members side by side), P principal axes, Q kept rows.
Units   none: one unit is one standard deviation of the training features along an axis.
Source  nearest neighbours in latent space as a measure of uncertainty: Janet et al. 2019,
        Chem. Sci. 10, 7913.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import ModelError

AXES = 32
KEPT = 4_000  # with 32 axes 256 kB; 2,000 order held-out errors visibly worse
_NEIGHBOURS = 3
_FLAT = 1e-3  # axes narrower than this share of the widest are numerical noise


@dataclass(frozen=True, eq=False)
class LatentReference:
    """A compact picture of the training set: plain arrays, stored with the checkpoint."""

    mean_D: NDArray[np.float32]
    axes_DP: NDArray[np.float32]  # projects and whitens
    rows_QP: NDArray[np.float16]

    def distance(self, features_RD: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (R,) the mean distance to the nearest training rows.

        Raises:
            ModelError: features are of another width, or one is not a number.
        """
        if features_RD.ndim != 2 or features_RD.shape[1] != len(self.mean_D):
            raise ModelError(
                f"the latent reference reads (rows, {len(self.mean_D)}) features, "
                f"got {features_RD.shape}; it belongs to another network"
            )
        _require_numbers(features_RD)
        if len(features_RD) == 0:
            return np.zeros(0)
        neighbours = min(_NEIGHBOURS, len(self.rows_QP))
        spots_RP = _project(features_RD, self.mean_D, self.axes_DP)
        nearest = np.asarray(self._tree.query(spots_RP, k=neighbours)[0])
        return np.asarray(nearest.reshape(len(features_RD), -1).mean(axis=1), dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return the arrays that :meth:`from_arrays` reads, as safetensors stores them."""
        stored = {"mean": self.mean_D, "axes": self.axes_DP, "rows": self.rows_QP}
        # safetensors writes the memory of an array as it lies, whatever the strides say.
        return {name: np.ascontiguousarray(values) for name, values in stored.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> "LatentReference":
        """Rebuild the reference that :meth:`arrays` gave.

        Raises:
            ModelError: an array is missing, of another shape than the others, or holds no numbers.
        """
        if missing := sorted({"mean", "axes", "rows"} - set(arrays)):
            raise ModelError(f"a latent reference lacks {', '.join(missing)}")
        mean_D, axes_DP = arrays["mean"].astype(np.float32), arrays["axes"].astype(np.float32)
        rows_QP = arrays["rows"].astype(np.float16)
        shapes = [mean_D.shape, axes_DP.shape, rows_QP.shape]
        flat = [len(shape) for shape in shapes] != [1, 2, 2]
        if flat or not rows_QP.size or axes_DP.shape != (len(mean_D), rows_QP.shape[1]):
            raise ModelError(
                f"a latent reference has a mean (D), axes (D, P) and rows (Q, P), got {shapes}; "
                "restore the folder or train it again"
            )
        if not all(np.isfinite(values).all() for values in (mean_D, axes_DP, rows_QP)):
            raise ModelError(
                "a latent reference holds finite numbers alone, this one others; restore the "
                "folder or train it again"
            )
        return cls(mean_D, axes_DP, rows_QP)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.rows_QP.astype(np.float64))


def latent_reference(
    features_RD: NDArray[np.floating], *, seed: int, kept: int = KEPT
) -> LatentReference:
    """Return the reference of a training set's features; equal input and seed, equal reference.

    Raises:
        ModelError: there are fewer than two rows, or a feature is not a number.
    """
    if features_RD.ndim != 2 or len(features_RD) < 2:
        raise ModelError(f"a latent reference needs 2 training rows, got {features_RD.shape}")
    _require_numbers(features_RD)
    mean_D, axes_DP = _whitening(features_RD.astype(np.float64))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(features_RD))[:kept])
    rows_QP = _project(features_RD[chosen], mean_D, axes_DP)
    return LatentReference(mean_D, axes_DP, rows_QP.astype(np.float16))


def _whitening(
    features_RD: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean_D = features_RD.mean(axis=0)
    centred_RD = features_RD - mean_D
    variance_D, basis_DD = np.linalg.eigh(centred_RD.T @ centred_RD / len(centred_RD))
    width_D = np.sqrt(np.maximum(variance_D, 0.0))[::-1]
    kept = width_D[:AXES] > max(_FLAT * float(width_D[0]), 1e-12)
    if not kept.any():  # all rows are equal: there is no direction to be far in
        return mean_D.astype(np.float32), np.zeros((len(mean_D), 1), dtype=np.float32)
    axes_DP = basis_DD[:, ::-1][:, :AXES][:, kept] / width_D[:AXES][kept]
    return mean_D.astype(np.float32), axes_DP.astype(np.float32)


def _project(
    features_RD: NDArray[np.floating], mean_D: NDArray[np.float32], axes_DP: NDArray[np.float32]
) -> NDArray[np.float64]:
    centred_RD = features_RD.astype(np.float64) - mean_D
    return np.asarray(centred_RD @ axes_DP.astype(np.float64))


def _require_numbers(features_RD: NDArray[np.floating]) -> None:
    broken = np.flatnonzero(~np.isfinite(features_RD).all(axis=1))
    if len(broken):
        raise ModelError(f"latent features must be numbers; row {broken[0]} holds others")
