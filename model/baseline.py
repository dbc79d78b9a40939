"""Gradient boosting on parsed text and composition: the figure every model has to beat.

One LightGBM model for each level of theory; its error bar is constant within a level.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.calibration import LevelCalibration, calibrate
from model.checkpoint import Checkpoint, seal
from model.contract import Configuration, Domain, Prediction
from model.domain import domain_from_json, domain_to_json, level_index, why_outside, write_json
from model.rows import Row
from model.text_features import text_features

KIND = "baseline"
_PARAMETERS: dict[str, Any] = {
    "objective": "l1",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_child_samples": 5,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.8,
    "n_estimators": 600,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


def train_baseline(
    train: Sequence[Row], held_out: Sequence[Row], domain: Domain, folder: Path, *, seed: int
) -> Checkpoint:
    """Fit a model for each level, calibrate it on ``held_out`` and write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    calibration: dict[str, dict[str, float]] = {}
    levels = sorted(domain.levels)
    for index, level in enumerate(levels):
        rows = [row for row in train if row.level == level]
        booster = lgb.train(
            {**_PARAMETERS, "seed": seed},
            lgb.Dataset(text_features([row.text for row in rows]), [r.energy_ev for r in rows]),
        )
        booster.save_model(folder / f"level-{index}.txt")
        aside = [row for row in held_out if row.level == level]
        error_R = booster.predict(text_features([r.text for r in aside])) - np.array(
            [r.energy_ev for r in aside]
        )
        calibration[level] = asdict(calibrate(error_R, np.zeros(len(aside))))
    write_json(
        folder / "baseline.json",
        {"levels": levels, "domain": domain_to_json(domain), "calibration": calibration},
    )
    return seal(folder, KIND)


class BaselinePredictor:
    """Answers from text alone, in microseconds."""

    def __init__(self, checkpoint: Checkpoint):
        config = checkpoint.read_json("baseline.json")
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = domain_from_json(config["domain"])
        self.levels: tuple[str, ...] = tuple(config["levels"])
        self.calibration = {k: LevelCalibration(**v) for k, v in config["calibration"].items()}
        self.boosters = [
            lgb.Booster(model_file=checkpoint.folder / f"level-{index}.txt")
            for index in range(len(self.levels))
        ]

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order."""
        if not configurations:
            return []
        features_RF = text_features([c.text for c in configurations])
        level_R = np.array([level_index(self.levels, c.level) for c in configurations])
        energy_R = np.zeros(len(configurations))
        for index in np.unique(level_R):
            here = level_R == index
            energy_R[here] = self.boosters[index].predict(features_RF[here], num_threads=1)
        return [self._answer(c, e) for c, e in zip(configurations, energy_R, strict=True)]

    def _answer(self, configuration: Configuration, energy_ev: float) -> Prediction:
        sigma_R: NDArray[np.float64] = self.calibration[configuration.level].sigma(np.zeros(1))
        reason = why_outside(self.domain, configuration)
        return Prediction(
            candidate_id=configuration.candidate_id,
            level=configuration.level,
            checkpoint_sha256=self.checkpoint_sha256,
            energy_ev=float(energy_ev),
            sigma_ev=float(sigma_R[0]),
            regression_ev=float(energy_ev),
            token_ev=float(energy_ev),
            in_domain=not reason,
            reason=reason,
        )
