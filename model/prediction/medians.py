"""Predict medians, of a level or of each adsorbate on it: the least that a model has to beat.

Both answer without looking at the surface. An adsorbate that the level never saw gets the level's
median and is out of domain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, stated_bond_rule
from model.contract import BondRule, Configuration, Domain, Prediction
from model.data.domain import level_index, read_domain
from model.prediction.answers import single_head_predictions
from model.stored_values import StoredValues, checked_values
from model.text.configuration_text import parse_text
from model.uncertainty.calibration import Calibration, UncertaintySignal


@dataclass(frozen=True)
class LevelMedians(StoredValues):
    """Medians of one level's labels; ``spread_ev`` is the mean absolute error on training rows."""

    energy_ev: float
    spread_ev: float
    adsorbates: Mapping[str, float]  # empty where all adsorbates count as one
    spreads: Mapping[str, float]

    def energy(self, adsorbate: str) -> float:
        """Return the median of an adsorbate, or of the level where it was not seen."""
        return self.adsorbates.get(adsorbate, self.energy_ev)

    def spread(self, adsorbate: str) -> float:
        """Return how far labels lie from :meth:`energy` on average."""
        return self.spreads.get(adsorbate, self.spread_ev)


class MedianPredictor:
    """Answers with a median, of the level or of the adsorbate on it."""

    def __init__(self, checkpoint: Checkpoint):
        values = checkpoint.settings()
        self.checkpoint_sha256 = checkpoint.sha256
        self.domain: Domain = read_domain(checkpoint, values["domain"])
        self.bond_rule: BondRule = stated_bond_rule(checkpoint)
        self.levels = checked_values(dict[str, LevelMedians], values["levels"], "the medians")
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
        energy_R = median_energies(self.levels, names, adsorbates)
        sigma_R = self.calibration.sigma(
            names, adsorbates, median_signal(self.levels, names, adsorbates)
        )
        return single_head_predictions(self, configurations, energy_R, sigma_R)


def median_energies(
    levels: Mapping[str, LevelMedians], names: Sequence[str], adsorbates: Sequence[str]
) -> NDArray[np.float64]:
    """Return (R,) medians in eV for rows given by level name and adsorbate."""
    pairs = zip(names, adsorbates, strict=True)
    return np.array([levels[name].energy(adsorbate) for name, adsorbate in pairs])


def median_signal(
    levels: Mapping[str, LevelMedians], names: Sequence[str], adsorbates: Sequence[str]
) -> UncertaintySignal:
    """Return the training rows' spread as the expected error; there is no other signal."""
    pairs = zip(names, adsorbates, strict=True)
    spread_R = np.array([levels[name].spread(adsorbate) for name, adsorbate in pairs])
    nothing_R = np.zeros(len(spread_R))
    return UncertaintySignal(spread_R, nothing_R, nothing_R, nothing_R)
