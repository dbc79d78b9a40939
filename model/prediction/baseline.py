"""Gradient boosting on parsed text and composition: the figure every model has to beat.

For each level of theory a LightGBM model learns from text what an adsorbate's mean energy leaves
over. Where a second one that reads the slab's layers as well does better on rows left out, it
answers wherever there is a structure. A further model of each, fitted to the errors on rows left
out, says how far to trust them.

Shapes  R rows, F features. Units: eV.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, seal
from model.contract import Configuration, Domain, Prediction
from model.data.domain import (
    domain_from_json,
    domain_to_json,
    level_index,
    single_head_predictions,
    write_json,
)
from model.data.rows import Row
from model.errors import ModelError
from model.prediction.slab_features import slab_features
from model.text.configuration_text import parse_text
from model.text.text_features import text_features
from model.uncertainty.calibration import Calibration, UncertaintySignal
from model.uncertainty.calibration_fit import fit_calibration

KIND = "baseline"
TEXT, SLAB = "text", "slab"  # what a model reads: the text, or the slab's layers as well
_FILE = "baseline.json"
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


@dataclass(frozen=True)
class LevelMeans:
    """What is known of a level before its surfaces: adsorbates' means, and the spread around."""

    median_ev: float
    scale_ev: float  # standard deviation of the labels around the means
    means_ev: Mapping[str, float]

    def energies(self, configurations: Sequence[Configuration]) -> NDArray[np.float64]:
        """Return each adsorbate's mean energy (eV), the level's median where it is new."""
        names = [parse_text(configuration.text).adsorbate for configuration in configurations]
        return np.array([self.means_ev.get(name, self.median_ev) for name in names])


def train_baseline(
    train: Sequence[Row], held_out: Sequence[Row], domain: Domain, folder: Path, *, seed: int
) -> Checkpoint:
    """Fit the models of each level, calibrate them on ``held_out`` and write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*-*.txt"):  # an earlier run may have had more levels or views
        file.unlink()
    levels: dict[str, Any] = {}
    models: dict[tuple[str, str], _Model] = {}
    for index, level in enumerate(sorted(domain.levels)):
        rows = [row for row in train if row.level == level]
        base = level_means(rows)
        views = _fitted_views(rows, base, seed)
        for view, model in views.items():
            models[level, view] = model
            model.energy.save_model(folder / f"{view}-{index}.txt")
            model.error.save_model(folder / f"{view}-{index}-error.txt")
        levels[level] = {"base": asdict(base), "views": sorted(views)}
    calibrations: dict[str, dict[str, Any]] = {level: {} for level in levels}
    for view, calibration in _calibrated(models, held_out, seed).items():
        for level, fitted in calibration.to_json().items():
            calibrations[level][view] = fitted
    values = {
        "levels": levels,
        "domain": domain_to_json(domain),
        "calibration": calibrations,
    }
    write_json(folder / _FILE, values)
    return seal(folder, KIND)


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


class BaselinePredictor:
    """Answers in microseconds, from text alone or with the slab beside it."""

    def __init__(self, checkpoint: Checkpoint):
        values = checkpoint.read_json(_FILE)
        if not isinstance(values["levels"], dict):
            raise ModelError(
                f"the baseline in {checkpoint.folder} is of an older version; train it again"
            )
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = domain_from_json(values["domain"])
        self.levels: tuple[str, ...] = tuple(values["levels"])
        calibrations = values["calibration"]
        self.calibration = {
            view: Calibration.from_json({k: v[view] for k, v in calibrations.items() if view in v})
            for view in (TEXT, SLAB)
        }
        self.models = {
            (level, view): _Model(
                LevelMeans(**content["base"]),
                view,
                lgb.Booster(model_file=checkpoint.folder / f"{view}-{index}.txt"),
                lgb.Booster(model_file=checkpoint.folder / f"{view}-{index}-error.txt"),
            )
            for index, (level, content) in enumerate(values["levels"].items())
            for view in content["views"]
        }

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order.

        Raises:
            ModelError: a text cannot be read, or a level of theory is unknown.
        """
        answers: list[Prediction | None] = [None] * len(configurations)
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, configuration in enumerate(configurations):
            level_index(self.levels, configuration.level)
            groups[configuration.level, self._view(configuration)].append(index)
        for (level, view), indices in groups.items():
            here = [configurations[index] for index in indices]
            for index, answer in zip(indices, self._answers(level, view, here), strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _view(self, configuration: Configuration) -> str:
        """Return what is read: the slab where there is one and the level was trained on slabs."""
        has_slab = len(configuration.numbers_N) > 0 and (configuration.level, SLAB) in self.models
        return SLAB if has_slab else TEXT

    def _answers(
        self, level: str, view: str, configurations: Sequence[Configuration]
    ) -> list[Prediction]:
        energy_R, signal = self.models[level, view].answer(configurations)
        adsorbates = [parse_text(configuration.text).adsorbate for configuration in configurations]
        sigma_R = self.calibration[view].sigma([level] * len(adsorbates), adsorbates, signal)
        return single_head_predictions(self, configurations, energy_R, sigma_R)


@dataclass(frozen=True)
class _Model:
    """The two boosters of one level and view, and what they start from."""

    base: LevelMeans
    view: str
    energy: lgb.Booster
    error: lgb.Booster

    def answer(
        self, configurations: Sequence[Configuration]
    ) -> tuple[NDArray[np.float64], UncertaintySignal]:
        """Return energies (R,) in eV and how far off they may be."""
        features_RF = _features(configurations, self.base, self.view)
        rest_R = np.asarray(self.energy.predict(features_RF, num_threads=1), np.float64)
        error_R = np.maximum(np.asarray(self.error.predict(features_RF, num_threads=1)), 0.0)
        nothing_R = np.zeros(len(error_R))
        signal = UncertaintySignal(error_R * self.base.scale_ev, nothing_R, nothing_R, nothing_R)
        return self.base.energies(configurations) + rest_R * self.base.scale_ev, signal


def _fitted_views(rows: Sequence[Row], base: LevelMeans, seed: int) -> dict[str, _Model]:
    """Return the model of one level's texts, and that of its slabs where it is worth it."""
    text, text_error = _fit(rows, base, TEXT, seed)
    if not all(len(row.numbers_N) for row in rows):
        return {TEXT: text}
    slab, slab_error = _fit(rows, base, SLAB, seed)
    return {TEXT: text, SLAB: slab} if slab_error <= _WORTH * text_error else {TEXT: text}


def _fit(rows: Sequence[Row], base: LevelMeans, view: str, seed: int) -> tuple[_Model, float]:
    """Return the models of one level and the mean error (in its scale) on rows left out."""
    configurations = [row.configuration() for row in rows]
    features_RF = _features(configurations, base, view)
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
    return _Model(base, view, energy, error), float(error_R.mean())


def _booster(
    parameters: Mapping[str, Any],
    features_RF: NDArray[np.float64],
    target_R: NDArray[np.float64],
    seed: int,
) -> lgb.Booster:
    return lgb.train({**parameters, "seed": seed}, lgb.Dataset(features_RF, target_R))


def _features(
    configurations: Sequence[Configuration], base: LevelMeans, view: str
) -> NDArray[np.float64]:
    text_RF = text_features([configuration.text for configuration in configurations])
    columns = [text_RF, base.energies(configurations)[:, None]]
    if view == SLAB:
        columns.append(slab_features(configurations))
    return np.hstack(columns)


def _calibrated(
    models: Mapping[tuple[str, str], _Model], held_out: Sequence[Row], seed: int
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
