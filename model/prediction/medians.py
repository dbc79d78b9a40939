"""The least that a model has to beat: the median of a level, and that of each adsorbate on it.

Both answer without looking at the surface. An adsorbate that the level never saw gets the level's
median and is out of domain.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
from model.text.configuration_text import parse_text
from model.uncertainty.calibration import Calibration, UncertaintySignal
from model.uncertainty.calibration_fit import fit_calibration

LEVEL_KIND = "median"
ADSORBATE_KIND = "adsorbate-median"
_FILE = "medians.json"


@dataclass(frozen=True)
class LevelMedians:
    """Medians of one level's labels; ``spread_ev`` is the mean absolute error on training rows."""

    energy_ev: float
    spread_ev: float
    adsorbates: Mapping[str, float]  # empty where adsorbates are not told apart
    spreads: Mapping[str, float]

    def energy(self, adsorbate: str) -> float:
        """Return the median of an adsorbate, or of the level where it was not seen."""
        return self.adsorbates.get(adsorbate, self.energy_ev)

    def spread(self, adsorbate: str) -> float:
        """Return how far labels lie from :meth:`energy` on average."""
        return self.spreads.get(adsorbate, self.spread_ev)


def train_medians(
    train: Sequence[Row],
    held_out: Sequence[Row],
    domain: Domain,
    folder: Path,
    *,
    by_adsorbate: bool,
    seed: int,
) -> Checkpoint:
    """Take the medians of ``train``, calibrate them on ``held_out`` and write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = {
        level: level_medians([row for row in train if row.level == level], by_adsorbate)
        for level in sorted(domain.levels)
    }
    names = [row.level for row in held_out]
    adsorbates = [row.adsorbate for row in held_out]
    energy_R = _energies(levels, names, adsorbates)
    calibration = fit_calibration(
        names,
        adsorbates,
        energy_R - np.array([row.energy_ev for row in held_out]),
        _doubt(levels, names, adsorbates),
        seed=seed,
        groups=[row.group or row.pair for row in held_out],
    )
    values = {
        "domain": domain_to_json(domain),
        "levels": {level: asdict(medians) for level, medians in levels.items()},
        "calibration": calibration.to_json(),
    }
    write_json(folder / _FILE, values)
    return seal(folder, ADSORBATE_KIND if by_adsorbate else LEVEL_KIND)


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


class MedianPredictor:
    """Answers with a median, of the level or of the adsorbate on it."""

    def __init__(self, checkpoint: Checkpoint):
        values = checkpoint.read_json(_FILE)
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = domain_from_json(values["domain"])
        self.levels = {name: LevelMedians(**level) for name, level in values["levels"].items()}
        self.calibration = Calibration.from_json(values["calibration"])

    def predict(self, configurations: Sequence[Configuration]) -> list[Prediction]:
        """Return one prediction for each configuration, in order.

        Raises:
            ModelError: a text cannot be read, or a level of theory is unknown.
        """
        if not configurations:
            return []
        names = [configuration.level for configuration in configurations]
        for name in names:
            level_index(sorted(self.levels), name)
        adsorbates = [parse_text(configuration.text).adsorbate for configuration in configurations]
        energy_R = _energies(self.levels, names, adsorbates)
        sigma_R = self.calibration.sigma(names, adsorbates, _doubt(self.levels, names, adsorbates))
        return single_head_predictions(self, configurations, energy_R, sigma_R)


def _energies(
    levels: Mapping[str, LevelMedians], names: Sequence[str], adsorbates: Sequence[str]
) -> NDArray[np.float64]:
    pairs = zip(names, adsorbates, strict=True)
    return np.array([levels[name].energy(adsorbate) for name, adsorbate in pairs])


def _doubt(
    levels: Mapping[str, LevelMedians], names: Sequence[str], adsorbates: Sequence[str]
) -> UncertaintySignal:
    """Return the training rows' spread as the error to expect; the rest is not known."""
    pairs = zip(names, adsorbates, strict=True)
    spread_R = np.array([levels[name].spread(adsorbate) for name, adsorbate in pairs])
    nothing_R = np.zeros(len(spread_R))
    return UncertaintySignal(spread_R, nothing_R, nothing_R, nothing_R)
