"""Predict one adslab, from a file or from a text alone, at one level or at all that fit."""

import re
from dataclasses import dataclass
from pathlib import Path

from model.contract import Configuration, Domain, Prediction
from model.prediction.predictor import load_predictor
from model.text.configuration_text import parse_text
from tasks.enumeration import miller_from_text
from tasks.levels import level_name
from tasks.prediction.adslab_file import (
    AdslabDescription,
    adslab_configuration,
    adslab_from_file,
    slab_miller,
)
from tasks.prediction.text_checks import require_consistent_text


@dataclass(frozen=True)
class FilePredictions:
    """Predictions of an adslab in a file, its configuration text, and a note on them if any."""

    text: str
    note: str
    predictions: list[Prediction]


def predict_text(text: str, model: str, level: str | None) -> list[Prediction]:
    """Return predictions for a configuration text, at one level or at all of the checkpoint."""
    require_consistent_text(text)
    predictor = load_predictor(model)
    levels = _levels(predictor.domain, level, parse_text(text).adsorbate)
    return predictor.predict(
        [Configuration.from_text(text, candidate_id="this configuration", level=n) for n in levels]
    )


def predict_file(
    file: Path, adsorbate: str, miller: str, bulk: str, model: str, level: str | None
) -> FilePredictions:
    """Return predictions of an adslab in a file; without ``miller`` the slab tells its plane."""
    stated = miller_from_text(miller) if miller else None
    adslab = adslab_from_file(file, adsorbate)
    has_four = len(re.findall(r"\d+", miller)) == 4
    index, note = slab_miller(adslab, stated, has_four=has_four)
    named = AdslabDescription(adsorbate, index, bulk)
    predictor = load_predictor(model)
    levels = _levels(predictor.domain, level, adsorbate)
    configurations = [
        adslab_configuration(adslab, named, name, file.name, predictor.bond_rule) for name in levels
    ]
    return FilePredictions(configurations[0].text, note, predictor.predict(configurations))


def _levels(domain: Domain, level: str | None, adsorbate: str) -> list[str]:
    """Return the requested level, or those that saw the adsorbate, or all."""
    if level is not None:
        return [level_name(level)]
    seen = [name for name in sorted(domain.levels) if adsorbate in domain.levels[name].adsorbates]
    return seen or sorted(domain.levels)
