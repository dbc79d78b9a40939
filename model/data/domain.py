"""The domain of a checkpoint, and the reason why a configuration lies outside it."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from model.contract import Configuration, Domain
from model.data.rows import Row
from model.errors import ModelError
from model.text.configuration_text import ConfigurationText, parse_text

_SYMBOL = re.compile(r"[A-Z][a-z]?")


def domain_of(rows: Sequence[Row]) -> Domain:
    """Return the elements, levels and adsorbates (by level) that ``rows`` hold."""
    adsorbates: dict[str, set[str]] = defaultdict(set)
    elements: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        adsorbates[row.level].add(row.adsorbate)
        elements[row.level] |= _symbols(row.numbers_N, parse_text(row.text))
    return Domain(
        elements={level: frozenset(seen) for level, seen in elements.items()},
        adsorbates={level: frozenset(names) for level, names in adsorbates.items()},
        levels=frozenset(adsorbates),
    )


def merge_domains(one: Domain, other: Domain) -> Domain:
    """Return the domain that holds what either holds."""
    levels = one.levels | other.levels
    none: frozenset[str] = frozenset()
    return Domain(
        elements={at: one.elements.get(at, none) | other.elements.get(at, none) for at in levels},
        adsorbates={
            at: one.adsorbates.get(at, none) | other.adsorbates.get(at, none) for at in levels
        },
        levels=levels,
    )


def out_of_domain_reason(
    domain: Domain,
    configuration: Configuration,
    distance: float = 0.0,
    limit: float = math.inf,
) -> str:
    """Return why ``domain`` does not hold ``configuration``; empty where it does.

    ``distance`` from the training set and its ``limit`` are in the units of ``latent``. Elements
    are those of the atoms and those that the text names, which may be all there is.
    """
    text = parse_text(configuration.text)
    symbols = _symbols(configuration.numbers_N, text)
    level = configuration.level
    if unseen := sorted(symbols - domain.elements[level]):
        return f"element not in the training set at {level}: {', '.join(unseen)}"
    if text.adsorbate not in domain.adsorbates[level]:
        return f"adsorbate not in the training set at {level}: {text.adsorbate}"
    if distance > limit:
        return f"far from the training set in latent space: {distance:.1f} (limit {limit:.1f})"
    return ""


def level_index(levels: Sequence[str], level: str) -> int:
    """Return the position of ``level``.

    Raises:
        ModelError: the checkpoint never saw labels of that level of theory.
    """
    if level not in levels:
        raise ModelError(
            f"this checkpoint answers at {', '.join(levels)}; got level of theory {level!r}"
        )
    return list(levels).index(level)


def domain_to_json(domain: Domain) -> dict[str, Any]:
    """Return plain values, sorted."""
    return {
        "elements": {level: sorted(symbols) for level, symbols in domain.elements.items()},
        "levels": sorted(domain.levels),
        "adsorbates": {level: sorted(names) for level, names in domain.adsorbates.items()},
    }


def domain_from_json(values: dict[str, Any]) -> Domain:
    """Rebuild what :func:`domain_to_json` wrote."""
    return Domain(
        elements={level: frozenset(seen) for level, seen in values["elements"].items()},
        levels=frozenset(values["levels"]),
        adsorbates={level: frozenset(names) for level, names in values["adsorbates"].items()},
    )


def _symbols(numbers_N: NDArray[np.int64], text: ConfigurationText) -> set[str]:
    atoms = {chemical_symbols[number] for number in np.unique(numbers_N)}
    named = set(_SYMBOL.findall(text.adsorbate + text.bulk))
    around = {symbol for site in text.sites for group in site.neighbours for symbol in group}
    return atoms | named | around
