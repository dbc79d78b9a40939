"""Gradient boosting on parsed text and composition: the figure every model has to beat.

For each level of theory a LightGBM model learns from text what an adsorbate's mean energy leaves
over. Where a second one that reads the slab's layers as well does better on rows left out, it
answers wherever there is a structure. A further model of each, fitted to the errors on rows left
out, says how far to trust them.

Shapes  R rows, F features. Units: eV.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, stated_bond_rule
from model.contract import BondRule, Configuration, Domain, Prediction
from model.data.domain import level_index, read_domain
from model.errors import ModelError
from model.prediction.answers import single_head_predictions
from model.prediction.booster_text import read_booster
from model.prediction.slab_features import slab_feature_names, slab_features
from model.stored_values import StoredValues, checked_values
from model.text.configuration_text import parse_text
from model.text.text_features import feature_names, text_features
from model.uncertainty.calibration import Calibration, UncertaintySignal

TEXT, SLAB = "text", "slab"  # what a model reads: the text, or the slab's layers as well
BASELINE_FILE = "baseline.json"


@dataclass(frozen=True)
class LevelMeans(StoredValues):
    """Mean energies of the adsorbates at one level, shrunk to its median, and the spread."""

    median_ev: float
    scale_ev: float  # standard deviation of the labels around the means
    means_ev: Mapping[str, float]

    def energies(self, configurations: Sequence[Configuration]) -> NDArray[np.float64]:
        """Return each adsorbate's mean energy (eV), the level's median where it is new."""
        names = [parse_text(configuration.text).adsorbate for configuration in configurations]
        return np.array([self.means_ev.get(name, self.median_ev) for name in names])


@dataclass(frozen=True)
class _StoredLevel:
    """A level as the checkpoint's settings state it."""

    base: LevelMeans
    views: tuple[Literal["text", "slab"], ...]


class BaselinePredictor:
    """Answers in microseconds, from text alone or with the slab beside it."""

    def __init__(self, checkpoint: Checkpoint):
        values = checkpoint.settings()
        if isinstance(values["levels"], list):
            raise ModelError(
                f"the baseline in {checkpoint.folder} is of an older version; train it again"
            )
        stored = checked_values(dict[str, _StoredLevel], values["levels"], "the levels")
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = read_domain(checkpoint, values["domain"])
        self.bond_rule: BondRule = stated_bond_rule(checkpoint)
        self.levels: tuple[str, ...] = tuple(stored)
        calibrations = checked_values(
            dict[str, dict[str, dict[str, Any]]], values["calibration"], "the calibration"
        )
        self.calibration = {
            view: Calibration.from_json({k: v[view] for k, v in calibrations.items() if view in v})
            for view in (TEXT, SLAB)
        }
        features = {view: _features(view) for view in (TEXT, SLAB)}
        self.models: dict[tuple[str, str], LevelModel] = {
            (level, view): LevelModel(
                content.base,
                view,
                read_booster(checkpoint.folder / f"{view}-{index}.txt", features[view]),
                read_booster(checkpoint.folder / f"{view}-{index}-error.txt", features[view]),
            )
            for index, (level, content) in enumerate(stored.items())
            for view in content.views
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
        """Return the view to read: the slab if there is one and the level was trained on slabs."""
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
class LevelModel:
    """The two boosters of one level and view, and the means that they correct."""

    base: LevelMeans
    view: str
    energy: lgb.Booster
    error: lgb.Booster

    def answer(
        self, configurations: Sequence[Configuration]
    ) -> tuple[NDArray[np.float64], UncertaintySignal]:
        """Return energies (R,) in eV and how far off they may be."""
        features_RF = baseline_features(configurations, self.base, self.view)
        rest_R = np.asarray(self.energy.predict(features_RF, num_threads=1), np.float64)
        error_R = np.maximum(np.asarray(self.error.predict(features_RF, num_threads=1)), 0.0)
        nothing_R = np.zeros(len(error_R))
        signal = UncertaintySignal(error_R * self.base.scale_ev, nothing_R, nothing_R, nothing_R)
        return self.base.energies(configurations) + rest_R * self.base.scale_ev, signal


def _features(view: str) -> int:
    """Return how many features the boosters of a view read."""
    return len(feature_names()) + 1 + (len(slab_feature_names()) if view == SLAB else 0)


def baseline_features(
    configurations: Sequence[Configuration], base: LevelMeans, view: str
) -> NDArray[np.float64]:
    """Return (R, F): text features, the adsorbate's mean energy, and the slab where it is read."""
    text_RF = text_features([configuration.text for configuration in configurations])
    columns = [text_RF, base.energies(configurations)[:, None]]
    if view == SLAB:
        columns.append(slab_features(configurations))
    return np.hstack(columns)
