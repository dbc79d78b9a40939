"""Fit the baselines: gradient boosting, two models for each level and view, and the medians.

``model.prediction.baseline`` and ``medians`` say what they are and read them.

Shapes  R rows, F features. Units: eV.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import (
    ADSORBATE_MEDIAN,
    BASELINE,
    LEVEL_MEDIAN,
    MEDIANS_FILE,
    Checkpoint,
    open_checkpoint,
    seal,
    write_json,
)
from model.contract import Domain
from model.data.domain import domain_to_json
from model.data.rows import Row, bond_rule_of
from model.errors import ModelError
from model.files import new_folder
from model.prediction.baseline import (
    BASELINE_FILE,
    SLAB,
    TEXT,
    LevelMeans,
    LevelModel,
    baseline_features,
)
from model.prediction.medians import LevelMedians, median_energies, median_signal
from model.uncertainty.calibration import Calibration, UncertaintySignal
from model.uncertainty.calibration_fit import fit_calibration

_SHRINK = 5.0  # rows at the level's median that stand beside an adsorbate's own
_PARTS = 3  # of the training rows, each judged by a model of the others
_WORTH = 0.98  # the slab is read where that leaves no more than this share of the text's errors
_COMMON: dict[str, Any] = {
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
# Targets are scaled to unit spread, so that alpha, where Huber's loss turns linear, fits any level.
_PARAMETERS: dict[str, Any] = _COMMON | {
    "objective": "huber",
    "alpha": 0.2,
    "learning_rate": 0.08,
    "n_estimators": 400,
    "num_leaves": 31,
    "min_child_samples": 5,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.5,
}
_ERROR: dict[str, Any] = _COMMON | {
    "objective": "l2",
    "learning_rate": 0.05,
    "n_estimators": 100,
    "num_leaves": 8,
    "min_child_samples": 20,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.5,
}


def train_baseline(
    train: Sequence[Row], held_out: Sequence[Row], domain: Domain, folder: Path, *, seed: int
) -> Checkpoint:
    """Fit the models of each level, calibrate them on ``held_out`` and write the checkpoint.

    Args:
        train: Labelled rows (eV) to fit.
        held_out: Labelled rows to calibrate sigma on; none is in ``train``.
        domain: Levels, elements and adsorbates that the checkpoint answers for.
        folder: Where the checkpoint is written; that of an earlier run is replaced whole.
        seed: Seed of folds and trees.

    Returns:
        The sealed checkpoint.
    """
    levels: dict[str, Any] = {}
    models: dict[tuple[str, str], LevelModel] = {}
    for level in sorted(domain.levels):
        rows = [row for row in train if row.level == level]
        base = level_means(rows)
        views = _fitted_views(rows, base, seed)
        models |= {(level, view): model for view, model in views.items()}
        levels[level] = {"base": asdict(base), "views": sorted(views)}
    calibrations: dict[str, dict[str, Any]] = {level: {} for level in levels}
    for view, calibration in _calibrated(models, held_out, seed).items():
        for level, fitted in calibration.to_json().items():
            calibrations[level][view] = fitted
    values = {
        "bond_rule": bond_rule_of([*train, *held_out]),
        "levels": levels,
        "domain": domain_to_json(domain),
        "calibration": calibrations,
    }
    with new_folder(folder) as fresh:
        for (level, view), model in models.items():
            name = f"{view}-{list(levels).index(level)}"
            model.energy.save_model(fresh / f"{name}.txt")
            model.error.save_model(fresh / f"{name}-error.txt")
        write_json(fresh / BASELINE_FILE, values)
        seal(fresh, BASELINE)
    return open_checkpoint(folder)


def level_means(rows: Sequence[Row]) -> LevelMeans:
    """Return the adsorbates' means, shrunk to the level's median, and the spread around them.

    Raises:
        ModelError: there is no row.
    """
    if not rows:
        raise ModelError("a level of theory is learned from at least one row, got none to train on")
    energies = {row.pair: (row.adsorbate, row.energy_ev) for row in rows}
    labels: dict[str, list[float]] = defaultdict(list)
    for adsorbate, energy_ev in energies.values():
        labels[adsorbate].append(energy_ev)
    median = float(np.median([energy_ev for _, energy_ev in energies.values()]))
    means = {
        name: (sum(values) + _SHRINK * median) / (len(values) + _SHRINK)
        for name, values in labels.items()
    }
    rest_R = np.array([energy_ev - means[adsorbate] for adsorbate, energy_ev in energies.values()])
    return LevelMeans(median, max(float(rest_R.std()), 1e-3), means)


def _fitted_views(rows: Sequence[Row], base: LevelMeans, seed: int) -> dict[str, LevelModel]:
    """Return the model of one level's texts, and that of its slabs where it is worth it."""
    text, text_error = _fit(rows, base, TEXT, seed)
    if not all(len(row.numbers_N) for row in rows):
        return {TEXT: text}
    slab, slab_error = _fit(rows, base, SLAB, seed)
    return {TEXT: text, SLAB: slab} if slab_error <= _WORTH * text_error else {TEXT: text}


def _fit(rows: Sequence[Row], base: LevelMeans, view: str, seed: int) -> tuple[LevelModel, float]:
    """Return the models of one level and the mean error (in its scale) on rows left out."""
    configurations = [row.configuration() for row in rows]
    features_RF = baseline_features(configurations, base, view)
    energy_R = np.array([row.energy_ev for row in rows])
    target_R = (energy_R - base.energies(configurations)) / base.scale_ev
    pairs = sorted({row.pair for row in rows})
    dealt = dict(zip(pairs, np.random.default_rng(seed).permutation(len(pairs)), strict=True))
    part_R = np.array([dealt[row.pair] % _PARTS for row in rows])
    error_R = np.zeros(len(rows))
    for part in range(_PARTS):
        aside_R = part_R == part
        booster = _booster(_PARAMETERS, features_RF[~aside_R], target_R[~aside_R], seed)
        error_R[aside_R] = np.abs(booster.predict(features_RF[aside_R]) - target_R[aside_R])
    energy = _booster(_PARAMETERS, features_RF, target_R, seed)
    error = _booster(_ERROR, features_RF, error_R, seed)
    return LevelModel(base, view, energy, error), float(error_R.mean())


def _booster(
    parameters: Mapping[str, Any],
    features_RF: NDArray[np.float64],
    target_R: NDArray[np.float64],
    seed: int,
) -> lgb.Booster:
    return lgb.train({**parameters, "seed": seed}, lgb.Dataset(features_RF, target_R))


def _calibrated(
    models: Mapping[tuple[str, str], LevelModel], held_out: Sequence[Row], seed: int
) -> dict[str, Calibration]:
    """Return the calibration of each view on the held-out rows that it can read."""
    found: dict[str, Calibration] = {}
    for view in sorted({view for _, view in models}):
        rows = [
            row
            for row in held_out
            if (row.level, view) in models and (view == TEXT or len(row.numbers_N))
        ]
        error_R, head_R = np.zeros(len(rows)), np.zeros(len(rows))
        for level in {row.level for row in rows}:
            here = np.flatnonzero([row.level == level for row in rows])
            energy_R, signal = models[level, view].answer([rows[i].configuration() for i in here])
            error_R[here] = energy_R - np.array([rows[i].energy_ev for i in here])
            head_R[here] = signal.head_R
        found[view] = fit_calibration(
            [row.level for row in rows],
            [row.adsorbate for row in rows],
            error_R,
            UncertaintySignal(head_R, *(np.zeros(len(rows)) for _ in range(3))),
            seed=seed,
            groups=[row.group or row.pair for row in rows],
        )
    return found


def train_medians(
    train: Sequence[Row],
    held_out: Sequence[Row],
    domain: Domain,
    folder: Path,
    *,
    by_adsorbate: bool,
    seed: int,
) -> Checkpoint:
    """Take the medians of ``train``, calibrate them on ``held_out`` and write the checkpoint.

    Args:
        train: Labelled rows (eV) to take medians of.
        held_out: Labelled rows to calibrate sigma on; none is in ``train``.
        domain: Levels, elements and adsorbates that the checkpoint answers for.
        folder: Where the checkpoint is written; that of an earlier run is replaced whole.
        by_adsorbate: Whether each adsorbate has a median of its own.
        seed: Seed of the calibration's folds.

    Returns:
        The sealed checkpoint.
    """
    levels = {
        level: level_medians([row for row in train if row.level == level], by_adsorbate)
        for level in sorted(domain.levels)
    }
    names = [row.level for row in held_out]
    adsorbates = [row.adsorbate for row in held_out]
    energy_R = median_energies(levels, names, adsorbates)
    calibration = fit_calibration(
        names,
        adsorbates,
        energy_R - np.array([row.energy_ev for row in held_out]),
        median_signal(levels, names, adsorbates),
        seed=seed,
        groups=[row.group or row.pair for row in held_out],
    )
    values = {
        "bond_rule": bond_rule_of([*train, *held_out]),
        "domain": domain_to_json(domain),
        "levels": {level: asdict(medians) for level, medians in levels.items()},
        "calibration": calibration.to_json(),
    }
    with new_folder(folder) as fresh:
        write_json(fresh / MEDIANS_FILE, values)
        seal(fresh, ADSORBATE_MEDIAN if by_adsorbate else LEVEL_MEDIAN)
    return open_checkpoint(folder)


def level_medians(rows: Sequence[Row], by_adsorbate: bool) -> LevelMedians:
    """Return the medians of one level's rows; rows of one pair count once.

    Raises:
        ModelError: there is no row.
    """
    if not rows:
        raise ModelError("a median is taken of at least one row, got none to train on")
    energies = {row.pair: (row.adsorbate, row.energy_ev) for row in rows}
    labels: dict[str, list[float]] = defaultdict(list)
    for adsorbate, energy_ev in energies.values():
        labels[adsorbate].append(energy_ev)
    every_R = np.array([energy_ev for _, energy_ev in energies.values()])
    median = float(np.median(every_R))
    medians = {name: float(np.median(values)) for name, values in labels.items()}
    return LevelMedians(
        energy_ev=median,
        spread_ev=float(np.abs(every_R - median).mean()),
        adsorbates=medians if by_adsorbate else {},
        spreads={n: float(np.abs(np.array(v) - medians[n]).mean()) for n, v in labels.items()}
        if by_adsorbate
        else {},
    )
