"""Fit the difference of one level: offsets, or boosting of the rest, whichever errs less.

The choice is made by errors on labels left out, in folds that keep surfaces whole, and sigma is
calibrated on the same errors, so that no label is spent on either. Two views of a pair (placement
and end of its relaxation) are rows of one label, and always in one fold.

Shapes  R rows, P potentials, F features. Units: eV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.data.rows import Row
from model.data.splits import count_pairs
from model.errors import ModelError
from model.prediction.difference import (
    LevelDifference,
    Offsets,
    Potential,
    difference_features,
    potential_energies,
)
from model.uncertainty.calibration import (
    ANY_SIZE,
    INGREDIENTS,
    Calibration,
    LevelSigma,
    UncertaintySignal,
)
from model.uncertainty.calibration_fit import MIN_ROWS, fit_calibration
from model.uncertainty.metrics import NORMAL

OFFSETS = "offsets"
MIN_BOOSTED = 50  # labels; below, boosting of the rest was no better than offsets alone
_FOLDS = 5
_SURE = 1.0  # standard errors by which boosting must beat the offsets on labels left out
_BAGS = 3  # boosters that answer together, each with a seed of its own
_COMMON: dict[str, Any] = {
    "objective": "huber",
    "alpha": 0.5,  # where the loss turns linear, in units of the labels' spread
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.3,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


def _way(trees: int, leaves: int, rate: float) -> dict[str, Any]:
    return _COMMON | {
        "n_estimators": trees,
        "num_leaves": leaves,
        "learning_rate": rate,
        "min_child_samples": 5,
    }


# The fewer the labels, the smaller the trees that are worth having.
WAYS = {
    "small": _way(150, 4, 0.04),
    "medium": _way(350, 10, 0.05),
    "large": _way(400, 24, 0.08),
}
_ERROR = _way(100, 8, 0.05) | {"objective": "l2", "min_child_samples": 20}


@dataclass(frozen=True)
class FittedLevel:
    """The difference of one level, the error of each way to learn it, and its calibration."""

    model: LevelDifference
    labels: int
    errors_ev: Mapping[str, float]  # mean absolute error on labels left out, by way
    calibration: Calibration


@dataclass(frozen=True)
class _Table:
    """The rows of one level as arrays."""

    adsorbate_R: NDArray[np.str_]
    pair_R: NDArray[np.str_]
    potential_RP: NDArray[np.float64]
    energy_R: NDArray[np.float64]
    features_RF: NDArray[np.float64]
    fold_R: NDArray[np.int64]
    seed: int

    def rest(self) -> NDArray[np.float64]:
        """Return labels minus the potentials' mean."""
        return np.asarray(self.energy_R - self.potential_RP.mean(axis=1))

    def offsets(self, chosen_R: NDArray[np.bool_]) -> Offsets:
        return fit_offsets(self.adsorbate_R[chosen_R], self.rest()[chosen_R], self.pair_R[chosen_R])

    def boosted(
        self, offsets: Offsets, chosen_R: NDArray[np.bool_], way: str, seed: int
    ) -> lgb.Booster:
        """Return a booster of what offsets leave over, in units of their scale."""
        left_R = (self.rest() - offsets.of(self.adsorbate_R.tolist())) / offsets.scale_ev
        return _booster(WAYS[way], self.features_RF[chosen_R], left_R[chosen_R], seed)

    def left_out(self, way: str) -> NDArray[np.float64]:
        """Return each row's energy by a model that has seen no label of its surface."""
        energy_R = np.zeros(len(self.energy_R))
        for fold in np.unique(self.fold_R):
            aside_R = self.fold_R == fold
            offsets = self.offsets(~aside_R)
            found_R = self.potential_RP.mean(axis=1) + offsets.of(self.adsorbate_R.tolist())
            energy_R[aside_R] = found_R[aside_R]
            if way != OFFSETS:
                booster = self.boosted(offsets, ~aside_R, way, self.seed)
                left_R = np.asarray(booster.predict(self.features_RF[aside_R], num_threads=1))
                energy_R[aside_R] += left_R * offsets.scale_ev
        return energy_R

    def expected(self, error_R: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the absolute error of each row as learnt from those of other surfaces."""
        expected_R = np.zeros(len(error_R))
        for fold in np.unique(self.fold_R):
            aside_R = self.fold_R == fold
            booster = _booster(_ERROR, self.features_RF[~aside_R], error_R[~aside_R], self.seed)
            found_R = booster.predict(self.features_RF[aside_R], num_threads=1)
            expected_R[aside_R] = np.asarray(found_R)
        return np.maximum(expected_R, 0.0)


def fit_level(rows: Sequence[Row], on: Sequence[Potential], *, seed: int) -> FittedLevel:
    """Fit the difference of one level and calibrate it on labels left out.

    Args:
        rows: Labelled rows (eV) of one level, each with the potentials' energies.
        on: The potentials.
        seed: Seed of folds and trees.

    Returns:
        The fitted difference.

    Raises:
        ModelError: there are too few labels.
    """
    level = rows[0].level
    if (labels := count_pairs(rows)) < MIN_ROWS:
        raise ModelError(
            f"a difference is learnt from at least {MIN_ROWS} labels of a level, got {labels} at "
            f"{level}; with fewer nothing tells how far it is off: add labels"
        )
    reads_atoms = all(len(row.numbers_N) for row in rows)
    table = _table(rows, on, reads_atoms, seed)
    ways = (OFFSETS, *(WAYS if labels >= MIN_BOOSTED else ()))
    answers = {way: table.left_out(way) for way in ways}
    errors_ev = {
        way: float(np.abs(energy_R - table.energy_R).mean()) for way, energy_R in answers.items()
    }
    best = min(errors_ev, key=lambda way: errors_ev[way])
    gain_R = np.abs(answers[OFFSETS] - table.energy_R) - np.abs(answers[best] - table.energy_R)
    is_sure = gain_R.mean() > _SURE * gain_R.std() / np.sqrt(labels)
    chosen = best if is_sure else OFFSETS
    error_R = answers[chosen] - table.energy_R
    every_R = np.full(len(rows), True)
    offsets = table.offsets(every_R)
    spread_R, nothing_R = table.potential_RP.std(axis=1), np.zeros(len(rows))
    if chosen == OFFSETS:
        model = LevelDifference(offsets, (), None, reads_atoms)
        signal = UncertaintySignal(nothing_R, spread_R, nothing_R, nothing_R)
    else:
        relative_R = np.abs(error_R) / offsets.scale_ev
        bags = tuple(table.boosted(offsets, every_R, chosen, seed + bag) for bag in range(_BAGS))
        error = _booster(_ERROR, table.features_RF, relative_R, seed)
        model = LevelDifference(offsets, bags, error, reads_atoms)
        signal = UncertaintySignal(
            table.expected(relative_R) * offsets.scale_ev,
            spread_R,
            np.abs(answers[chosen] - answers[OFFSETS]),
            nothing_R,
        )
    calibration = fit_calibration(
        [level] * len(rows),
        table.adsorbate_R.tolist(),
        error_R,
        signal,
        seed=seed,
        groups=_groups(rows),
    )
    return FittedLevel(model, labels, errors_ev, calibration)


def assumed_level(level: str, sigma_ev: float) -> FittedLevel:
    """Return a level without labels: no difference, and a sigma (eV) that somebody states."""
    offsets = Offsets(0.0, {}, sigma_ev)
    nothing = (0.0,) * len(INGREDIENTS)
    stated = LevelSigma(nothing, nothing, {ANY_SIZE: sigma_ev}, NORMAL, 0.0, 0, {})
    model = LevelDifference(offsets, (), None, reads_atoms=False)
    return FittedLevel(model, 0, {}, Calibration({level: stated}))


def fit_offsets(
    adsorbate_R: NDArray[np.str_], rest_R: NDArray[np.float64], pair_R: NDArray[np.str_]
) -> Offsets:
    """Return the median difference of each adsorbate, shrunk to the median of all.

    An adsorbate's median counts by its number of labels and by how their scatter compares with
    that between adsorbates (empirical Bayes): of two labels little is believed, of twenty nearly
    all. Rows of a pair count once.

    Args:
        adsorbate_R: The adsorbate of each row.
        rest_R: Label minus the potentials' mean, eV.
        pair_R: The pair of each row.

    Returns:
        The offsets.
    """
    _, first = np.unique(pair_R, return_index=True)
    name_L, rest_L = adsorbate_R[first], rest_R[first]
    common = float(np.median(rest_L))
    values = {str(name): rest_L[name_L == name] for name in np.unique(name_L)}
    medians = {name: float(np.median(here)) for name, here in values.items()}
    within = np.concatenate([here - medians[name] for name, here in values.items()])
    apart = np.array(list(medians.values())) - common
    # Squares of mean absolute deviations, so that wild labels do not decide; pi / 2 is the
    # variance of a median beside that of a mean.
    scatter, between = np.abs(within).mean() ** 2, np.abs(apart).mean() ** 2
    weight = np.pi / 2 * scatter / max(between, 1e-6)
    shrunk = {
        name: common + (medians[name] - common) * len(here) / (len(here) + weight)
        for name, here in values.items()
    }
    left = np.concatenate([here - shrunk[name] for name, here in values.items()])
    return Offsets(common, shrunk, max(float(left.std()), 1e-3))


def _table(rows: Sequence[Row], on: Sequence[Potential], reads_atoms: bool, seed: int) -> _Table:
    configurations = tuple(row.configuration() for row in rows)
    potential_RP = potential_energies(configurations, on)
    return _Table(
        adsorbate_R=np.array([row.adsorbate for row in rows]),
        pair_R=np.array([row.pair for row in rows]),
        potential_RP=potential_RP,
        energy_R=np.array([row.energy_ev for row in rows]),
        features_RF=difference_features(configurations, potential_RP, reads_atoms=reads_atoms),
        fold_R=_folds(rows, seed),
        seed=seed,
    )


def _groups(rows: Sequence[Row]) -> list[str]:
    return [row.group or row.pair for row in rows]


def _folds(rows: Sequence[Row], seed: int) -> NDArray[np.int64]:
    """Return each row's fold; rows of a surface share one, and so do views of a pair."""
    names, index_R = np.unique(_groups(rows), return_inverse=True)
    if len(names) < _FOLDS:
        raise ModelError(
            f"a difference is judged on surfaces left out and needs labels on at least {_FOLDS}, "
            f"got {len(names)}; add labels on other surfaces"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return np.asarray((order % _FOLDS)[index_R], dtype=np.int64)


def _booster(
    parameters: Mapping[str, Any],
    features_RF: NDArray[np.float64],
    target_R: NDArray[np.float64],
    seed: int,
) -> lgb.Booster:
    return lgb.train({**parameters, "seed": seed}, lgb.Dataset(features_RF, target_R))
