"""Surrogates of a replayed campaign: boosting and a Gaussian process.

Both learn from the pairs that were asked for, and from nothing else: how a reaction's energies lie
and spread is taken from those too. ``Boosting`` is what the product ships as its baseline, with the
same text and slab features, in a form that is trained in a second.

Shapes  R pairs, A of them requested, F features. Units: eV.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from replay_pool import Pool
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_SHRINK = 3.0  # pairs at the mean of all that stand beside a reaction's own
_COMMON: dict[str, Any] = {
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.5,
}
_ENERGY = {"objective": "l2", "learning_rate": 0.1, "num_leaves": 15, "min_child_samples": 5}
_ERROR = {"objective": "l2", "learning_rate": 0.05, "num_leaves": 8, "min_child_samples": 20}
_GP_ROWS = 600  # that a Gaussian process is conditioned on at most, by lot
_GP_FITTED = 300  # that its lengths are fitted to


class Surrogate(Protocol):
    """Answers of A pairs in, estimates of all pairs out."""

    def __call__(
        self, pool: Pool, requested_A: Indices, energy_A: Floats, *, seed: int
    ) -> tuple[Floats, Floats]:
        """Return energies (R,) and their standard deviations (R,), both in eV."""
        ...


@dataclass(frozen=True)
class Scale:
    """Mean and spread of each reaction, from the requested pairs."""

    mean_R: Floats
    spread_R: Floats

    @classmethod
    def of(cls, pool: Pool, requested_A: Indices, energy_A: Floats) -> "Scale":
        """Return them for every pair; a reaction with few answers leans on all of them."""
        count = int(pool.reaction_R.max()) + 1
        code_A = pool.reaction_R[requested_A]
        n_X = np.bincount(code_A, minlength=count)
        total_X = np.bincount(code_A, weights=energy_A, minlength=count)
        mean_X = (total_X + _SHRINK * energy_A.mean()) / (n_X + _SHRINK)
        rest_A = energy_A - mean_X[code_A]
        square_X = np.bincount(code_A, weights=rest_A**2, minlength=count)
        spread_X = np.sqrt((square_X + _SHRINK * (rest_A**2).mean()) / (n_X + _SHRINK)) + 1e-6
        return cls(mean_X[pool.reaction_R], spread_X[pool.reaction_R])


@dataclass(frozen=True)
class Boosting:
    """Gradient boosting in parts, whose disagreement with what was left out gives sigma.

    ``low_half`` is for those who look for the lowest: to what lies above the mean of a reaction's
    answers it learns nothing but that. The mean falls with each request, and trees are spent where
    the line is.
    """

    trees: int = 100
    parts: int = 3  # of the surfaces, each judged by a model of the others
    low_half: bool = False

    def __call__(
        self, pool: Pool, requested_A: Indices, energy_A: Floats, *, seed: int
    ) -> tuple[Floats, Floats]:
        """Return energies and sigmas of all pairs.

        Args:
            pool: R pairs and their features.
            requested_A: The rows of the pairs whose energies are known.
            energy_A: Those energies, eV.
            seed: Of the parts of the surfaces and of the trees.

        Returns:
            (R,) energies and (R,) standard deviations, eV.
        """
        scale = Scale.of(pool, requested_A, energy_A)
        target_A = (energy_A - scale.mean_R[requested_A]) / scale.spread_R[requested_A]
        if self.low_half:
            target_A = np.minimum(target_A, 0.0)
        features_RF = pool.features_RF
        part_S = np.random.default_rng(seed).integers(0, self.parts, int(pool.surface_R.max()) + 1)
        part_A = part_S[pool.surface_R[requested_A]]
        said_A = np.zeros(len(requested_A))
        said_PR: list[Floats] = []
        for part in range(self.parts):
            aside_A = part_A == part
            if not aside_A.any() or aside_A.all():
                continue
            booster = _booster(
                _ENERGY, features_RF[requested_A[~aside_A]], target_A[~aside_A], self.trees, seed
            )
            said_PR.append(_predicted(booster, features_RF))
            said_A[aside_A] = said_PR[-1][requested_A[aside_A]]
        said_R = np.mean(said_PR, axis=0)
        sigma_R = _sigma(features_RF, requested_A, np.abs(said_A - target_A), seed)
        return scale.mean_R + scale.spread_R * said_R, scale.spread_R * sigma_R


def _sigma(features_RF: Floats, requested_A: Indices, error_A: Floats, seed: int) -> Floats:
    """Return sigma by a model of the errors left out, scaled to hold 68 % of them."""
    booster = _booster(_ERROR, features_RF[requested_A], error_A, 60, seed)
    least = max(0.2 * float(error_A.mean()), 1e-3)
    error_R = np.maximum(_predicted(booster, features_RF), least)
    return np.asarray(error_R * np.quantile(error_A / error_R[requested_A], 0.683))


def _predicted(booster: lgb.Booster, features_RF: Floats) -> Floats:
    return np.asarray(booster.predict(features_RF, num_threads=1))


def _booster(
    parameters: dict[str, Any], features_AF: Floats, target_A: Floats, trees: int, seed: int
) -> lgb.Booster:
    data = lgb.Dataset(features_AF, target_A)
    return lgb.train({**_COMMON, **parameters, "seed": seed}, data, num_boost_round=trees)


@dataclass(frozen=True)
class GaussianProcess:
    """One kernel over surfaces, and one more between pairs of the same reaction (scikit-learn)."""

    rows: int = _GP_ROWS

    def __call__(
        self, pool: Pool, requested_A: Indices, energy_A: Floats, *, seed: int
    ) -> tuple[Floats, Floats]:
        """Return energies and sigmas of all pairs."""
        scale = Scale.of(pool, requested_A, energy_A)
        target_A = (energy_A - scale.mean_R[requested_A]) / scale.spread_R[requested_A]
        inputs_RD = np.hstack(
            [pool.descriptors_RD, 0.5 * np.eye(1 + pool.reaction_R.max())[pool.reaction_R]]
        )
        lot = np.random.default_rng(seed).permutation(len(requested_A))
        some = lot[: self.rows]
        kernel = _fitted(inputs_RD[requested_A[lot[:_GP_FITTED]]], target_A[lot[:_GP_FITTED]])
        process = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=False)
        process.fit(inputs_RD[requested_A[some]], target_A[some])
        said_R, sigma_R = process.predict(inputs_RD, return_std=True)
        return scale.mean_R + scale.spread_R * said_R, scale.spread_R * sigma_R


def _fitted(inputs_AD: Floats, target_A: Floats) -> Kernel:
    """Return the kernel with amplitude, length and noise of the largest likelihood."""
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * RBF(1.0, (0.1, 10.0)) + WhiteKernel(0.1, (0.01, 2))
    process = GaussianProcessRegressor(kernel, normalize_y=False).fit(inputs_AD, target_A)
    return process.kernel_
