"""Predict one adslab, from a file or from a text alone, at one level or at all that fit."""

import re
from collections.abc import Sequence
from pathlib import Path

from flows.errors import CampaignError
from model.contract import Configuration, Domain, Prediction
from model.prediction.predictor import load_predictor
from model.text.configuration_text import EXAMPLE, parse_text
from tasks.levels import level_name
from tasks.prediction.adslab_file import (
    AdslabDescription,
    adslab_configuration,
    adslab_from_file,
)

_MILLER = re.compile(r"(-?\d+)[ ,]+(-?\d+)[ ,]+(-?\d+)\Z")


def predict_text(text: str, model: str, level: str | None) -> list[Prediction]:
    """Return predictions for a configuration text, at one level or at all of the checkpoint."""
    parse_text(text)
    predictor = load_predictor(model)
    levels = _levels(predictor.domain, level, parse_text(text).adsorbate)
    return predictor.predict(
        [Configuration.from_text(text, candidate_id="this configuration", level=n) for n in levels]
    )


def predict_file(
    file: Path, adsorbate: str, miller: str, bulk: str, model: str, level: str | None
) -> tuple[str, list[Prediction]]:
    """Return the configuration text of an adslab in a file, and its predictions."""
    named = AdslabDescription(adsorbate, _miller(miller), bulk)
    adslab = adslab_from_file(file, adsorbate)
    predictor = load_predictor(model)
    levels = _levels(predictor.domain, level, adsorbate)
    configurations = [adslab_configuration(adslab, named, name, file.name) for name in levels]
    return _text(configurations), predictor.predict(configurations)


def _levels(domain: Domain, level: str | None, adsorbate: str) -> list[str]:
    """Return the requested level, or those that saw the adsorbate, or all."""
    if level is not None:
        return [level_name(level)]
    seen = [name for name in sorted(domain.levels) if adsorbate in domain.adsorbates[name]]
    return seen or sorted(domain.levels)


def _miller(words: str) -> tuple[int, int, int]:
    match = _MILLER.match(words.strip().strip("()"))
    if match is None:
        raise CampaignError(
            f"the text names the surface, as in {EXAMPLE}: give --miller '1 1 1', got {words!r}"
        )
    h, k, l = (int(index) for index in match.groups())  # noqa: E741  the indices' own names
    return h, k, l


def _text(configurations: Sequence[Configuration]) -> str:
    return configurations[0].text
